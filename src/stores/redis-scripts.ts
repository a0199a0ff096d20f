/**
 * What runs inside the engine, one script an operation, so that each is atomic and takes one round trip. Commands of Redis 6.2 only.
 *
 * A session is one string. Its first byte says what it is:
 * - `S` a session: eight numbers of 15 digits at fixed places (see `HEAD`), the kind of cookie, the family; then lines: the user and the
 *   label as JSON, the latest writes, and the state, a line for each key: its JSON text, a tab, a colon and its value's JSON text. JSON text
 *   has neither line breaks nor tabs of its own, so a script merges lines without knowing JSON, and the lines in braces are the state's JSON.
 * - `E` word of one that has ended; what follows names the call that ended it.
 * - `M` word of one that has moved: end of the grace, whether the move changed privileges, the new id.
 * - `P` a session that is about to move here, in a cluster: the old id, a line break, and what it will be.
 *
 * A user's sessions stand in a sorted set, by the time at which they were last seen to be alive. It may hold more than the live ones,
 * never less, so it is written first: whoever reads it looks at the sessions themselves, and each sign-in looks after the four entries that were looked at least recently.
 * On one node each write of a session enters it again if need be: an engine that evicts keys may have taken the set, which is used less often.
 */
export class Script {
  readonly text: string
  #digest: string | Promise<string> | undefined

  constructor(...parts: readonly string[]) {
    this.text = parts.join("\n")
  }

  /** SHA-1, by which the server knows the script. */
  get digest(): string | Promise<string> {
    return (this.#digest ??= sha1(this.text).then((digest) => (this.#digest = digest)))
  }
}

async function sha1(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode(text)))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** Where a session's facts begin, counted from 0. Each is 15 digits, or as many hyphens for null, but for the last two. */
export const HEAD = {
  version: 1,
  createdAt: 16,
  lastSeenAt: 31,
  deadline: 46,
  absoluteEnd: 61,
  signedInAt: 76,
  idleTtl: 91,
  fixedEnd: 106,
  /** One character: `p`, `b`, or a hyphen. */
  kind: 121,
  /** Eight characters that a session keeps when it moves without a change of privileges. */
  family: 122,
  /** Here the lines begin. */
  lines: 130,
} as const

/** Milliseconds for which a session remembers which writes it has seen, so that a client may send one again. */
const WRITES_KEPT = 60_000

const BASICS = `
local sub, find, format = string.sub, string.find, string.format
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local NONE = '---------------'
local function number(record, place) return tonumber(sub(record, place + 1, place + 15)) end
local function live(record)
  return record and string.byte(record) == 83 and (number(record, ${HEAD.deadline}) or 0) > now
end`

/** The lines of a record: the user, and where the label, the writes and the state begin. */
const LINES = `
local function lines(record)
  local first = find(record, '\\n', ${HEAD.lines + 1}, true)
  local second = first and find(record, '\\n', first + 1, true)
  local third = second and find(record, '\\n', second + 1, true)
  if not third then return nil end
  return sub(record, ${HEAD.lines + 1}, first - 1), first + 1, second + 1, third + 1
end
local function of_user(record, user)
  return sub(record, ${HEAD.lines + 1}, ${HEAD.lines + 1} + #user) == user .. '\\n'
end`

/**
 * Writes over a key, though the engine be out of memory: it refuses a script that begins with a `SET`, but not one that has deleted. Not
 * the other way round: on a node that hands its slot over, what has been deleted cannot be written any more.
 */
const OVERWRITING = `
local function refused(reply) return type(reply) == 'table' and reply.err and find(reply.err, 'OOM', 1, true) end
local function overwrite(key, text, option, time)
  local reply = redis.pcall('SET', key, text, option, time)
  if type(reply) ~= 'table' or not reply.err then return end
  if refused(reply) then redis.call('DEL', key) end
  redis.call('SET', key, text, option, time)
end`

const BUILDING = `
local function fifteen(value) return value and format('%015d', value) or NONE end
local function deadline_of(idle, fixed, absolute)
  local deadline = absolute
  if idle then deadline = math.min(deadline, now + idle) end
  if fixed then deadline = math.min(deadline, fixed) end
  return deadline
end
local function keep(key, record, deadline)
  redis.call('SET', key, record, 'PXAT', format('%d', deadline))
end`

