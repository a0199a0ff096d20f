import { type CookieSettings, MAX_COOKIE_BYTES } from "./cookie/attributes.ts"
import { sealedLength } from "./cookie/key-ring.ts"
import { MAX_BOOKMARK_LENGTH } from "./cookie/seal.ts"
import {
  CookieTooLargeError,
  DuplicateIdError,
  StoreError,
  UnknownIdError,
  ValueSerializationError,
} from "./errors.ts"
import { remaining } from "./expiry.ts"
import { deriveId, mintTicket, type SessionId } from "./id.ts"
import { byteLength, joinObject, type JsonObject, quote } from "./json.ts"
import { endInStore, learn, load } from "./loading.ts"
import { type Doomed, largestOf, pendingExpiry, type Sent } from "./pending.ts"
import { decide, isDue, type Plan, type Situation } from "./plan.ts"
import type { Standing } from "./standing.ts"
import { Changes, Overlay } from "./state.ts"
import type { Change, NewRecord, UserChange, Written } from "./store.ts"

/** Carrying out: from what is wanted to one store operation, and again after each surprise. */

/** How a commit differs between `finalize`, `save` and `transact`. */
interface CommitMode {
  /** Whether the response is about to be sent, so that lifetimes and cookies matter. */
  readonly final: boolean
  readonly ifVersion?: number | undefined
  /** In place of the pending changes of server state. */
  readonly changes?: Changes | undefined
}

const MAX_ROUNDS = 16
const MAX_COLLISIONS = 3
const NOBODY = { userId: null, signedInAt: null } as const
const UNBIND: UserChange = Object.freeze({ userId: null, label: null, absoluteTtl: null })
const INVALIDATED = {
  server: "none",
  clientChanged: false,
  clientNonEmpty: false,
  invalidated: true,
  extensionDue: false,
  sealDue: false,
  resealDue: false,
  expiryChanged: false,
  unannounced: false,
  bookmark: "none",
  inGrace: false,
  mayCreate: true,
} as const

/** Decides and does, again after each surprise, until there is nothing left to do. */
export async function commit(it: Standing, mode: CommitMode): Promise<Plan | undefined> {
  await prepare(it)
  let collisions = 0
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (it.dead !== undefined || it.invalidated) return undefined
    const plan = decide(situationOf(it, mode), it.core.config)
    try {
      await carryOut(it, plan, mode)
      return plan
    } catch (error) {
      if (error instanceof DuplicateIdError && plan.mint && collisions++ < MAX_COLLISIONS) continue
      if (!(error instanceof UnknownIdError)) throw error
      await learn(it, error.gone, it.facts !== undefined)
      await prepare(it)
      // What a transaction made of another state is of no use on this one.
      if (mode.changes !== undefined) return undefined
    }
  }
  throw new StoreError("The session kept moving while it was saved.", {
    operation: "update",
    store: it.core.gateway.name,
  })
}

/** What has to be known, and done, before there is something to decide. */
async function prepare(it: Standing): Promise<void> {
  if (it.signIn !== undefined && !it.signIn.resolved) await load(it)
  if (it.doomed !== undefined) await carryOutDoom(it, it.doomed)
}

async function carryOutDoom(it: Standing, doomed: Doomed): Promise<void> {
  const plan = decide(
    { ...INVALIDATED, identity: doomed.identity, knowledge: doomed.knowledge },
    it.core.config,
  )
  if (plan.store !== "delete" || (await endInStore(it, doomed.id))) it.removal = true
  if (it.doomed === doomed) it.doomed = undefined
}

function situationOf(it: Standing, mode: CommitMode): Situation {
  const { final } = mode
  const incoming = it.incoming
  const now = it.now
  // A failed response extends nothing.
  const mayExtend = final && !it.failed
  const sealDue = mayExtend && isSealDue(it, now)
  return {
    identity: it.identity === "new" ? "new" : it.rotates ? "rotated" : "existing",
    knowledge: it.knowledge,
    server: it.serverWish(mode.changes ?? it.server.changes),
    // Client state is stored by the cookie, so nothing but the end of the request can save it.
    clientChanged: final && !it.client.changes.isEmpty,
    clientNonEmpty: it.client.size > 0,
    invalidated: false,
    extensionDue: mayExtend && isExtensionDue(it, now, sealDue),
    sealDue,
    resealDue:
      mayExtend && incoming !== undefined && !incoming.underNewestKey && incoming.ticket === it.ticket,
    expiryChanged: it.expiry !== undefined || (final && it.expirySaved),
    unannounced: final && it.unannounced,
    bookmark: final ? bookmarkOf(it) : "none",
    inGrace: it.inGrace,
    mayCreate: !(final && it.failed) && it.mayCreate(),
  }
}

