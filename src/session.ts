import type {
  AnyState,
  Entry,
  Finalized,
  Outcome,
  RequestFacts,
  Session,
  SignInOptions,
  StateView,
  UserId,
} from "./api.ts"
import { CapabilityError, SessionEndedError, SessionFinalizedError, SessionReadOnlyError } from "./errors.ts"
import {
  describeExpiry,
  type Duration,
  type Expiry,
  parseDuration,
  remaining,
  type ResolvedExpiry,
  resolveExpiry,
  shown,
} from "./expiry.ts"
import type { SessionId } from "./id.ts"
import type { JsonValue } from "./json.ts"
import { ensureLoaded, FRESH, mustLoad, reload, resolveSignIn } from "./loading.ts"
import { narrowed, narrower } from "./pending.ts"
import { finalizeSession, UNTOUCHED } from "./response.ts"
import { commit } from "./saving.ts"
import type { Validator } from "./schema.ts"
import { type Core, Standing } from "./standing.ts"
import { blind, Changes, Overlay } from "./state.ts"
import type { StoreCapabilities } from "./store.ts"
import { transact } from "./transaction.ts"
import { labelText, userKey } from "./user.ts"
import { View, type ViewSource } from "./view.ts"

const NOTHING_TO_FINALIZE: Promise<Finalized> = Promise.resolve(UNTOUCHED)

/** One request's session. What it does is documented at the interface; what it decides is in `plan.ts`. */
export class RequestSession implements Session {
  readonly #it: Standing
  #serverView: View | undefined
  #clientView: View | undefined

  constructor(
    core: Core,
    cookieHeader: string | readonly string[] | null | undefined,
    request: RequestFacts | undefined,
  ) {
    this.#it = new Standing(core, cookieHeader, request)
  }

  get id(): SessionId | undefined {
    this.#it.read()
    return this.#it.id ?? this.#it.doomed?.id
  }

  get isNew(): boolean {
    this.#it.read()
    return this.#it.incoming === undefined || this.#it.isRenewed
  }

  get isModified(): boolean {
    return this.#it.isModified
  }

  get isInvalidated(): boolean {
    this.#it.touch()
    return this.#it.invalidated || this.#it.dead !== undefined
  }

  get isTouched(): boolean {
    return this.#it.cookie !== undefined
  }