/** Whom the index of users names, where its keys are on the same node. */
const INDEX = `
local function join(prefix, user, id, absolute)
  local key = prefix .. 'user:' .. user
  local ttl = redis.call('PTTL', key)
  redis.call('ZADD', key, format('%d', now), id)
  if ttl < absolute - now then redis.call('PEXPIREAT', key, format('%d', absolute)) end
  for _, other in ipairs(redis.call('ZRANGE', key, 0, 3)) do
    if other ~= id then
      local record = redis.call('GETRANGE', prefix .. other, '0', ${HEAD.lines} + #user)
      if live(record) and of_user(record, user) then redis.call('ZADD', key, format('%d', now), other)
      else redis.call('ZREM', key, other) end
    end
  end
end
local function leave(prefix, user, id)
  if user ~= 'null' then redis.call('ZREM', prefix .. 'user:' .. user, id) end
end`

const STAYING = `
local function stay(prefix, user, id, absolute)
  local key = prefix .. 'user:' .. user
  if redis.call('ZADD', key, 'NX', format('%d', now), id) == 1 and redis.call('PTTL', key) < absolute - now then
    redis.call('PEXPIREAT', key, format('%d', absolute))
  end
end`

/** How many letters of the latest writes a session remembers: those of about a hundred and sixty. */
const WRITES_LENGTH = 4800

/**
 * How a change is laid out from `ARGV[at]` on is said where `changeValues` writes it. Most of an update's time goes into strings, so what
 * stays is copied in as few pieces as can be.
 */
const CHANGING = `
local function seen_before(writes, name)
  local _, stop = find(writes, name .. ':', 1, true)
  return stop and tonumber(string.match(writes, '^%d+', stop + 1))
end
local function with_write(writes, name, version)
  -- The oldest stand first.
  local from = 1
  while from <= #writes do
    local _, stop, at = find(writes, '^%w+:%d+:(%d+) ?', from)
    if not stop or tonumber(at) > now - ${WRITES_KEPT} and #writes - from < ${WRITES_LENGTH} then break end
    from = stop + 1
  end
  writes = sub(writes, from)
  if name == '' then return writes end
  return (writes == '' and '' or writes .. ' ') .. name .. ':' .. version .. ':' .. now
end
local function merge(parts, record, state, at)
  local cleared, removed, last = -1, 0, at + 2
  if ARGV[at + 2] ~= '' then
    cleared, removed = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    last = at + 9 + math.max(cleared, 0) + removed
  end
  -- A change that clears everything mends a state that is none.
  if cleared ~= 0 and state <= #record and string.byte(record, state) ~= 34 then return false end
  local gap = ''
  local function add(text)
    parts[#parts + 1] = gap
    parts[#parts + 1] = text
    gap = ',\\n'
  end
  if cleared == -1 then
    local starts = {}
    local function drop(key)
      local before = find(record, '\\n' .. key .. '\\t', state - 1, true)
      if before then starts[#starts + 1] = before + 1 end
    end
    for i = last - removed + 1, last do drop(ARGV[i]) end
    for i = last + 1, #ARGV, 2 do drop(ARGV[i]) end
    if #starts > 1 then table.sort(starts) end
    local kept = state
    for i = 1, #starts do
      if kept < starts[i] then add(sub(record, kept, starts[i] - 3)) end
      kept = (find(record, ',\\n', starts[i], true) or #record) + 2
    end
    if kept <= #record then add(sub(record, kept)) end
  elseif cleared > 0 then
    local dropped = {}
    for i = last - removed + 1, last do dropped[ARGV[i]] = true end
    for i = last + 1, #ARGV, 2 do dropped[ARGV[i]] = true end
    for i = at + 10, at + 9 + cleared do
      local before = not dropped[ARGV[i]] and find(record, '\\n' .. ARGV[i] .. '\\t', state - 1, true)
      if before then add(sub(record, before + 1, (find(record, ',\\n', before + 1, true) or #record + 1) - 1)) end
      dropped[ARGV[i]] = true
    end
  end
  for i = last + 1, #ARGV, 2 do add(ARGV[i] .. '\\t:' .. ARGV[i + 1]) end
  return true
end
local function changed(record, at, family, user, label, writes, state)
  if not state then return nil end
  local version = number(record, ${HEAD.version}) + 1
  local absolute, idle, fixed = number(record, ${HEAD.absoluteEnd}), number(record, ${HEAD.idleTtl}), number(record, ${HEAD.fixedEnd})
  local facts
  if ARGV[at + 2] == '' and family == '' then
    facts = sub(record, ${HEAD.absoluteEnd + 1}, writes - 1)
  else
    local signed, kind = sub(record, ${HEAD.signedInAt + 1}, ${HEAD.idleTtl}), sub(record, ${HEAD.kind + 1}, ${HEAD.kind + 1})
    label = sub(record, label, writes - 2)
    if family == '' then family = sub(record, ${HEAD.family + 1}, ${HEAD.lines}) end
    if ARGV[at + 2] ~= '' and ARGV[at + 4] ~= '' then
      user, label = ARGV[at + 4], ARGV[at + 5]
      signed = fifteen(user ~= 'null' and now)
      if ARGV[at + 6] ~= '' then absolute = now + ARGV[at + 6] end
    end
    if ARGV[at + 2] ~= '' and ARGV[at + 7] ~= '' then
      kind, idle, fixed = ARGV[at + 7], tonumber(ARGV[at + 8]), tonumber(ARGV[at + 9])
      fixed = fixed and now + fixed
    end
    facts = fifteen(absolute) .. signed .. fifteen(idle) .. fifteen(fixed) .. kind .. family .. user .. '\\n' .. label .. '\\n'
  end
  local deadline = deadline_of(idle, fixed, absolute)
  local seen = math.max(number(record, ${HEAD.lastSeenAt}), now)
  local parts = {
    format('S%015d%s%015d%015d', version, sub(record, ${HEAD.createdAt + 1}, ${HEAD.lastSeenAt}), seen, deadline),
    facts, with_write(sub(record, writes, state - 2), ARGV[at + 1], version), '\\n',
  }
  if not merge(parts, record, state, at) then return nil end
  return table.concat(parts), version, deadline, user, absolute
end`

