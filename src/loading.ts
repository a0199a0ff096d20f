import { type Gone, RecordCorruptError, SessionFinalizedError, UnknownIdError } from "./errors.ts"
import { expiryOf, resolveExpiry } from "./expiry.ts"
import type { SessionId } from "./id.ts"
import { narrowed, type PendingSignIn } from "./pending.ts"
import { fateOf } from "./plan.ts"
import type { Standing } from "./standing.ts"
import { Changes, layOver, Overlay } from "./state.ts"
import type { SessionRecord } from "./store.ts"

/** Finding out: what the store knows of a session, and that it is not where it was. */

const LOADED: Promise<void> = Promise.resolve()

type Moved = Extract<Gone, { movedTo: string }>

interface LoadOptions {
  /** Whether what a cache or a replica says is not good enough, for what depends on it changes privilege. */
  readonly fresh: boolean
}

const ANY: LoadOptions = { fresh: false }
export const FRESH: LoadOptions = { fresh: true }

/** Whether there is something to load. A sign-in that waits for certainty has every read wait for it as well. */
export function mustLoad(it: Standing, { fresh }: LoadOptions = ANY): boolean {
  if (it.dead !== undefined) return false
  return fresh || it.signIn?.resolved === false ? it.isUncertain : it.knowledge === "unknown"
}

/** Loads unless that has been done, once however many ask for it. */
export function ensureLoaded(it: Standing, options: LoadOptions = ANY): Promise<void> {
  if (!mustLoad(it, options)) return LOADED
  if (it.finalizing !== undefined) {
    throw new SessionFinalizedError("Server state is read for the first time after the response has begun.")
  }
  return it.exclusively(() => load(it, options))
}

/** Follows the session to where it is, and takes in what is found there. */
export async function load(it: Standing, options: LoadOptions = ANY): Promise<void> {
  while (mustLoad(it, options)) {
    try {
      await loadOnce(it, options)
    } catch (error) {
      const { signIn } = it
      if (!(error instanceof RecordCorruptError) || signIn === undefined) throw error
      // The credentials were right, and what cannot be read keeps nobody out.
      it.doomed = { id: it.id as SessionId, identity: "existing", knowledge: "unknown" }
      it.startAfresh(signIn.after.copy(), signIn.clientAfter.copy())
    }
  }
}

async function loadOnce(it: Standing, options: LoadOptions): Promise<void> {
  const { mayLag } = it.core.gateway
  const { generation } = it
  const id = it.id as SessionId
  let fresh = options.fresh || it.wrote || it.signIn !== undefined
  let found = await it.gateway.load(id, fresh ? FRESH : undefined)
  if (found === undefined && mayLag && !fresh) {
    // A replica that is behind, or a cache, may not know of it yet; a tombstone is the truth.
    fresh = true
    found = await it.gateway.load(id, FRESH)
  }
  // What was invalidated while it was being loaded is not taken in.
  if (generation !== it.generation) return
  if (found !== undefined && "state" in found) adoptRecord(it, found, fresh || !mayLag)
  else await learn(it, found, it.facts !== undefined)
}

function adoptRecord(it: Standing, record: SessionRecord, isFresh: boolean): void {
  const now = it.now
  it.knowledge = "present"
  it.isFresh = isFresh
  it.facts = {
    userId: record.userId,
    signedInAt: record.signedInAt,
    version: record.version,
    expiry: expiryOf(record),
    knownAt: now,
  }
  it.cookieKind = record.cookieKind
  it.createdAt = record.createdAt.getTime()
  it.deadline = now + record.expiresIn
  it.absoluteEnd = now + record.absoluteExpiresIn
  it.server = new Overlay(record.state, it.server.changes)
  if (it.signIn === undefined || it.signIn.resolved) return
  resolveSignIn(it, it.signOut === undefined ? record.userId : null)
}

/** Loads again what may have changed since. */
export function reload(it: Standing): Promise<void> {
  if (it.knowledge === "present") it.knowledge = "unknown"
  return load(it, FRESH)
}

/** Lays out what a sign-in keeps, given who was bound before. Until that is certain it will be laid out once more. */
export function resolveSignIn(it: Standing, bound: string | null): void {
  const signIn = it.signIn as PendingSignIn
  const isStranger = bound !== null && bound !== signIn.userId
  const keep = isStranger ? false : signIn.keep
  const server = narrowed(signIn.before, keep)
  server.append(signIn.after)
  it.server = it.onServer(server)
  const client = narrowed(signIn.clientBefore, keep)
  client.append(signIn.clientAfter)
  it.client = layOver(it.client.base, client)
  if (it.isUncertain) return
  if (isStranger && it.expiry === signIn.expiryBefore) {
    it.expiry = { expiry: resolveExpiry(null, it.core.config.ttl, it.now), askedAt: it.now }
  }
  signIn.resolved = true
}

/** @param seen whether the record was loaded in this request. */
export async function learn(it: Standing, gone: Gone | undefined, seen: boolean): Promise<void> {
  const fate = fateOf(gone, seen, it.hops)
  if (fate === "follow") return follow(it, (gone as Moved).movedTo)
  if (fate === "missing") return goMissing(it)
  if (it.signIn !== undefined) {
    // The credentials were right, so the user gets in, with what was set since.
    return it.startAfresh(it.signIn.after.copy(), it.signIn.clientAfter.copy())
  }
  if (it.signOut === undefined) it.lost ||= it.isModified
  else if (fate === "moved" && (await endInStore(it, it.id as SessionId))) it.removal = true
  it.dead = fate
  it.knowledge = "absent"
  it.facts = undefined
  it.dropWishes()
  it.server = new Overlay({}, new Changes())
  it.client = new Overlay({}, new Changes())
}

function follow(it: Standing, id: SessionId): void {
  it.id = id
  it.hops += 1
  it.inGrace = true
  it.knowledge = "unknown"
  it.facts = undefined
  it.server = new Overlay(undefined, it.server.changes)
  if (it.signIn !== undefined) return
  it.cycle = undefined
  if (it.signOut !== undefined) return
  it.reportRefused(it.client.changes)
  it.client = new Overlay(it.client.base, new Changes())
}

function goMissing(it: Standing): void {
  const { config } = it.core
  config.diagnostics.emit({ type: "record-missing", id: it.id as SessionId })
  if (config.missingServerState === "reject") {
    if (it.signIn !== undefined) {
      return it.startAfresh(it.signIn.after.copy(), it.signIn.clientAfter.copy())
    }
    it.startAfresh(new Changes(), new Changes())
    it.invalidated = it.removal = true
    return
  }
  it.knowledge = "missing"
  it.server = layOver({}, it.server.changes)
  if (config.missingServerState === "renew") {
    it.client = layOver({}, it.client.changes)
    it.absoluteEnd = it.createdAt = it.deadline = 0
    it.cookieKind = null
  }
  const signIn = it.signIn
  if (signIn !== undefined && !signIn.resolved) resolveSignIn(it, null)
}

/** @returns whether the browser may be told to forget its cookie: not if another request has ended or moved the session. */
export async function endInStore(it: Standing, id: SessionId): Promise<boolean> {
  const { config } = it.core
  try {
    await it.gateway.delete(id, { tombstone: { ttl: config.tombstoneTtl } })
    config.diagnostics.emit({ type: "invalidated", id })
    it.core.announce({ id })
    return true
  } catch (error) {
    if (error instanceof UnknownIdError) return error.gone === undefined
    throw error
  }
}