function bookmarkOf(it: Standing): Situation["bookmark"] {
  if (!it.core.gateway.follows || it.headersLost) return "none"
  return it.saved ? "due" : "after-write"
}

function isSealDue(it: Standing, now: number): boolean {
  const seal = it.incoming
  if (seal === undefined || it.inGrace || seal.ticket !== it.ticket) return false
  const { threshold, ttl } = it.core.config
  const left = seal.expiresAt - now
  const absolute = it.absoluteEnd - now
  if (it.facts !== undefined) {
    const expiry = it.expiryNow(it.facts, now)
    return isDue(left, remaining(expiry, absolute), expiry.idleTtl ?? 0, threshold)
  }
  const lifetime = it.knowledge === "recordless" ? ttl : seal.expiresAt - seal.issuedAt
  return isDue(left, Math.min(lifetime, absolute), lifetime, threshold)
}

function isExtensionDue(it: Standing, now: number, sealDue: boolean): boolean {
  const { extendOnLoads, threshold } = it.core.config
  if (it.knowledge === "recordless") return extendOnLoads && sealDue
  // A record that is gone confirms nothing.
  if (it.knowledge === "missing") return false
  // A change that was saved earlier in this request has extended the record, but not yet the seal.
  if (it.facts === undefined || !extendOnLoads) return it.saved && sealDue
  const expiry = it.expiryNow(it.facts, now)
  const renewed = remaining(expiry, it.absoluteEnd - now)
  return sealDue || isDue(it.deadline - now, renewed, expiry.idleTtl ?? 0, threshold)
}

async function carryOut(it: Standing, plan: Plan, mode: CommitMode): Promise<void> {
  if (plan.mint || (mode.final && !it.client.changes.isEmpty)) assertCookieFits(it)
  if (plan.store === "none" && !(plan.mint && mode.final)) {
    if (!mode.final) return
    if (it.identity === "new") reportDenied(it)
    else if (plan.cookie !== "none" && it.knowledge !== "unknown" && it.knowledge !== "present")
      extendSeal(it)
    return
  }
  const ticket = plan.mint ? mintTicket() : undefined
  const generation = it.generation
  const before = it.id
  const privilegeChanged = it.signIn !== undefined || it.signOut !== undefined
  // Without a new ticket, too: nobody is signed in under the id any more.
  const unbinds = it.deletion !== undefined && plan.store !== "none"
  const id = ticket === undefined ? (it.id as SessionId) : deriveId(ticket)
  it.storing = true
  it.wrote ||= plan.store !== "none"
  try {
    await carryOutInStore(it, plan, mode, id)
  } finally {
    it.storing = false
  }
  it.saved = true
  if (before !== undefined && (unbinds || (ticket !== undefined && privilegeChanged)))
    it.core.announce({ id: before })
  if (ticket === undefined) return
  if (generation !== it.generation) {
    // It was invalidated while it was being made.
    it.doomed = { id, identity: "existing", knowledge: "unknown" }
    return
  }
  it.identity = "existing"
  it.ticket = ticket
  it.id = id
  it.inGrace = false
  it.unannounced = true
  it.expirySaved = false
  // The new ticket and the client state are told together, or not at all.
  it.client = new Overlay(it.client.result(), new Changes())
}