/**
 * Replies begin with a word: `+` it is done, `-` no live session is there (then the engine's clock and what stands there), `v` it has another version,
 * `d` the id is taken, `c` what stands there is no session.
 */

/** KEYS: record. */
export const LOAD: Script = new Script(
  BASICS,
  `
return {now, redis.call('GET', KEYS[1]) or ''}`,
)

/** KEYS: record, and the prefix if the index is to be kept. ARGV: family, user, label, idle ttl, ttl to the fixed end, kind, absolute ttl, state. */
export const CREATE: Script = new Script(
  BASICS,
  LINES,
  BUILDING,
  INDEX,
  `
local found = redis.call('GET', KEYS[1])
if found and (string.byte(found) ~= 83 or live(found)) then
  if live(found) and sub(found, ${HEAD.family + 1}, ${HEAD.lines}) == ARGV[1] then return {'+'} end
  return {'d'}
end
local user, idle, fixed, absolute = ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5]), now + ARGV[7]
fixed = fixed and now + fixed
local deadline = deadline_of(idle, fixed, absolute)
if KEYS[2] and user ~= 'null' then join(KEYS[2], user, sub(KEYS[1], #KEYS[2] + 1), absolute) end
keep(KEYS[1], 'S' .. fifteen(1) .. fifteen(now) .. fifteen(now) .. fifteen(deadline) .. fifteen(absolute) ..
  fifteen(user ~= 'null' and now) .. fifteen(idle) .. fifteen(fixed) .. ARGV[6] .. ARGV[1] ..
  user .. '\\n' .. ARGV[3] .. '\\n\\n' .. ARGV[8], deadline)
return {'+'}`,
)

/** KEYS: record, and the prefix if the index is to be kept. ARGV: a change. Replies with version, ttl and the user before. */
export const UPDATE: Script = new Script(
  BASICS,
  LINES,
  BUILDING,
  INDEX,
  STAYING,
  CHANGING,
  `
local found = redis.call('GET', KEYS[1])
if not live(found) then return {'-', now, found or ''} end
local before, label, writes, state = lines(found)
if not before then return {'c'} end
local done = ARGV[2] ~= '' and seen_before(sub(found, writes, state - 2), ARGV[2])
if done then return {'+', done, number(found, ${HEAD.deadline}) - now, before} end
if ARGV[1] ~= '' and tonumber(ARGV[1]) ~= number(found, ${HEAD.version}) then return {'v'} end
local record, version, deadline, user, absolute = changed(found, 1, '', before, label, writes, state)
if not record then return {'c'} end
local id = KEYS[2] and sub(KEYS[1], #KEYS[2] + 1)
if id and user ~= 'null' then
  if ARGV[3] == '' or ARGV[5] == '' then stay(KEYS[2], user, id, absolute) else join(KEYS[2], user, id, absolute) end
end
keep(KEYS[1], record, deadline)
if id and user ~= before then leave(KEYS[2], before, id) end
return {'+', version, deadline - now, before}`,
)

