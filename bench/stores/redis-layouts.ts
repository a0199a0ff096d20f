import type { SessionStore } from "coatcheck"
import { found, ours } from "./contender.ts"
import type { Trial } from "./measure.ts"
import { type Commands, type Script, scriptOf } from "./redis-commands.ts"
import { ABSOLUTE_TTL, IDLE_TTL, type Population, type State, STATE } from "./sample.ts"

/**
 * Ways to lay a session out, each with what the store's contract demands of these operations: the same facts, the engine's clock, a version,
 * nothing written to what is dead. `string` is our store, merged by a script. `hash` has a field for each key, and the facts in three fields that
 * are short enough for the engine's compact form, so that a write touches few of them. `whole` is a string that is read, changed here, and
 * written if its version is the same, until it is.
 */
export type LayoutName = (typeof LAYOUTS)[number]
export const LAYOUTS = ["string", "hash", "whole"] as const

interface Layout {
  load(id: string): Promise<unknown>
  /** Sets the key `visits`. */
  update(id: string, visits: number): Promise<unknown>
  updateTtl(id: string): Promise<unknown>
}

/** One that is made here. */
export interface OwnLayout extends Layout {
  create(id: string, state: State): Promise<unknown>
}

export interface Layouts extends Readonly<Record<LayoutName, Layout>> {
  readonly hash: OwnLayout
  readonly whole: OwnLayout
}

/** Four numbers of 15 digits that a write changes or needs, and four that stay. */
interface Facts {
  readonly moving: string
  readonly staying: string
  readonly user: string
}

const DIGITS = 15
const FACTS = 4 * DIGITS
const NONE = "-".repeat(DIGITS)

/** Version, last seen, deadline, idle ttl; created, absolute end, signed in, fixed end. */
const BASICS = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function number(facts, place) return tonumber(string.sub(facts, place * ${DIGITS} + 1, place * ${DIGITS} + ${DIGITS})) end
local function live(moving) return moving and number(moving, 2) and number(moving, 2) > now end
local function touched(moving, staying, version)
  local deadline, idle, fixed = number(staying, 1), number(moving, 3), number(staying, 3)
  if idle then deadline = math.min(deadline, now + idle) end
  if fixed then deadline = math.min(deadline, fixed) end
  return string.format('%015d%015d%015d', version, math.max(now, number(moving, 1)), deadline) .. string.sub(moving, ${3 * DIGITS + 1}, ${FACTS}), deadline