/** Carries out the plan's store operation, and takes what it has saved off what is pending. */
async function carryOutInStore(it: Standing, plan: Plan, mode: CommitMode, newId: SessionId): Promise<void> {
  const { config } = it.core
  const now = it.now
  const changes = (mode.changes ?? it.server.changes).copy()
  const sent = sentNow(it, changes)
  const id = it.id as SessionId
  switch (plan.store) {
    case "create": {
      assertStateFits(it, changes)
      const record = newRecord(it, changes, now)
      await it.gateway.create(newId, record)
      config.diagnostics.emit({ type: "created", id: newId })
      if (sent.generation !== it.generation) return
      it.createdAt ||= now
      it.absoluteEnd = now + record.absoluteTtl
      stored(it, sent, now, {
        base: new Overlay({}, changes).result(),
        version: 1,
        expiresIn: remaining(record, record.absoluteTtl),
      })
      return
    }
    case "update": {
      assertStateFits(it, changes)
      const written = await it.gateway.update(id, changeOf(it, changes, now), { ifVersion: mode.ifVersion })
      merged(it, sent, now, written)
      return
    }
    case "updateTtl": {
      const written = await it.gateway.updateTtl(id)
      if (sent.generation === it.generation) it.deadline = now + written.expiresIn
      return
    }
    case "changeId": {
      assertStateFits(it, changes)
      const privilegeChanged = it.signIn !== undefined || it.signOut !== undefined
      const grace = privilegeChanged ? 0 : (it.cycle?.grace ?? 0)
      const written = await it.gateway.changeId(id, newId, {
        change: changeOf(it, changes, now),
        ifVersion: mode.ifVersion,
        tombstone: { ttl: Math.max(config.tombstoneTtl, grace), grace, privilegeChanged },
      })
      config.diagnostics.emit({ type: "rotated", id, movedTo: newId })
      if (sent.signIn !== undefined && sent.generation === it.generation) {
        it.absoluteEnd = now + config.absoluteTtl
      }
      merged(it, sent, now, written)
      return
    }
    case "delete":
      await it.gateway.delete(id)
      if (sent.generation !== it.generation) return
      it.unannounced ||= !it.inGrace
      goRecordless(it, sent)
      return
    case "none":
      goRecordless(it, sent)
  }
}

/** From now on there is no record, and the seal alone says when the session ends. */
function goRecordless(it: Standing, sent: Sent): void {
  it.knowledge = "recordless"
  it.facts = undefined
  it.hasRecord = false
  it.createdAt ||= it.now
  it.absoluteEnd ||= it.now + it.core.config.absoluteTtl
  extendSeal(it)
  settle(it, sent, {})
}

function extendSeal(it: Standing): void {
  it.deadline = Math.min(it.now + it.core.config.ttl, it.absoluteEnd)
}

function newRecord(it: Standing, changes: Changes, now: number): NewRecord {
  const { ttl, absoluteTtl } = it.core.config
  const expiry = it.pendingExpiry(now) ?? { idleTtl: ttl, fixedTtl: null, cookieKind: it.cookieKind }
  const inherited = it.signIn === undefined && it.absoluteEnd > 0 ? it.absoluteEnd - now : absoluteTtl
  return {
    ...expiry,
    state: changes.set,
    userId: it.signIn?.userId ?? null,
    label: it.signIn?.label ?? null,
    absoluteTtl: Math.max(1, inherited),
  }
}

function changeOf(it: Standing, changes: Changes, now: number): Change {
  const { absoluteTtl } = it.core.config
  const signIn = it.signIn
  const user =
    signIn === undefined
      ? (it.user ?? (it.deletion === undefined ? undefined : UNBIND))
      : { ...signIn, absoluteTtl }
  return {
    clear: changes.clear,
    set: changes.set,
    remove: changes.remove,
    user: user && { userId: user.userId, label: user.label, absoluteTtl: user.absoluteTtl },
    expiry: it.pendingExpiry(now),
  }
}

function sentNow(it: Standing, changes: Changes): Sent {
  return {
    changes,
    pending: it.server.changes.copy(),
    signIn: it.signIn,
    cycle: it.cycle,
    user: it.user,
    expiry: it.expiry,
    signOut: it.signOut,
    deletion: it.deletion,
    generation: it.generation,
  }
}

/** After a write into a record that others may have written as well. */
function merged(it: Standing, sent: Sent, now: number, written: Written): void {
  if (sent.generation !== it.generation) return
  if (sent.expiry !== undefined && !it.unannounced) it.expirySaved = true
  const known = it.knowledge === "present" ? it.facts : undefined
  if (known === undefined) {
    it.deadline = now + written.expiresIn
    if (sent.expiry !== undefined) it.cookieKind = sent.expiry.expiry.cookieKind
    settle(it, sent, undefined)
    return
  }
  const isSole = known.version !== undefined && written.version === known.version + 1
  stored(it, sent, now, {
    base: new Overlay(it.server.base, sent.changes).result(),
    version: isSole ? written.version : undefined,
    expiresIn: written.expiresIn,
  })
}