/** KEYS: record, and the prefix if the index is to be kept. */
export const TOUCH: Script = new Script(
  BASICS,
  BUILDING,
  STAYING,
  `
local head = redis.call('GETRANGE', KEYS[1], '0', '${HEAD.lines + 63}')
if not live(head) then return {'-', now, redis.call('GET', KEYS[1]) or ''} end
local deadline = deadline_of(number(head, ${HEAD.idleTtl}), number(head, ${HEAD.fixedEnd}), number(head, ${HEAD.absoluteEnd}))
local seen = math.max(number(head, ${HEAD.lastSeenAt}), now)
-- Fails where it is no number, before anything is written.
local version = number(head, ${HEAD.version}) + 0
if KEYS[2] and string.byte(head, ${HEAD.lines + 1}) == 34 then
  local stop = find(head, '\\n', ${HEAD.lines + 1}, true)
  if not stop then
    head = redis.call('GETRANGE', KEYS[1], 0, ${HEAD.lines + 2000})
    stop = find(head, '\\n', ${HEAD.lines + 1}, true) or 0
  end
  stay(KEYS[2], sub(head, ${HEAD.lines + 1}, stop - 1), sub(KEYS[1], #KEYS[2] + 1), number(head, ${HEAD.absoluteEnd}))
end
redis.call('SETRANGE', KEYS[1], '${HEAD.lastSeenAt}', format('%015d%015d', seen, deadline))
redis.call('PEXPIREAT', KEYS[1], format('%d', deadline))
return {'+', version, deadline - now}`,
)

/** KEYS: old record, new record, prefix. ARGV: ttl of the tombstone, grace, whether privileges change (1 or 0), the new family, a change. */
export const MOVE: Script = new Script(
  BASICS,
  LINES,
  BUILDING,
  INDEX,
  CHANGING,
  OVERWRITING,
  `
local found = redis.call('GET', KEYS[1])
local from, to = sub(KEYS[1], #KEYS[3] + 1), sub(KEYS[2], #KEYS[3] + 1)
if not live(found) then
  if ARGV[6] ~= '' and found and string.byte(found) == 77 and sub(found, 18) == to then
    local moved = redis.call('GET', KEYS[2])
    local _, _, writes, state = lines(live(moved) and moved or '')
    local done = writes and seen_before(sub(moved, writes, state - 2), ARGV[6])
    if done then return {'+', done, number(moved, ${HEAD.deadline}) - now} end
  end
  return {'-', now, found or ''}
end
if ARGV[5] ~= '' and tonumber(ARGV[5]) ~= number(found, ${HEAD.version}) then return {'v'} end
local taken = redis.call('GET', KEYS[2])
if taken and (string.byte(taken) ~= 83 or live(taken)) then return {'d'} end
local before, label, writes, state = lines(found)
local record, version, deadline, user, absolute = changed(found, 5, ARGV[4], before, label, writes, state)
if not record then return {'c'} end
-- It writes what is there, only to see whether it may write: a sign-out must be possible without memory.
if refused(redis.pcall('SETRANGE', KEYS[1], 0, 'S')) then redis.call('DEL', KEYS[1]) end
if user ~= 'null' then join(KEYS[3], user, to, absolute) end
keep(KEYS[2], record, deadline)
redis.call('SET', KEYS[1], 'M' .. fifteen(now + ARGV[2]) .. ARGV[3] .. to, 'PX', ARGV[1])
leave(KEYS[3], before, from)
return {'+', version, deadline - now}`,
)