end`

const HASH_UPDATE: Script = scriptOf(`${BASICS}
local facts = redis.call('HMGET', KEYS[1], 'moving', 'staying')
if not live(facts[1]) then return {'-'} end
local version = number(facts[1], 0) + 1
local moving, deadline = touched(facts[1], facts[2], version)
redis.call('HSET', KEYS[1], 'moving', moving, unpack(ARGV))
redis.call('PEXPIREAT', KEYS[1], string.format('%d', deadline))
return {'+', version, deadline - now}`)

const HASH_TOUCH: Script = scriptOf(`${BASICS}
local facts = redis.call('HMGET', KEYS[1], 'moving', 'staying')
if not live(facts[1]) then return {'-'} end
local version = number(facts[1], 0)
local moving, deadline = touched(facts[1], facts[2], version)
redis.call('HSET', KEYS[1], 'moving', moving)
redis.call('PEXPIREAT', KEYS[1], string.format('%d', deadline))
return {'+', version, deadline - now}`)

const WHOLE_UPDATE: Script = scriptOf(`${BASICS}
local facts = redis.call('GETRANGE', KEYS[1], 0, ${2 * FACTS - 1})
if not live(facts) then return {'-'} end
local version = number(facts, 0)
if version ~= tonumber(ARGV[1]) then return {'v'} end
local moving, deadline = touched(facts, string.sub(facts, ${FACTS + 1}), version + 1)
redis.call('SET', KEYS[1], moving .. ARGV[2], 'PXAT', string.format('%d', deadline))
return {'+', version + 1, deadline - now}`)

const WHOLE_TOUCH: Script = scriptOf(`${BASICS}
local facts = redis.call('GETRANGE', KEYS[1], 0, ${2 * FACTS - 1})
if not live(facts) then return {'-'} end
local version = number(facts, 0)
local moving, deadline = touched(facts, string.sub(facts, ${FACTS + 1}), version)
redis.call('SETRANGE', KEYS[1], 0, moving)
redis.call('PEXPIREAT', KEYS[1], string.format('%d', deadline))
return {'+', version, deadline - now}`)

export async function openLayouts(commands: Commands, store: SessionStore): Promise<Layouts> {
  for (const { text } of [HASH_UPDATE, HASH_TOUCH, WHOLE_UPDATE, WHOLE_TOUCH]) {
    await commands.send("SCRIPT", "LOAD", text)
  }
  return { string: ours("", store), hash: hash(commands), whole: whole(commands) }
}

function hash({ send, hashGetAll, script }: Commands): OwnLayout {
  const key = (id: string): string => `hash:${id}`
  return {
    create(id, state) {
      const fields = [
        ...Object.entries(newFacts()),
        ...Object.entries(state).map(([name, value]) => [`:${name}`, JSON.stringify(value)]),
      ]
      return Promise.all([
        send("HSET", key(id), ...fields.flat()),
        send("PEXPIRE", key(id), String(IDLE_TTL)),
      ])
    },
    async load(id) {
      const fields = found(await hashGetAll(key(id)))
      const state: Record<string, unknown> = {}
      for (const [field, text] of Object.entries(fields)) {
        if (field.startsWith(":")) state[field.slice(1)] = JSON.parse(text)
      }
      return recordOf(fields as unknown as Facts, state)
    },
    update: async (id, visits) =>
      done(await script(HASH_UPDATE, [key(id)], [":visits", JSON.stringify(visits)])),
    updateTtl: async (id) => done(await script(HASH_TOUCH, [key(id)], [])),
  }
}

function whole({ send, get, script }: Commands): OwnLayout {
  const key = (id: string): string => `whole:${id}`
  const read = async (id: string): Promise<{ text: string; start: number; record: Loaded }> => {
    const text = found(await get(key(id)))
    const start = text.indexOf("\n", 2 * FACTS) + 1
    const facts = {
      moving: text.slice(0, FACTS),
      staying: text.slice(FACTS, 2 * FACTS),
      user: text.slice(2 * FACTS, start),
    }
    return { text, start, record: recordOf(facts, JSON.parse(text.slice(start)) as object) }
  }
  return {
    create(id, state) {
      const { moving, staying, user } = newFacts()
      const text = `${moving}${staying}${user}\n${JSON.stringify(state)}`
      return send("SET", key(id), text, "PX", String(IDLE_TTL))
    },
    load: async (id) => (await read(id)).record,
    async update(id, visits) {
      for (;;) {
        const { text, start, record } = await read(id)
        const state = JSON.stringify({ ...record.state, visits })
        const values = [String(record.version), text.slice(FACTS, start) + state]
        const reply = (await script(WHOLE_UPDATE, [key(id)], values)) as unknown[]
        if (reply[0] !== "v") return done(reply)
      }
    },
    updateTtl: async (id) => done(await script(WHOLE_TOUCH, [key(id)], [])),
  }
}

function newFacts(): Facts {
  const now = Date.now()
  return {
    moving: fifteen(1) + fifteen(now) + fifteen(now + IDLE_TTL) + fifteen(IDLE_TTL),
    staying: fifteen(now) + fifteen(now + ABSOLUTE_TTL) + NONE + NONE,
    user: '-12345678["",null,null]',
  }
}

function fifteen(value: number): string {
  return String(value).padStart(DIGITS, "0")
}

interface Loaded {
  readonly version: number
  readonly state: object
}

/** With all that a record of the contract says. */
function recordOf({ moving, staying, user }: Facts, state: object): Loaded {
  const number = (facts: string, place: number): number =>
    Number(facts.slice(place * DIGITS, (place + 1) * DIGITS))
  const [now, deadline] = [Date.now(), number(moving, 2)]
  if (deadline <= now) throw new Error("A session has expired.")
  const [signedInAt, fixedEnd] = [number(staying, 2), number(staying, 3)]
  const [, userId, label] = JSON.parse(user.slice(9)) as (string | null)[]
  const record = {
    state,
    version: number(moving, 0),
    userId,
    label,
    createdAt: new Date(number(staying, 0)),
    lastSeenAt: new Date(number(moving, 1)),
    signedInAt: Number.isNaN(signedInAt) ? null : new Date(signedInAt),
    idleTtl: number(moving, 3),
    fixedExpiresIn: Number.isNaN(fixedEnd) ? null : fixedEnd - now,
    cookieKind: user[0] === "-" ? null : user[0],
    expiresIn: deadline - now,
    absoluteExpiresIn: number(staying, 1) - now,
  }
  return record
}

function done(reply: unknown): unknown {
  const [word] = reply as unknown[]
  if (word !== "+") throw new Error("A session is missing.")
  return reply
}

export async function fillLayouts(
  { hash: one, whole: other }: Layouts,
  population: Population,
): Promise<void> {
  for (const id of population.ids) await Promise.all([one.create(id, STATE), other.create(id, STATE)])
}

export function layoutTrials(layouts: Layouts, population: Population): Trial[] {
  const [same] = population.ids
  let visits = 0
  const trial = (name: string, share: number, run: (by: Layout) => Promise<unknown>): Trial => ({
    name,
    share,
    subjects: LAYOUTS.map((layout) => ({ name: layout, run: () => run(layouts[layout]) })),
  })
  return [
    trial("load", 1, (by) => by.load(population.anyId())),
    trial("update of one key", 1, (by) => by.update(population.anyId(), ++visits)),
    trial("update of one key, all the same session", 1 / 8, (by) => by.update(same as string, ++visits)),
    trial("touch", 1, (by) => by.updateTtl(population.anyId())),
  ]
}