/** After a write whose result is known. */
function stored(
  it: Standing,
  sent: Sent,
  now: number,
  result: { base: JsonObject; version: number | undefined; expiresIn: number },
): void {
  const before = it.facts
  const expiry = pendingExpiry(sent.expiry, now) ?? (before && it.expiryNow(before, now))
  const isUnbound = sent.user !== undefined || sent.deletion !== undefined
  const { userId, signedInAt } = isUnbound || before === undefined ? NOBODY : before
  it.facts = {
    userId: sent.signIn?.userId ?? userId,
    signedInAt: sent.signIn === undefined ? signedInAt : new Date(now),
    version: result.version,
    expiry: expiry ?? { idleTtl: it.core.config.ttl, fixedTtl: null, cookieKind: it.cookieKind },
    knownAt: now,
  }
  it.cookieKind = it.facts.expiry.cookieKind
  it.deadline = now + result.expiresIn
  it.knowledge = "present"
  // Nobody else has written since, so what was read was the newest.
  it.isFresh ||= result.version !== undefined
  it.hasRecord = true
  settle(it, sent, result.base)
}

/** Takes what has been saved off what is pending; what was asked for in the meantime stays. */
function settle(it: Standing, sent: Sent, base: JsonObject | undefined): void {
  it.server = new Overlay(base, it.server.changes.since(sent.pending))
  if (it.signIn === sent.signIn) it.signIn = undefined
  else if (it.signIn !== undefined) it.signIn.before = it.signIn.before.since(sent.pending)
  if (it.cycle === sent.cycle) it.cycle = undefined
  if (it.user === sent.user) it.user = undefined
  if (it.expiry === sent.expiry) it.expiry = undefined
  if (it.signOut === sent.signOut) it.signOut = undefined
  if (it.deletion === sent.deletion) it.deletion = undefined
}

function assertCookieFits(it: Standing): void {
  const { follows } = it.core.gateway
  // What the store will have to say is known only after the write.
  const size = cookieSize(it, clientText(it), follows ? MAX_BOOKMARK_LENGTH : 0)
  if (size <= MAX_COOKIE_BYTES) return
  const largestKey = largestOf(it.client.texts())
  const hint = largestKey === undefined ? "" : ` The largest key of its client state is ${quote(largestKey)}.`
  const room = follows ? " with the room that the store's bookmark may take" : ""
  throw new CookieTooLargeError(
    `The session cookie would be ${size} bytes${room}; browsers keep at most ${MAX_COOKIE_BYTES}.${hint}`,
    { largestKey, size, limit: MAX_COOKIE_BYTES },
  )
}

/** The bytes of `name=value`. */
export function cookieSize(it: Standing, client: string | undefined, bookmarkLength: number): number {
  return (it.cookie as CookieSettings).name.length + 1 + sealedLength(client, bookmarkLength)
}

function assertStateFits(it: Standing, changes: Changes): void {
  const { maxStateBytes, maxValueBytes } = it.core.config
  const state = new Overlay(it.server.base ?? {}, changes)
  // Measured only if it could be too large at all.
  if (changes.set.size === 0 || state.size * (maxValueBytes + 2048) <= maxStateBytes) return
  const texts = state.texts()
  const size = byteLength(joinObject(texts))
  if (size <= maxStateBytes) return
  // Writes that did not know it may have made it too large; one that makes it smaller is welcome.
  if (size < byteLength(joinObject(new Overlay(state.base, new Changes()).texts()))) return
  const largest = largestOf(texts) as string
  throw new ValueSerializationError(
    `The session's state is ${size} bytes of JSON; maxStateBytes allows ${maxStateBytes}. Its largest key is ${quote(largest)}.`,
    { key: largest },
  )
}

export function clientText(it: Standing): string | undefined {
  return it.client.size > 0 ? joinObject(it.client.texts()) : undefined
}

function reportDenied(it: Standing): void {
  if (it.mayCreate() || (it.serverWish(it.server.changes) !== "change" && it.client.size === 0)) return
  it.core.config.diagnostics.emit({ type: "creation-denied" })
}