/**
 * Ends a session. The deletion comes first: an engine that is out of memory refuses a script that begins with a `SET`.
 * KEYS: record, and the prefix if moves are to be followed and the index is to be kept. ARGV: ttl of the tombstone or nothing, the name of the
 * call, a user or nothing, a family to be spared or nothing. Replies with `+` and the user; `-` also with the last id; `o` where the session is another user's, or spared.
 */
export const END: Script = new Script(
  BASICS,
  LINES,
  OVERWRITING,
  `
local key, seen = KEYS[1], {}
while true do
  local found = redis.call('GET', key)
  if live(found) then
    local user = lines(found) or 'null'
    if ARGV[3] ~= '' and user ~= ARGV[3] then return {'o'} end
    if ARGV[4] ~= '' and sub(found, ${HEAD.family + 1}, ${HEAD.lines}) == ARGV[4] then return {'o'} end
    if ARGV[1] == '' then redis.call('DEL', key) else overwrite(key, 'E' .. ARGV[2], 'PX', ARGV[1]) end
    if KEYS[2] and user ~= 'null' then redis.call('ZREM', KEYS[2] .. 'user:' .. user, sub(key, #KEYS[2] + 1)) end
    return {'+', user}
  end
  if found and ARGV[2] ~= '' and found == 'E' .. ARGV[2] then return {'+', 'null'} end
  if not KEYS[2] or ARGV[1] == '' or not found or sub(found, 1, 1) ~= 'M' or sub(found, 17, 17) == '1' then
    return {'-', now, found or '', KEYS[2] and sub(key, #KEYS[2] + 1) or ''}
  end
  if seen[key] then return {'c'} end
  seen[key] = true
  key = KEYS[2] .. sub(found, 18)
end`,
)

/** How many of a user's sessions one script looks at. */
export const WINDOW = 500

/**
 * KEYS: index, prefix. ARGV: user, and the ids to look at; without any the first of all that the index has. Drops what is no live session of the user.
 * Replies with the clock, the number of ids that remain to be looked at and these, and for each session its id and record up to the label.
 */
export const LIST: Script = new Script(
  BASICS,
  LINES,
  `
local ids, rest = {}, {}
for i = 2, #ARGV do ids[i - 1] = ARGV[i] end
if #ARGV == 1 then ids = redis.call('ZRANGE', KEYS[1], 0, -1) end
for i = ${WINDOW} + 1, #ids do rest[i - ${WINDOW}] = ids[i] end
local reply = {now, #rest}
for _, id in ipairs(rest) do reply[#reply + 1] = id end
for i = 1, math.min(#ids, ${WINDOW}) do
  local record = redis.call('GETRANGE', KEYS[2] .. ids[i], 0, ${HEAD.lines + 2000} + #ARGV[1])
  if live(record) and of_user(record, ARGV[1]) then
    reply[#reply + 1] = ids[i]
    reply[#reply + 1] = record
  else redis.call('ZREM', KEYS[1], ids[i]) end
end
return reply`,
)

/** KEYS: index, prefix, and the record to be spared if there is one. ARGV: user, ttl of the tombstones or nothing, family to be spared if the first window has found it. Replies with how many it has looked at, how many it has ended, and the family spared. */
export const END_BY_USER: Script = new Script(
  BASICS,
  LINES,
  OVERWRITING,
  `
local family = ARGV[3]
local key, seen = KEYS[3], {}
while family == '' and key and not seen[key] do
  seen[key] = true
  local found = redis.call('GET', key)
  if live(found) then family = sub(found, ${HEAD.family + 1}, ${HEAD.lines})
  elseif found and sub(found, 1, 1) == 'M' and sub(found, 17, 17) == '0' then key = KEYS[2] .. sub(found, 18)
  else key = nil end
end
local ids = redis.call('ZRANGE', KEYS[1], 0, ${WINDOW - 1})
local ended = 0
for _, id in ipairs(ids) do
  local record = redis.call('GETRANGE', KEYS[2] .. id, 0, ${HEAD.lines} + #ARGV[1])
  local mine = live(record) and of_user(record, ARGV[1])
  if not (mine and family ~= '' and sub(record, ${HEAD.family + 1}, ${HEAD.lines}) == family) then
    redis.call('ZREM', KEYS[1], id)
    if mine then
      if ARGV[2] == '' then redis.call('DEL', KEYS[2] .. id) else overwrite(KEYS[2] .. id, 'E', 'PX', ARGV[2]) end
      ended = ended + 1
    end
  end
end
return {#ids, ended, family}`,
)