  async get(key: string): Promise<JsonValue | undefined> {
    return (await this.#loaded()).get(key)
  }

  async has(key: string): Promise<boolean> {
    return (await this.#loaded()).has(key)
  }

  async keys(): Promise<string[]> {
    return (await this.#loaded()).keys()
  }

  async entries(): Promise<Entry<AnyState>[]> {
    return (await this.#loaded()).entries()
  }

  async isEmpty(): Promise<boolean> {
    return (await this.#loaded()).isEmpty()
  }

  async take(key: string): Promise<JsonValue | undefined> {
    return (await this.#loaded()).take(key)
  }

  set(key: string, value: JsonValue): void {
    this.#view.set(key, value)
  }

  remove(key: string): void {
    this.#view.remove(key)
  }

  clear(): void {
    this.#view.clear()
  }

  async load(options: { readonly fresh?: boolean | undefined } = {}): Promise<StateView<AnyState>> {
    if (options.fresh !== true) return this.#loaded()
    this.#it.read()
    await ensureLoaded(this.#it, FRESH)
    return this.#view
  }

  delete(...nothing: unknown[]): void {
    if (nothing.length > 0) {
      throw new TypeError(
        "delete() takes no key: it drops the whole server-side record. To remove one key use remove(key).",
      )
    }
    if (!this.#mayWrite()) return
    this.#it.signIn = this.#it.expiry = undefined
    this.#it.deletion = {}
    this.#it.server.changes.dropAll()
  }

  get client(): StateView<AnyState> {
    return (this.#clientView ??= this.#createView(
      () => this.#it.client,
      (write) => {
        if (!this.#mayWrite()) return
        if (this.#it.inGrace && this.#it.signIn === undefined) return this.#refuseClientWrite(write)
        write(this.#it.client)
        if (this.#it.signIn !== undefined) write(blind(this.#it.signIn.clientAfter))
      },
      this.#it.core.config.client,
    ))
  }

  async transact<T>(change: (state: StateView<AnyState>) => T): Promise<T> {
    if (typeof change !== "function") throw new TypeError(`transact takes a function, got ${shown(change)}.`)
    this.#require("compareAndSet", "transact")
    this.#assertWritable()
    this.#it.read()
    const giveUpAt = performance.now() + this.#it.core.config.transactTimeout
    // Whoever waits in the lane still counts as at work, so that the end of the request waits as well.
    return this.#it.exclusively(() => {
      const run = (): Promise<T> => transact(this.#it, change, giveUpAt)
      const { lanes, config } = this.#it.core
      return this.#it.id === undefined ? run() : lanes.run(this.#it.id, run, config.storeTimeout)
    })
  }

  async consume(key: string): Promise<JsonValue | undefined> {
    this.#require("compareAndSet", "consume")
    this.#assertWritable()
    this.#it.read()
    if (this.#it.invalidated || (this.#it.identity === "new" && !this.#it.server.has(key))) return undefined
    try {
      return await this.transact((state) => state.take(key))
    } catch (error) {
      // A dead session has nothing to give, as for any other read.
      if (error instanceof SessionEndedError) return undefined
      throw error
    }
  }

  async save(): Promise<void> {
    this.#assertWritable()
    this.#it.touch()
    await this.#it.exclusively(async () => {
      await commit(this.#it, { final: false })
      this.#it.assertAlive()
    })
  }

  async userId(): Promise<string | null> {
    this.#it.read()
    if (this.#it.signIn !== undefined) return this.#it.signIn.userId
    await ensureLoaded(this.#it)
    return this.#it.deletion === undefined ? this.#it.boundUser : null
  }

  async signedInAt(): Promise<Date | null> {
    this.#it.read()
    if (this.#it.signIn !== undefined) return new Date(this.#it.now)
    await ensureLoaded(this.#it)
    if (this.#it.user !== undefined || this.#it.deletion !== undefined) return null
    const at = this.#it.facts?.signedInAt ?? null
    return at === null ? null : new Date(at)
  }

  async signedInFor(): Promise<number | null> {
    const at = await this.signedInAt()
    return at === null ? null : Math.max(0, this.#it.now - at.getTime())
  }

  async csrfToken(): Promise<string> {
    this.#it.read()
    // The token is the id's, so whatever changes the id comes first.
    if (this.#it.identity === "new" || this.#it.rotates || this.#it.isModified) {
      this.#assertWritable()
      await this.#it.exclusively(async () => {
        this.#it.wanted = true
        try {
          await commit(this.#it, { final: false })
        } finally {
          this.#it.wanted = false
        }
      })
    }
    // Where no session may be started, nobody can send it back with one: nothing verifies it.
    return this.#it.core.config.ring.token(this.#it.id ?? "")
  }

  verifyCsrfToken(token: string): boolean {
    this.#it.read()
    const { incoming, core } = this.#it
    return (
      typeof token === "string" && incoming !== undefined && core.config.ring.verifyToken(incoming.id, token)
    )
  }

  signIn(userId: UserId, options: SignInOptions<AnyState> = {}): void {
    const user = userKey(userId)
    const label = labelText(options.label)
    const keep = options.keep ?? true
    if (typeof keep !== "boolean" && !Array.isArray(keep)) {
      throw new TypeError(`signIn: keep is true, false or a list of keys, got ${shown(keep)}.`)
    }
    this.#assertWritable()
    this.#it.touch()
    if (this.#it.dead !== undefined) this.#it.startAfresh(new Changes(), new Changes())
    this.#it.invalidated = false
    this.#it.dead = undefined
    const earlier = this.#it.signIn
    const isSameUser = earlier?.userId === user
    const open = earlier?.resolved === false ? earlier : undefined
    const again = isSameUser ? open : undefined
    this.#it.signIn = {
      userId: user,
      label,
      // Whoever is bound now, what came before another user's sign-in is not this one's.
      keep: open === undefined ? keep : isSameUser && narrower(open.keep, keep),
      before: again?.before ?? this.#it.server.changes.copy(),
      after: isSameUser ? narrowed(earlier.after, keep) : new Changes(),
      clientBefore: again?.clientBefore ?? this.#it.client.changes.copy(),
      clientAfter: isSameUser ? narrowed(earlier.clientAfter, keep) : new Changes(),
      expiryBefore: isSameUser ? earlier.expiryBefore : this.#it.expiry,
      resolved: false,
    }
    const bound = again === undefined ? earlier?.userId : undefined
    resolveSignIn(this.#it, bound ?? this.#it.boundUser)
  }

  signOut(): void {
    // Who is out already loses nothing.
    if (!this.#mayWrite() || this.#it.dead !== undefined) return
    this.#it.signIn = undefined
    this.#it.clearAll()
    if (this.#it.identity === "new" && !this.#it.storing) return
    this.#it.signOut = {}
    // A copy of its own tells it from what a save under way has sent.
    this.#it.user = { userId: null, label: null, absoluteTtl: null }
  }

  async revokeOthers(): Promise<number> {
    this.#require("userIndex", "revokeOthers")
    await this.save()
    // Who was bound when the state was loaded may be signed out by now, and must not sign others out.
    await this.#it.exclusively(() => reload(this.#it))
    this.#it.assertAlive()
    this.#it.read()
    const userId = this.#it.boundUser
    if (userId === null || this.#it.id === undefined) return 0
    const { config } = this.#it.core
    const except = this.#it.id
    const count = await this.#it.gateway.deleteByUser(userId, {
      except,
      tombstone: { ttl: config.tombstoneTtl },
    })
    config.diagnostics.emit({ type: "revoked", count })
    this.#it.core.announce({ userId, except })
    return count
  }

  cycleId(options: { readonly grace?: Duration | undefined } = {}): void {
    const grace = options.grace === undefined ? 0 : parseDuration(options.grace)
    if (grace === undefined) {
      throw new TypeError(
        `cycleId: grace is a duration such as "30s" or milliseconds, got ${shown(options.grace)}.`,
      )
    }
    if (grace > 0) this.#require("atomicRotation", "cycleId with grace")
    if (!this.#mayWrite() || this.#it.inGrace || this.#it.identity === "new") return
    this.#it.cycle = { grace }
  }

  invalidate(): void {
    if (!this.#mayWrite()) return
    const id = this.#it.id
    if (this.#it.identity === "existing" && id !== undefined && this.#it.dead !== "ended") {
      const knowledge = this.#it.dead === "moved" ? "unknown" : this.#it.knowledge
      this.#it.doomed = { id, identity: this.#it.identity, knowledge }
    }
    this.#it.signIn = undefined
    this.#it.startAfresh(new Changes(), new Changes())
    this.#it.invalidated = true
  }

  setExpiry(expiry: Expiry | "browser-session" | null): void {
    const now = this.#it.now
    const resolved = resolveExpiry(expiry, this.#it.core.config.ttl, now)
    if (!this.#mayWrite()) return
    this.#it.expiry = { expiry: resolved, askedAt: now }
    const left = (this.#it.absoluteEnd || now + this.#it.core.config.absoluteTtl) - now
    if ((resolved.idleTtl ?? 0) > left || (resolved.fixedTtl ?? 0) > left) {
      this.#it.core.config.diagnostics.emit({ type: "expiry-capped", id: this.#it.id })
    }
  }

  async expiry(): Promise<ResolvedExpiry | null> {
    this.#it.read()
    await ensureLoaded(this.#it)
    const { ttl } = this.#it.core.config
    if (this.#it.expiry !== undefined)
      return describeExpiry(this.#it.expiry.expiry, ttl, this.#it.expiry.askedAt)
    return this.#it.facts === undefined
      ? null
      : describeExpiry(this.#it.facts.expiry, ttl, this.#it.facts.knownAt)
  }

  async expiresAt(): Promise<Date> {
    return new Date(this.#it.now + (await this.expiresIn()))
  }

  async expiresIn(): Promise<number> {
    this.#it.read()
    await ensureLoaded(this.#it)
    if (this.#it.dead !== undefined || this.#it.invalidated) return 0
    const now = this.#it.now
    const { ttl, absoluteTtl } = this.#it.core.config
    const absolute =
      this.#it.signIn === undefined && this.#it.absoluteEnd > 0 ? this.#it.absoluteEnd - now : absoluteTtl
    const pending = this.#it.pendingExpiry(now)
    const isStored = this.#it.deadline > 0 && this.#it.knowledge !== "missing"
    if (pending === undefined && this.#it.signIn === undefined && isStored) {
      return Math.max(0, this.#it.deadline - now)
    }
    const kept = this.#it.facts === undefined ? undefined : this.#it.expiryNow(this.#it.facts, now)
    return Math.max(0, remaining(pending ?? kept ?? { idleTtl: ttl, fixedTtl: null }, absolute))
  }

  finalize(outcome: Outcome = {}): Promise<Finalized> {
    return (this.#it.finalizing ??= this.isTouched ? finalizeSession(this.#it, outcome) : NOTHING_TO_FINALIZE)
  }

  get #view(): View {
    return (this.#serverView ??= this.#createView(
      () => this.#it.server,
      (write) => {
        if (!this.#mayWrite()) return
        write(this.#it.server)
        if (this.#it.signIn !== undefined) write(blind(this.#it.signIn.after))
      },
      this.#it.core.config.server,
    ))
  }

  #createView(readable: () => Overlay, write: ViewSource["write"], validator: Validator): View {
    const source: ViewSource = {
      readable: () => {
        this.#it.read()
        return readable()
      },
      write,
    }
    return new View(source, validator, this.#it.core.config.maxValueBytes)
  }

  #assertWritable(): void {
    if (this.#it.finalizing !== undefined) {
      throw new SessionFinalizedError(
        "The session is changed after its response has begun, so the change could not be saved.",
      )
    }
    const { readOnly } = this.#it
    if (readOnly !== undefined) {
      throw new SessionReadOnlyError(`This session can only be read: ${readOnly}.`)
    }
    if (this.#it.transacting) {
      throw new TypeError(
        "Inside transact use the state it hands to your function, and no other write of the session.",
      )
    }
  }

  /** Whether a write has any effect: after `invalidate` only `signIn` has. */
  #mayWrite(): boolean {
    this.#assertWritable()
    this.#it.touch()
    return !this.#it.invalidated
  }

  #refuseClientWrite(write: (overlay: Overlay) => void): void {
    const refused = new Changes()
    write(new Overlay(this.#it.client.base, refused))
    this.#it.reportRefused(refused)
  }

  #require(capability: keyof StoreCapabilities, call: string): void {
    const { capabilities, name } = this.#it.core.gateway
    if (capabilities[capability] !== false) return
    throw new CapabilityError(
      `The store ${name} cannot do what ${call} promises (capabilities.${capability}).`,
      {
        capability,
      },
    )
  }

  /** The view of server state, at once if it is known. */
  #loaded(): View | Promise<View> {
    this.#it.read()
    if (!mustLoad(this.#it)) return this.#view
    return ensureLoaded(this.#it).then(() => this.#view)
  }
}