// In a cluster, where two ids seldom stand on one node. What follows touches one key each.

/** Milliseconds within which a session that was read may be declared moved. By then what is pending lives for longer still. */
const MOVE_WITHIN = 30_000
export const PENDING_MARGIN: number = 2 * MOVE_WITHIN

/** KEYS: new record. ARGV: ttl of what is pending, the old id, the family, a change, and last the record that moves. Replies with version and ttl. */
export const PREPARE_MOVE: Script = new Script(
  BASICS,
  LINES,
  BUILDING,
  CHANGING,
  `
local found = redis.call('GET', KEYS[1])
local mark = 'P' .. ARGV[2] .. '\\n'
if found and (string.byte(found) ~= 83 or live(found)) and sub(found, 1, #mark) ~= mark then return {'d'} end
local old = table.remove(ARGV)
local record, version, deadline, user, absolute = changed(old, 4, ARGV[3], lines(old))
if not record then return {'c'} end
redis.call('SET', KEYS[1], mark .. record, 'PX', ARGV[1])
return {'+', version, deadline - now}`,
)

/** The commit point. KEYS: old record. ARGV: how the record began when it was read, when that was, ttl of the tombstone, grace, whether privileges change, the new id. */
export const COMMIT_MOVE: Script = new Script(
  BASICS,
  OVERWRITING,
  `
local found = redis.call('GET', KEYS[1])
if not live(found) then
  if found and string.byte(found) == 77 and sub(found, 18) == ARGV[6] then return {'+'} end
  return {'-', now, found or ''}
end
if sub(found, 1, #ARGV[1]) ~= ARGV[1] or now > ARGV[2] + ${MOVE_WITHIN} then return {'v'} end
overwrite(KEYS[1], 'M' .. format('%015d', now + ARGV[4]) .. ARGV[5] .. ARGV[6], 'PX', ARGV[3])
return {'+'}`,
)

/** After the commit point, and so also in an engine that is out of memory. KEYS: new record. ARGV: the old id. */
export const FINISH_MOVE: Script = new Script(
  BASICS,
  OVERWRITING,
  `
local found = redis.call('GET', KEYS[1])
local mark = 'P' .. ARGV[1] .. '\\n'
if found and sub(found, 1, #mark) == mark then
  local record = sub(found, #mark + 1)
  overwrite(KEYS[1], record, 'PXAT', format('%d', number(record, ${HEAD.deadline})))
end
return {'+'}`,
)

/** KEYS: record. ARGV: user. Replies with the clock and the record up to the label. */
export const LOOK: Script = new Script(
  BASICS,
  `
local found = redis.call('GETRANGE', KEYS[1], 0, ${HEAD.lines + 2000} + #ARGV[1])
return {now, found}`,
)

/** How long an entry of the index may be ahead of its session, in milliseconds. */
export const HEADSTART = 60_000

/** KEYS: index. ARGV: id, ttl. Replies with up to four entries that have not been looked at for longest, and their times. */
export const JOIN: Script = new Script(
  BASICS,
  `
redis.call('ZADD', KEYS[1], now, ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local reply = {}
for i, cell in ipairs(redis.call('ZRANGE', KEYS[1], 0, 3, 'WITHSCORES')) do
  if i % 2 == 0 and tonumber(cell) > now - ${HEADSTART} then
    reply[#reply] = nil
    break
  end
  reply[#reply + 1] = cell
end
return reply`,
)

/** KEYS: index. Replies with all entries and their times, and the clock first. */
export const ENTRIES: Script = new Script(
  BASICS,
  `
local reply = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
table.insert(reply, 1, now)
return reply`,
)

/** KEYS: index. ARGV: triples of id, time as it was read, and whether the session lives (1 or 0). Leaves entries alone that have changed since. */
export const TEND: Script = new Script(
  BASICS,
  `
for i = 1, #ARGV, 3 do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    if ARGV[i + 2] == '1' then redis.call('ZADD', KEYS[1], now, ARGV[i])
    else redis.call('ZREM', KEYS[1], ARGV[i]) end
  end
end
return {'+'}`,
)

/** KEYS: index. ARGV: id. */
export const LEAVE: Script = new Script(`
redis.call('ZREM', KEYS[1], ARGV[1])
return {'+'}`)
