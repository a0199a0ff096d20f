import type {
  AnyState,
  Entry,
  Finalized,
  HeaderChange,
  Outcome,
  RequestFacts,
  Revocation,
  Session,
  SignInOptions,
  StateView,
  UserId,
} from "./api.ts"
import type { Config } from "./config.ts"
import {
  type CookieSettings,
  MAX_COOKIE_BYTES,
  serializeCookie,
  serializeRemoval,
  settingsFor,
} from "./cookie/attributes.ts"
import { openCookies } from "./cookie/incoming.ts"
import { sealedLength } from "./cookie/key-ring.ts"
import type { OpenedSeal } from "./cookie/seal.ts"
import {
  CapabilityError,
  CookieTooLargeError,
  DuplicateIdError,
  type Gone,
  RecordCorruptError,
  SessionEndedError,
  SessionFinalizedError,
  StoreError,
  UnknownIdError,
  ValueSerializationError,
  VersionConflictError,
} from "./errors.ts"
import {
  describeExpiry,
  type Duration,
  type Expiry,
  expiryOf,
  parseDuration,
  remaining,
  type ResolvedExpiry,
  resolveExpiry,
  shown,
} from "./expiry.ts"
import type { Gateway } from "./gateway.ts"
import { deriveId, mintTicket, type SessionId, type Ticket } from "./id.ts"
import { byteLength, joinObject, type JsonObject, type JsonValue, quote } from "./json.ts"
import type { Lanes } from "./lanes.ts"
import {
  afterServerError,
  cookieMayBeWithheld,
  decide,
  fateOf,
  type Identity,
  isDue,
  type Knowledge,
  type Plan,
  type ServerWish,
  type Situation,
} from "./plan.ts"
import { blind, Changes, layOver, Overlay } from "./state.ts"
import type {
  Change,
  CookieKind,
  NewRecord,
  RecordExpiry,
  SessionRecord,
  StoreCapabilities,
  UserChange,
  Written,
} from "./store.ts"
import { labelText, userKey } from "./user.ts"
import type { Validator } from "./schema.ts"
import { View, type ViewSource } from "./view.ts"

/** What the sessions of one `createSessions` share. */
export interface Core {
  readonly config: Config
  readonly gateway: Gateway
  /** Where transactions of this process queue, by session id. */
  readonly lanes: Lanes
  announce(revocation: Revocation): void
}

/** What is known of a record besides its state and its end. */
interface Facts {
  readonly userId: string | null
  readonly signedInAt: Date | null
  /** Undefined when someone else may have written since the state was read. */
  readonly version: number | undefined
  readonly expiry: RecordExpiry
  /** What the fixed end of `expiry` is counted from. */
  readonly knownAt: number
}

interface PendingSignIn {
  readonly userId: string
  readonly label: string | null
  readonly keep: Keep
  /** What was written since, in case nothing from before may stay. */
  readonly after: Changes
  readonly clientBefore: Changes
  readonly clientAfter: Changes
  /** The expiry that was pending at the call. */
  readonly expiryBefore: PendingExpiry | undefined
  /** Whether it is known who was bound before, so that what is kept is decided. */
  resolved: boolean
}

interface PendingExpiry {
  readonly expiry: RecordExpiry
  readonly askedAt: number
}

/** A session that this request has ended, and that the store has still to be told about. */
interface Doomed {
  readonly id: SessionId
  readonly identity: Identity
  readonly knowledge: Knowledge
}

/** What a store call was sent with, so that what is asked for while it runs is not taken for saved. */
interface Sent {
  readonly changes: Changes
  readonly pending: Changes
  readonly signIn: PendingSignIn | undefined
  readonly cycle: { readonly grace: number } | undefined
  readonly user: UserChange | undefined
  readonly expiry: PendingExpiry | undefined
  readonly signOut: object | undefined
  readonly deletion: object | undefined
  readonly generation: number
}

type Moved = Extract<Gone, { movedTo: string }>

/** How a commit differs between `finalize`, `save` and `transact`. */
interface CommitMode {
  /** Whether the response is about to be sent, so that lifetimes and cookies matter. */
  readonly final: boolean
  readonly ifVersion?: number | undefined
  /** In place of the pending changes of server state. */
  readonly changes?: Changes | undefined
}

const UNTOUCHED: Finalized = Object.freeze({ headers: Object.freeze([]) })
const NOTHING_TO_FINALIZE: Promise<Finalized> = Promise.resolve(UNTOUCHED)
const NOWHERE: Overlay = new Overlay({}, new Changes())
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
  inGrace: false,
  mayCreate: true,
} as const
const NO_FACTS: RequestFacts = Object.freeze({})
const MAX_ROUNDS = 16
const MAX_COLLISIONS = 3
const NOBODY = { userId: null, signedInAt: null } as const
const UNBIND: UserChange = Object.freeze({ userId: null, label: null, absoluteTtl: null })

/** One request's session. What it does is documented at the interface; what it decides is in `plan.ts`. */
export class RequestSession implements Session {
  readonly #core: Core
  readonly #cookieHeader: string | readonly string[] | null | undefined
  readonly #request: RequestFacts

  // The cookie that came in, opened when the session is first used.
  #cookie: CookieSettings | undefined
  #incoming: OpenedSeal | undefined
  #presented = 0

  // Who the session is, as far as is known.
  #identity: "new" | "existing" = "new"
  #knowledge: Knowledge = "absent"
  #id: SessionId | undefined
  #ticket: Ticket | undefined
  #hasRecord = false
  #facts: Facts | undefined
  #cookieKind: CookieKind | null = null
  #createdAt = 0
  #deadline = 0
  #absoluteEnd = 0
  #dead: "ended" | "moved" | undefined
  #inGrace = false
  #hops = 0

  // What this request wants.
  #server: Overlay
  #client: Overlay
  #user: UserChange | undefined
  #expiry: PendingExpiry | undefined
  #signIn: PendingSignIn | undefined
  #signOut: object | undefined
  #cycle: { readonly grace: number } | undefined
  #deletion: object | undefined
  #doomed: Doomed | undefined
  #invalidated = false
  /** How often this has become another session. */
  #generation = 0

  // What has happened in this request.
  #reads = false
  #saved = false
  #expirySaved = false
  #storing = false
  #failed = false
  #unannounced = false
  #removal = false
  #lost = false
  #transacting = false
  #busy: Promise<unknown> | undefined
  #finalizing: Promise<Finalized> | undefined
  #serverView: View | undefined
  #clientView: View | undefined

  constructor(
    core: Core,
    cookieHeader: string | readonly string[] | null | undefined,
    request: RequestFacts | undefined,
  ) {
    this.#core = core
    this.#cookieHeader = cookieHeader
    this.#request = request ?? NO_FACTS
    this.#server = this.#client = NOWHERE
  }

  // Facts

  get id(): SessionId | undefined {
    this.#read()
    return this.#id ?? this.#doomed?.id
  }

  get isNew(): boolean {
    this.#read()
    return this.#incoming === undefined || this.#isRenewed
  }

  get isModified(): boolean {
    if (this.#cookie === undefined) return false
    return (
      !this.#server.changes.isEmpty ||
      !this.#client.changes.isEmpty ||
      this.#signIn !== undefined ||
      this.#signOut !== undefined ||
      this.#cycle !== undefined ||
      this.#deletion !== undefined ||
      this.#expiry !== undefined ||
      this.#doomed !== undefined
    )
  }

  get isInvalidated(): boolean {
    this.#touch()
    return this.#invalidated || this.#dead !== undefined
  }

  get isTouched(): boolean {
    return this.#cookie !== undefined
  }

  // Server state

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

  async load(): Promise<StateView<AnyState>> {
    return this.#loaded()
  }

  delete(...nothing: unknown[]): void {
    if (nothing.length > 0) {
      throw new TypeError(
        "delete() takes no key: it drops the whole server-side record. To remove one key use remove(key).",
      )
    }
    if (!this.#mayWrite()) return
    this.#signIn = this.#expiry = undefined
    this.#deletion = {}
    this.#server.changes.dropAll()
  }

  get client(): StateView<AnyState> {
    return (this.#clientView ??= this.#createView(
      () => this.#client,
      (write) => {
        if (!this.#mayWrite()) return
        if (this.#inGrace && this.#signIn === undefined) return this.#refuseClientWrite(write)
        write(this.#client)
        if (this.#signIn !== undefined) write(blind(this.#signIn.clientAfter))
      },
      this.#core.config.client,
    ))
  }

  // Atomic operations

  async transact<T>(change: (state: StateView<AnyState>) => T): Promise<T> {
    if (typeof change !== "function") throw new TypeError(`transact takes a function, got ${shown(change)}.`)
    this.#require("compareAndSet", "transact")
    this.#assertWritable()
    this.#read()
    const run = (): Promise<T> => this.#exclusively(() => this.#transact(change))
    return this.#id === undefined ? run() : this.#core.lanes.run(this.#id, run)
  }

  async consume(key: string): Promise<JsonValue | undefined> {
    this.#require("compareAndSet", "consume")
    this.#assertWritable()
    this.#read()
    if (this.#invalidated || (this.#identity === "new" && !this.#server.has(key))) return undefined
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
    this.#touch()
    await this.#exclusively(async () => {
      await this.#commit({ final: false })
      this.#assertAlive()
    })
  }

  // Users

  async userId(): Promise<string | null> {
    this.#read()
    if (this.#signIn !== undefined) return this.#signIn.userId
    await this.#ensureLoaded()
    return this.#deletion === undefined ? this.#boundUser : null
  }

  async signedInAt(): Promise<Date | null> {
    this.#read()
    if (this.#signIn !== undefined) return new Date(this.#now)
    await this.#ensureLoaded()
    if (this.#user !== undefined || this.#deletion !== undefined) return null
    const at = this.#facts?.signedInAt ?? null
    return at === null ? null : new Date(at)
  }

  signIn(userId: UserId, options: SignInOptions<AnyState> = {}): void {
    const user = userKey(userId)
    const label = labelText(options.label)
    const keep = options.keep ?? true
    this.#assertWritable()
    this.#touch()
    if (this.#dead !== undefined) this.#startAfresh(new Changes(), new Changes())
    this.#invalidated = false
    this.#dead = undefined
    const earlier = this.#signIn
    const isSameUser = earlier?.userId === user
    const signIn: PendingSignIn = {
      userId: user,
      label,
      keep: isSameUser && !earlier.resolved ? narrower(earlier.keep, keep) : keep,
      after: isSameUser ? narrowed(earlier.after, keep) : new Changes(),
      clientBefore: isSameUser ? earlier.clientBefore : this.#client.changes.copy(),
      clientAfter: isSameUser ? narrowed(earlier.clientAfter, keep) : new Changes(),
      expiryBefore: isSameUser ? earlier.expiryBefore : this.#expiry,
      resolved: false,
    }
    this.#signIn = signIn
    if (this.#knowledge !== "unknown") {
      return this.#resolveSignIn(earlier?.userId ?? this.#boundUser, this.#client.changes.copy())
    }
    if (earlier !== undefined && !isSameUser) {
      // Whoever is bound now, what came before is another user's.
      this.#signIn = { ...signIn, keep: false }
      this.#server.changes.dropAll()
      this.#client.clear()
    } else if (keep !== true) {
      this.#client = layOver(this.#client.base, narrowed(this.#client.changes, keep))
    }
  }

  signOut(): void {
    // Who is out already loses nothing.
    if (!this.#mayWrite() || this.#dead !== undefined) return
    this.#signIn = undefined
    this.#clearAll()
    if (this.#identity === "new" && !this.#storing) return
    this.#signOut = {}
    // A copy of its own tells it from what a save under way has sent.
    this.#user = { ...UNBIND }
  }

  async revokeOthers(): Promise<number> {
    this.#require("userIndex", "revokeOthers")
    await this.save()
    const userId = await this.userId()
    this.#assertAlive()
    if (userId === null || this.#id === undefined) return 0
    const { gateway, config } = this.#core
    const except = this.#id
    const count = await gateway.deleteByUser(userId, { except, tombstone: { ttl: config.tombstoneTtl } })
    config.diagnostics.emit({ type: "revoked", count })
    this.#core.announce({ userId, except })
    return count
  }

  // Life and death

  cycleId(options: { readonly grace?: Duration | undefined } = {}): void {
    const grace = options.grace === undefined ? 0 : parseDuration(options.grace)
    if (grace === undefined) {
      throw new TypeError(
        `cycleId: grace is a duration such as "30s" or milliseconds, got ${shown(options.grace)}.`,
      )
    }
    if (grace > 0) this.#require("atomicRotation", "cycleId with grace")
    if (!this.#mayWrite() || this.#inGrace || this.#identity === "new") return
    this.#cycle = { grace }
  }

  invalidate(): void {
    if (!this.#mayWrite()) return
    const id = this.#id
    if (this.#identity === "existing" && id !== undefined && this.#dead !== "ended") {
      const knowledge = this.#dead === "moved" ? "unknown" : this.#knowledge
      this.#doomed = { id, identity: this.#identity, knowledge }
    }
    this.#signIn = undefined
    this.#startAfresh(new Changes(), new Changes())
    this.#invalidated = true
  }

  setExpiry(expiry: Expiry | "browser-session" | null): void {
    const now = this.#now
    const resolved = resolveExpiry(expiry, this.#core.config.ttl, now)
    if (!this.#mayWrite()) return
    this.#expiry = { expiry: resolved, askedAt: now }
    const left = (this.#absoluteEnd || now + this.#core.config.absoluteTtl) - now
    if ((resolved.idleTtl ?? 0) > left || (resolved.fixedTtl ?? 0) > left) {
      this.#core.config.diagnostics.emit({ type: "expiry-capped", id: this.#id })
    }
  }

  async expiry(): Promise<ResolvedExpiry | null> {
    this.#read()
    await this.#ensureLoaded()
    const { ttl } = this.#core.config
    if (this.#expiry !== undefined) return describeExpiry(this.#expiry.expiry, ttl, this.#expiry.askedAt)
    return this.#facts === undefined ? null : describeExpiry(this.#facts.expiry, ttl, this.#facts.knownAt)
  }

  async expiresAt(): Promise<Date> {
    return new Date(this.#now + (await this.expiresIn()))
  }

  async expiresIn(): Promise<number> {
    this.#read()
    await this.#ensureLoaded()
    if (this.#dead !== undefined || this.#invalidated) return 0
    const now = this.#now
    const { ttl, absoluteTtl } = this.#core.config
    const absolute =
      this.#signIn === undefined && this.#absoluteEnd > 0 ? this.#absoluteEnd - now : absoluteTtl
    const pending = this.#pendingExpiry(now)
    const isStored = this.#deadline > 0 && this.#knowledge !== "missing"
    if (pending === undefined && this.#signIn === undefined && isStored) {
      return Math.max(0, this.#deadline - now)
    }
    const kept = this.#facts === undefined ? undefined : this.#expiryNow(this.#facts, now)
    return Math.max(0, remaining(pending ?? kept ?? { idleTtl: ttl, fixedTtl: null }, absolute))
  }

  finalize(outcome: Outcome = {}): Promise<Finalized> {
    return (this.#finalizing ??= this.isTouched ? this.#finalize(outcome) : NOTHING_TO_FINALIZE)
  }

  // Reading and writing

  /** Opens the cookie, once. */
  #touch(): void {
    if (this.#cookie !== undefined) return
    if (this.#finalizing !== undefined) {
      throw new SessionFinalizedError("The session is used for the first time after its response has begun.")
    }
    const { config } = this.#core
    const cookie = settingsFor(config.cookie, this.#connection())
    this.#cookie = cookie
    this.#server = new Overlay({}, new Changes())
    this.#client = new Overlay({}, new Changes())
    const { opened, presented, ambiguous } = openCookies(config.ring, cookie, this.#cookieHeader, this.#now)
    this.#presented = presented
    if (ambiguous) config.diagnostics.emit({ type: "cookies-ambiguous", count: presented })
    else if (opened !== undefined) this.#adoptSeal(opened)
    else if (presented > 0) config.diagnostics.emit({ type: "cookie-rejected", count: presented })
  }

  #connection(): { secure: boolean | undefined; host: string | undefined } | undefined {
    if (this.#core.config.cookie.plainLocal === undefined) return undefined
    return { secure: this.#request.secure, host: this.#request.host ?? undefined }
  }

  #adoptSeal(seal: OpenedSeal): void {
    this.#incoming = seal
    this.#identity = "existing"
    this.#knowledge = seal.hasRecord ? "unknown" : "recordless"
    this.#id = seal.id
    this.#ticket = seal.ticket
    this.#hasRecord = seal.hasRecord
    this.#cookieKind = seal.kind
    this.#createdAt = seal.createdAt
    this.#deadline = seal.expiresAt
    this.#absoluteEnd = seal.absoluteExpiresAt
    if (seal.hasRecord) this.#server = new Overlay(undefined, new Changes())
    if (seal.client !== undefined) {
      this.#client = new Overlay(JSON.parse(seal.client) as JsonObject, new Changes())
    }
  }

  /** The response will depend on what the session says. */
  #read(): void {
    this.#touch()
    this.#reads = true
  }

  get #view(): View {
    return (this.#serverView ??= this.#createView(
      () => this.#server,
      (write) => {
        if (!this.#mayWrite()) return
        const signIn = this.#signIn
        if (signIn === undefined || signIn.resolved) write(this.#server)
        if (signIn !== undefined) write(blind(signIn.after))
      },
      this.#core.config.server,
    ))
  }

  #createView(readable: () => Overlay, write: ViewSource["write"], validator: Validator): View {
    const source: ViewSource = {
      readable: () => {
        this.#read()
        return readable()
      },
      write,
    }
    return new View(source, validator, this.#core.config.maxValueBytes)
  }

  #assertWritable(): void {
    if (this.#finalizing !== undefined) {
      throw new SessionFinalizedError(
        "The session is changed after its response has begun, so the change could not be saved.",
      )
    }
    if (this.#transacting) {
      throw new TypeError(
        "Inside transact use the state it hands to your function, and no other write of the session.",
      )
    }
  }

  /** Whether a write has any effect: after `invalidate` only `signIn` has. */
  #mayWrite(): boolean {
    this.#assertWritable()
    this.#touch()
    return !this.#invalidated
  }

  #refuseClientWrite(write: (overlay: Overlay) => void): void {
    const refused = new Changes()
    write(new Overlay(this.#client.base, refused))
    this.#reportRefused(refused)
  }

  #reportRefused(refused: Changes): void {
    for (const key of [...refused.set.keys(), ...refused.remove]) {
      this.#core.config.diagnostics.emit({ type: "client-write-refused", id: this.#id ?? "", key })
    }
  }

  #require(capability: keyof StoreCapabilities, call: string): void {
    const { capabilities, name } = this.#core.gateway
    if (capabilities[capability] !== false) return
    throw new CapabilityError(
      `The store ${name} cannot do what ${call} promises (capabilities.${capability}).`,
      {
        capability,
      },
    )
  }

  #assertAlive(): void {
    if (this.#dead === undefined) return
    throw new SessionEndedError("The session was ended, or its ticket replaced, by another request.", {
      id: this.#id,
    })
  }

  get #now(): number {
    return this.#core.config.clock()
  }

  get #isRenewed(): boolean {
    return this.#knowledge === "missing" && this.#core.config.missingServerState === "renew"
  }

  get #boundUser(): string | null {
    if (this.#user !== undefined) return this.#user.userId
    return this.#facts?.userId ?? null
  }

  // Loading

  /** The view of server state, at once if it is known. */
  #loaded(): View | Promise<View> {
    this.#read()
    if (this.#knowledge !== "unknown" || this.#dead !== undefined) return this.#view
    return this.#ensureLoaded().then(() => this.#view)
  }

  async #ensureLoaded(): Promise<void> {
    if (this.#knowledge !== "unknown" || this.#dead !== undefined) return
    if (this.#finalizing !== undefined) {
      throw new SessionFinalizedError("Server state is read for the first time after the response has begun.")
    }
    await this.#exclusively(() => this.#load())
  }

  async #load(): Promise<void> {
    while (this.#knowledge === "unknown" && this.#dead === undefined) {
      const found = await this.#find(this.#id as SessionId)
      if (found === "corrupt") return
      if (found !== undefined && "state" in found) this.#adoptRecord(found)
      else await this.#learn(found, this.#facts !== undefined)
    }
  }

  async #find(id: SessionId): Promise<SessionRecord | Gone | "corrupt" | undefined> {
    try {
      return await this.#core.gateway.load(id)
    } catch (error) {
      const signIn = this.#signIn
      if (!(error instanceof RecordCorruptError) || signIn === undefined) throw error
      // The credentials were right, and what cannot be read keeps nobody out.
      this.#doomed = { id, identity: "existing", knowledge: "unknown" }
      this.#startAfresh(signIn.after.copy(), signIn.clientAfter.copy())
      return "corrupt"
    }
  }

  #adoptRecord(record: SessionRecord): void {
    const now = this.#now
    this.#knowledge = "present"
    this.#facts = {
      userId: record.userId,
      signedInAt: record.signedInAt,
      version: record.version,
      expiry: expiryOf(record),
      knownAt: now,
    }
    this.#cookieKind = record.cookieKind
    this.#createdAt = record.createdAt.getTime()
    this.#deadline = now + record.expiresIn
    this.#absoluteEnd = now + record.absoluteExpiresIn
    this.#server = new Overlay(record.state, this.#server.changes)
    if (this.#signIn === undefined || this.#signIn.resolved) return
    this.#resolveSignIn(this.#signOut === undefined ? record.userId : null, this.#signIn.clientBefore.copy())
  }

  /** Decides what a sign-in keeps, now that it is known who was bound before. */
  #resolveSignIn(bound: string | null, clientBefore: Changes): void {
    const signIn = this.#signIn as PendingSignIn
    const isStranger = bound !== null && bound !== signIn.userId
    const keep = isStranger ? false : signIn.keep
    const before = narrowed(this.#server.changes, keep)
    before.append(signIn.after)
    this.#server = this.#onServer(before)
    const client = narrowed(clientBefore, keep)
    client.append(signIn.clientAfter)
    this.#client = layOver(this.#client.base, client)
    if (isStranger && this.#expiry === signIn.expiryBefore) {
      this.#expiry = { expiry: resolveExpiry(null, this.#core.config.ttl, this.#now), askedAt: this.#now }
    }
    signIn.resolved = true
  }

  /** Lays changes over what is known. A record may hold more by now, so there a clear is one even if it was seen empty. */
  #onServer(changes: Changes): Overlay {
    const { base } = this.#server
    return this.#knowledge === "present" ? new Overlay(base, changes) : layOver(base, changes)
  }

  #clearAll(): void {
    const changes = new Changes()
    changes.dropAll()
    this.#server = this.#onServer(changes)
    this.#client.clear()
  }

  // Learning that the session is not where it was

  /** @param seen whether the record was loaded in this request. */
  async #learn(gone: Gone | undefined, seen: boolean): Promise<void> {
    const fate = fateOf(gone, seen, this.#hops)
    if (fate === "follow") return this.#follow((gone as Moved).movedTo)
    if (fate === "missing") return this.#goMissing()
    if (this.#signIn !== undefined) {
      // The credentials were right, so the user gets in, with what was set since.
      return this.#startAfresh(this.#signIn.after.copy(), this.#signIn.clientAfter.copy())
    }
    if (this.#signOut === undefined) this.#lost ||= this.isModified
    else if (fate === "moved" && (await this.#endInStore(this.#id as SessionId))) this.#removal = true
    this.#dead = fate
    this.#knowledge = "absent"
    this.#facts = undefined
    this.#dropWishes()
    this.#server = new Overlay({}, new Changes())
    this.#client = new Overlay({}, new Changes())
  }

  #follow(id: SessionId): void {
    this.#id = id
    this.#hops += 1
    this.#inGrace = true
    this.#knowledge = "unknown"
    this.#facts = undefined
    this.#server = new Overlay(undefined, this.#server.changes)
    if (this.#signIn !== undefined) return
    this.#cycle = undefined
    if (this.#signOut !== undefined) return
    this.#reportRefused(this.#client.changes)
    this.#client = new Overlay(this.#client.base, new Changes())
  }

  #goMissing(): void {
    const { config } = this.#core
    config.diagnostics.emit({ type: "record-missing", id: this.#id as SessionId })
    if (config.missingServerState === "reject") {
      if (this.#signIn !== undefined) {
        return this.#startAfresh(this.#signIn.after.copy(), this.#signIn.clientAfter.copy())
      }
      this.#startAfresh(new Changes(), new Changes())
      this.#invalidated = this.#removal = true
      return
    }
    this.#knowledge = "missing"
    this.#server = layOver({}, this.#server.changes)
    if (config.missingServerState === "renew") {
      this.#client = layOver({}, this.#client.changes)
      this.#absoluteEnd = this.#createdAt = this.#deadline = 0
      this.#cookieKind = null
    }
    const signIn = this.#signIn
    if (signIn !== undefined && !signIn.resolved) this.#resolveSignIn(null, signIn.clientBefore.copy())
  }

  /** Makes this a new session, which has yet to be stored. */
  #startAfresh(server: Changes, client: Changes): void {
    this.#identity = "new"
    this.#knowledge = "absent"
    this.#id = undefined
    this.#ticket = undefined
    this.#hasRecord = false
    this.#facts = undefined
    this.#cookieKind = null
    this.#deadline = this.#absoluteEnd = this.#createdAt = 0
    this.#inGrace = false
    this.#generation += 1
    this.#server = layOver({}, server)
    this.#client = layOver({}, client)
    const signIn = this.#signIn
    const expiry = signIn === undefined || this.#expiry === signIn.expiryBefore ? undefined : this.#expiry
    this.#dropWishes()
    if (signIn === undefined) return
    signIn.resolved = true
    this.#signIn = signIn
    this.#expiry = expiry
  }

  #dropWishes(): void {
    this.#user = this.#expiry = this.#signIn = this.#cycle = this.#signOut = this.#deletion = undefined
  }

  // Saving

  /** Runs one task that waits for the store at a time, in the order of the calls. */
  #exclusively<T>(task: () => Promise<T>): Promise<T> {
    const running = this.#busy === undefined ? task() : this.#busy.then(task, task)
    this.#busy = running
    const leave = (): void => {
      if (this.#busy === running) this.#busy = undefined
    }
    running.then(leave, leave)
    return running
  }

  async #transact<T>(change: (state: StateView<AnyState>) => T): Promise<T> {
    const { config } = this.#core
    const giveUpAt = performance.now() + config.transactTimeout
    // A record loaded earlier in this request may be old: good enough to try with, not to trust without a commit.
    let fresh = this.#knowledge !== "present"
    for (let attempt = 0; ; attempt++) {
      await this.#load()
      this.#assertAlive()
      if (this.#invalidated) throw new SessionEndedError("The session was invalidated by this request.")
      const changes = this.#server.changes.copy()
      const version = this.#facts?.version
      // Without a version someone else has written since: what is known is not the newest.
      if (this.#knowledge !== "present" || version !== undefined) {
        const result = this.#runTransaction(change, changes)
        if (this.#serverWish(changes) !== "none" || this.#rotates) {
          if (await this.#commitTransaction(changes, version, attempt, giveUpAt)) return result
        } else if (fresh) {
          this.#server = new Overlay(this.#server.base, changes)
          return result
        }
      }
      if (this.#knowledge === "present") this.#knowledge = "unknown"
      fresh = true
    }
  }

  /** @returns whether it is done; if not, once more on the newest state. */
  async #commitTransaction(
    changes: Changes,
    ifVersion: number | undefined,
    attempt: number,
    giveUpAt: number,
  ): Promise<boolean> {
    try {
      const plan = await this.#commit({ final: false, changes, ifVersion })
      this.#assertAlive()
      // A session that may not be made stays as it is wanted, until the end of the request.
      if (plan?.store === "none") this.#server = new Overlay(this.#server.base, changes)
      return plan !== undefined
    } catch (error) {
      if (!(error instanceof VersionConflictError)) throw error
      const wait = Math.random() * Math.min(100, 2 ** attempt)
      if (performance.now() + wait > giveUpAt) {
        throw new VersionConflictError("The session was changed by others for as long as transactTimeout.", {
          id: this.#id as SessionId,
          cause: error,
        })
      }
      await new Promise((resolve) => setTimeout(resolve, wait))
      return false
    }
  }

  #runTransaction<T>(change: (state: StateView<AnyState>) => T, changes: Changes): T {
    const overlay = new Overlay(this.#server.base, changes)
    let open = true
    const source: ViewSource = {
      readable: () => overlay,
      write: (write) => {
        if (!open)
          throw new TypeError("The state that transact hands out is used after its function returned.")
        write(overlay)
      },
    }
    this.#transacting = true
    try {
      const result = change(new View(source, this.#core.config.server, this.#core.config.maxValueBytes))
      if (isThenable(result)) {
        void Promise.resolve(result).then(ignore, ignore)
        throw new TypeError("The function given to transact must be synchronous: it may run several times.")
      }
      return result
    } finally {
      open = false
      this.#transacting = false
    }
  }

  /** Decides and does, again after each surprise, until there is nothing left to do. */
  async #commit(mode: CommitMode): Promise<Plan | undefined> {
    await this.#prepare()
    let collisions = 0
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (this.#dead !== undefined || this.#invalidated) return undefined
      const plan = decide(this.#situation(mode), this.#core.config)
      try {
        await this.#carryOut(plan, mode)
        return plan
      } catch (error) {
        if (error instanceof DuplicateIdError && plan.mint && collisions++ < MAX_COLLISIONS) continue
        if (!(error instanceof UnknownIdError)) throw error
        await this.#learn(error.gone, this.#facts !== undefined)
        await this.#prepare()
        // What a transaction made of another state is of no use on this one.
        if (mode.changes !== undefined) return undefined
      }
    }
    throw new StoreError("The session kept moving while it was saved.", {
      operation: "update",
      store: this.#core.gateway.name,
    })
  }

  /** What has to be known, and done, before there is something to decide. */
  async #prepare(): Promise<void> {
    if (this.#signIn !== undefined && !this.#signIn.resolved) await this.#load()
    if (this.#doomed !== undefined) await this.#carryOutDoom(this.#doomed)
  }

  async #carryOutDoom(doomed: Doomed): Promise<void> {
    const plan = decide(
      { ...INVALIDATED, identity: doomed.identity, knowledge: doomed.knowledge },
      this.#core.config,
    )
    if (plan.store !== "delete" || (await this.#endInStore(doomed.id))) this.#removal = true
    if (this.#doomed === doomed) this.#doomed = undefined
  }

  /** @returns whether the browser may be told to forget its cookie: not if another request has ended or moved the session. */
  async #endInStore(id: SessionId): Promise<boolean> {
    const { config, gateway } = this.#core
    try {
      await gateway.delete(id, { tombstone: { ttl: config.tombstoneTtl } })
      config.diagnostics.emit({ type: "invalidated", id })
      this.#core.announce({ id })
      return true
    } catch (error) {
      if (error instanceof UnknownIdError) return error.gone === undefined
      throw error
    }
  }

  #situation(mode: CommitMode): Situation {
    const { final } = mode
    const incoming = this.#incoming
    const now = this.#now
    // A failed response extends nothing.
    const mayExtend = final && !this.#failed
    const sealDue = mayExtend && this.#isSealDue(now)
    return {
      identity: this.#identity === "new" ? "new" : this.#rotates ? "rotated" : "existing",
      knowledge: this.#knowledge,
      server: this.#serverWish(mode.changes ?? this.#server.changes),
      // Client state is stored by the cookie, so nothing but the end of the request can save it.
      clientChanged: final && !this.#client.changes.isEmpty,
      clientNonEmpty: this.#client.size > 0,
      invalidated: false,
      extensionDue: mayExtend && this.#isExtensionDue(now, sealDue),
      sealDue,
      resealDue:
        mayExtend && incoming !== undefined && !incoming.underNewestKey && incoming.ticket === this.#ticket,
      expiryChanged: this.#expiry !== undefined || (final && this.#expirySaved),
      unannounced: final && this.#unannounced,
      inGrace: this.#inGrace,
      mayCreate: !(final && this.#failed) && this.#mayCreate(),
    }
  }

  get #rotates(): boolean {
    return this.#signIn !== undefined || this.#signOut !== undefined || this.#cycle !== undefined
  }

  #serverWish(changes: Changes): ServerWish {
    if (this.#deletion !== undefined && changes.set.size === 0 && this.#signIn === undefined) return "delete"
    if (!changes.isEmpty || this.#signIn !== undefined) return "change"
    const hasRecord = this.#knowledge === "unknown" || this.#knowledge === "present"
    if (hasRecord && this.#user !== undefined) return "change"
    // An expiry alone is nothing to remember a new visitor for.
    const worthKeeping = this.#identity === "existing" || this.#client.size > 0
    return this.#expiry !== undefined && worthKeeping ? "change" : "none"
  }

  #isSealDue(now: number): boolean {
    const seal = this.#incoming
    if (seal === undefined || this.#inGrace || seal.ticket !== this.#ticket) return false
    const { threshold, ttl } = this.#core.config
    const left = seal.expiresAt - now
    const absolute = this.#absoluteEnd - now
    if (this.#facts !== undefined) {
      const expiry = this.#expiryNow(this.#facts, now)
      return isDue(left, remaining(expiry, absolute), expiry.idleTtl ?? 0, threshold)
    }
    const lifetime = this.#knowledge === "recordless" ? ttl : seal.expiresAt - seal.issuedAt
    return isDue(left, Math.min(lifetime, absolute), lifetime, threshold)
  }

  #isExtensionDue(now: number, sealDue: boolean): boolean {
    const { extendOnLoads, threshold } = this.#core.config
    if (this.#knowledge === "recordless") return extendOnLoads && sealDue
    // A record that is gone confirms nothing.
    if (this.#knowledge === "missing") return false
    // A change that was saved earlier in this request has extended the record, but not yet the seal.
    if (this.#facts === undefined || !extendOnLoads) return this.#saved && sealDue
    const expiry = this.#expiryNow(this.#facts, now)
    const renewed = remaining(expiry, this.#absoluteEnd - now)
    return sealDue || isDue(this.#deadline - now, renewed, expiry.idleTtl ?? 0, threshold)
  }

  /** A record's expiry as it stands now: the fixed end has come nearer. */
  #expiryNow(facts: Facts, now: number): RecordExpiry {
    const { expiry, knownAt } = facts
    return expiry.fixedTtl === null ? expiry : { ...expiry, fixedTtl: expiry.fixedTtl - (now - knownAt) }
  }

  #pendingExpiry(now: number): RecordExpiry | undefined {
    return pendingExpiry(this.#expiry, now)
  }

  #mayCreate(): boolean {
    if (this.#signIn !== undefined || this.#presented > 0 || !this.#core.config.denyCrossSiteCreation)
      return true
    if (this.#identity !== "new") return true
    const { secFetchSite, method } = this.#request
    return !cookieMayBeWithheld(this.#core.config.cookie.sameSite, secFetchSite, method)
  }

  async #carryOut(plan: Plan, mode: CommitMode): Promise<void> {
    if (plan.mint || (mode.final && !this.#client.changes.isEmpty)) this.#assertCookieFits()
    if (plan.store === "none" && !(plan.mint && mode.final)) {
      if (!mode.final) return
      if (this.#identity === "new") this.#reportDenied()
      else if (plan.cookie !== "none" && this.#knowledge !== "unknown" && this.#knowledge !== "present")
        this.#extendSeal()
      return
    }
    const ticket = plan.mint ? mintTicket() : undefined
    const generation = this.#generation
    const id = ticket === undefined ? (this.#id as SessionId) : deriveId(ticket)
    this.#storing = true
    try {
      await this.#store(plan, mode, id)
    } finally {
      this.#storing = false
    }
    this.#saved = true
    if (ticket === undefined) return
    if (generation !== this.#generation) {
      // It was invalidated while it was being made.
      this.#doomed = { id, identity: "existing", knowledge: "unknown" }
      return
    }
    this.#identity = "existing"
    this.#ticket = ticket
    this.#id = id
    this.#inGrace = false
    this.#unannounced = true
    this.#expirySaved = false
    // The new ticket and the client state are told together, or not at all.
    this.#client = new Overlay(this.#client.result(), new Changes())
  }

  /** Carries out the plan's store operation, and takes what it has saved off what is pending. */
  async #store(plan: Plan, mode: CommitMode, newId: SessionId): Promise<void> {
    const { gateway, config } = this.#core
    const now = this.#now
    const changes = (mode.changes ?? this.#server.changes).copy()
    const sent = this.#sentNow(changes)
    const id = this.#id as SessionId
    switch (plan.store) {
      case "create": {
        this.#assertStateFits(changes)
        const record = this.#newRecord(changes, now)
        await gateway.create(newId, record)
        config.diagnostics.emit({ type: "created", id: newId })
        if (sent.generation !== this.#generation) return
        this.#createdAt ||= now
        this.#absoluteEnd = now + record.absoluteTtl
        this.#stored(sent, now, {
          base: new Overlay({}, changes).result(),
          version: 1,
          expiresIn: remaining(record, record.absoluteTtl),
        })
        return
      }
      case "update": {
        this.#assertStateFits(changes)
        const written = await gateway.update(id, this.#change(changes, now), { ifVersion: mode.ifVersion })
        this.#merged(sent, now, written)
        return
      }
      case "updateTtl": {
        const written = await gateway.updateTtl(id)
        if (sent.generation === this.#generation) this.#deadline = now + written.expiresIn
        return
      }
      case "changeId": {
        this.#assertStateFits(changes)
        const privilegeChanged = this.#signIn !== undefined || this.#signOut !== undefined
        const grace = privilegeChanged ? 0 : (this.#cycle?.grace ?? 0)
        const written = await gateway.changeId(id, newId, {
          change: this.#change(changes, now),
          ifVersion: mode.ifVersion,
          tombstone: { ttl: Math.max(config.tombstoneTtl, grace), grace, privilegeChanged },
        })
        config.diagnostics.emit({ type: "rotated", id, movedTo: newId })
        if (sent.signIn !== undefined && sent.generation === this.#generation) {
          this.#absoluteEnd = now + config.absoluteTtl
        }
        this.#merged(sent, now, written)
        return
      }
      case "delete":
        await gateway.delete(id)
        if (sent.generation !== this.#generation) return
        this.#unannounced ||= !this.#inGrace
        this.#goRecordless(sent)
        return
      case "none":
        this.#goRecordless(sent)
    }
  }

  /** From now on there is no record, and the seal alone says when the session ends. */
  #goRecordless(sent: Sent): void {
    this.#knowledge = "recordless"
    this.#facts = undefined
    this.#hasRecord = false
    this.#createdAt ||= this.#now
    this.#absoluteEnd ||= this.#now + this.#core.config.absoluteTtl
    this.#extendSeal()
    this.#settle(sent, {})
  }

  #extendSeal(): void {
    this.#deadline = Math.min(this.#now + this.#core.config.ttl, this.#absoluteEnd)
  }

  #newRecord(changes: Changes, now: number): NewRecord {
    const { ttl, absoluteTtl } = this.#core.config
    const expiry = this.#pendingExpiry(now) ?? { idleTtl: ttl, fixedTtl: null, cookieKind: this.#cookieKind }
    const inherited =
      this.#signIn === undefined && this.#absoluteEnd > 0 ? this.#absoluteEnd - now : absoluteTtl
    return {
      ...expiry,
      state: changes.set,
      userId: this.#signIn?.userId ?? null,
      label: this.#signIn?.label ?? null,
      absoluteTtl: Math.max(1, inherited),
    }
  }

  #change(changes: Changes, now: number): Change {
    const { absoluteTtl } = this.#core.config
    const signIn = this.#signIn
    const user =
      signIn === undefined
        ? (this.#user ?? (this.#deletion === undefined ? undefined : UNBIND))
        : { ...signIn, absoluteTtl }
    return {
      clear: changes.clear,
      set: changes.set,
      remove: changes.remove,
      user: user && { userId: user.userId, label: user.label, absoluteTtl: user.absoluteTtl },
      expiry: this.#pendingExpiry(now),
    }
  }

  #sentNow(changes: Changes): Sent {
    return {
      changes,
      pending: this.#server.changes.copy(),
      signIn: this.#signIn,
      cycle: this.#cycle,
      user: this.#user,
      expiry: this.#expiry,
      signOut: this.#signOut,
      deletion: this.#deletion,
      generation: this.#generation,
    }
  }

  /** After a write into a record that others may have written as well. */
  #merged(sent: Sent, now: number, written: Written): void {
    if (sent.generation !== this.#generation) return
    if (sent.expiry !== undefined && !this.#unannounced) this.#expirySaved = true
    const known = this.#knowledge === "present" ? this.#facts : undefined
    if (known === undefined) {
      this.#deadline = now + written.expiresIn
      if (sent.expiry !== undefined) this.#cookieKind = sent.expiry.expiry.cookieKind
      this.#settle(sent, undefined)
      return
    }
    const isSole = known.version !== undefined && written.version === known.version + 1
    this.#stored(sent, now, {
      base: new Overlay(this.#server.base, sent.changes).result(),
      version: isSole ? written.version : undefined,
      expiresIn: written.expiresIn,
    })
  }

  /** After a write whose result is known. */
  #stored(
    sent: Sent,
    now: number,
    result: { base: JsonObject; version: number | undefined; expiresIn: number },
  ): void {
    const before = this.#facts
    const expiry = pendingExpiry(sent.expiry, now) ?? (before && this.#expiryNow(before, now))
    const isUnbound = sent.user !== undefined || sent.deletion !== undefined
    const { userId, signedInAt } = isUnbound || before === undefined ? NOBODY : before
    this.#facts = {
      userId: sent.signIn?.userId ?? userId,
      signedInAt: sent.signIn === undefined ? signedInAt : new Date(now),
      version: result.version,
      expiry: expiry ?? { idleTtl: this.#core.config.ttl, fixedTtl: null, cookieKind: this.#cookieKind },
      knownAt: now,
    }
    this.#cookieKind = this.#facts.expiry.cookieKind
    this.#deadline = now + result.expiresIn
    this.#knowledge = "present"
    this.#hasRecord = true
    this.#settle(sent, result.base)
  }

  /** Takes what has been saved off what is pending; what was asked for in the meantime stays. */
  #settle(sent: Sent, base: JsonObject | undefined): void {
    this.#server = new Overlay(base, this.#server.changes.since(sent.pending))
    if (this.#signIn === sent.signIn) this.#signIn = undefined
    if (this.#cycle === sent.cycle) this.#cycle = undefined
    if (this.#user === sent.user) this.#user = undefined
    if (this.#expiry === sent.expiry) this.#expiry = undefined
    if (this.#signOut === sent.signOut) this.#signOut = undefined
    if (this.#deletion === sent.deletion) this.#deletion = undefined
  }

  #assertCookieFits(): void {
    const client = this.#clientText()
    const size = (this.#cookie as CookieSettings).name.length + 1 + sealedLength(client)
    if (size <= MAX_COOKIE_BYTES) return
    const largestKey = largestOf(this.#client.texts())
    const hint =
      largestKey === undefined ? "" : ` The largest key of its client state is ${quote(largestKey)}.`
    throw new CookieTooLargeError(
      `The session cookie would be ${size} bytes; browsers keep at most ${MAX_COOKIE_BYTES}.${hint}`,
      { largestKey, size, limit: MAX_COOKIE_BYTES },
    )
  }

  #assertStateFits(changes: Changes): void {
    const { maxStateBytes, maxValueBytes } = this.#core.config
    const state = new Overlay(this.#server.base ?? {}, changes)
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

  #clientText(): string | undefined {
    return this.#client.size > 0 ? joinObject(this.#client.texts()) : undefined
  }

  #reportDenied(): void {
    if (this.#mayCreate() || (this.#serverWish(this.#server.changes) !== "change" && this.#client.size === 0))
      return
    this.#core.config.diagnostics.emit({ type: "creation-denied" })
  }

  // Telling the response

  #finalize(outcome: Outcome): Promise<Finalized> {
    return this.#exclusively(async () => {
      const { config } = this.#core
      const headersLost = outcome.headersLost === true
      const failed = ((outcome.status ?? 200) >= 500 || headersLost) && !config.saveOnServerError
      if (failed || headersLost) this.#dropPending(outcome, failed, headersLost)
      const plan = await this.#commit({ final: true })
      this.#reportLost()
      return this.#headers(this.#setCookie(plan))
    })
  }

  /** Drops what a failed response must not carry out. */
  #dropPending(outcome: Outcome, failed: boolean, headersLost: boolean): void {
    this.#failed = true
    const modified = this.isModified
    const kept = afterServerError(
      {
        server: this.#serverWish(this.#server.changes),
        client: !this.#client.changes.isEmpty,
        cycleId: this.#cycle !== undefined,
        signIn: this.#signIn !== undefined,
        signOut: this.#signOut !== undefined,
        invalidate: this.#doomed !== undefined,
      },
      headersLost,
    )
    const dropsAll = failed || this.#signIn !== undefined
    const dropsCycle = this.#cycle !== undefined && !kept.cycleId
    if (dropsCycle) this.#cycle = undefined
    if (dropsAll) {
      this.#signIn = this.#expiry = this.#deletion = undefined
      this.#server = new Overlay(this.#server.base, new Changes())
      this.#client = new Overlay(this.#client.base, new Changes())
      if (kept.signOut) this.#clearAll()
    }
    if (modified && (dropsAll || dropsCycle)) {
      this.#core.config.diagnostics.emit({ type: "dropped-on-error", status: outcome.status })
    }
  }

  /** Whatever was asked of a session that another request ended is gone, and somebody should know. */
  #reportLost(): void {
    const reason = this.#dead
    if (reason === undefined || !(this.#lost || this.isModified)) return
    const { config } = this.#core
    config.diagnostics.emit({ type: "write-discarded", id: this.#id ?? "", reason })
    if (config.throwOnLostWrite) this.#assertAlive()
  }

  #setCookie(plan: Plan | undefined): string | undefined {
    const cookie = this.#cookie as CookieSettings
    const outlives = this.#deadline > (this.#incoming?.expiresAt ?? 0) + 999
    if (plan?.cookie === "send" || (plan?.cookie === "refresh" && outlives)) {
      const value = this.#seal(cookie)
      this.#client = new Overlay(this.#client.result(), new Changes())
      return value
    }
    return this.#removal || plan?.cookie === "remove" ? serializeRemoval(cookie) : undefined
  }

  #seal(cookie: CookieSettings): string {
    const { config } = this.#core
    const now = this.#now
    const value = config.ring.seal(cookie.name, {
      ticket: this.#ticket as Ticket,
      hasRecord: this.#hasRecord,
      kind: this.#cookieKind,
      issuedAt: now,
      expiresAt: this.#deadline,
      createdAt: this.#createdAt,
      absoluteExpiresAt: this.#absoluteEnd,
      client: this.#clientText(),
    })
    const isPersistent = (this.#cookieKind ?? config.cookie.kind) === "persistent"
    return serializeCookie(cookie, value, isPersistent ? this.#deadline - now : null)
  }

  #headers(setCookie: string | undefined): Finalized {
    if (setCookie === undefined && !this.#reads) return UNTOUCHED
    const headers: HeaderChange[] = []
    if (this.#reads) headers.push({ name: "Vary", value: "Cookie", mode: "merge" })
    if (setCookie === undefined) {
      headers.push({ name: "Cache-Control", value: "private, no-cache", mode: "merge" })
      return { headers }
    }
    headers.push(
      { name: "Set-Cookie", value: setCookie, mode: "append" },
      { name: "Cache-Control", value: "no-store", mode: "set" },
      { name: "CDN-Cache-Control", value: "", mode: "set" },
      { name: "Surrogate-Control", value: "", mode: "set" },
    )
    return { headers, setCookie }
  }
}

function pendingExpiry(pending: PendingExpiry | undefined, now: number): RecordExpiry | undefined {
  if (pending === undefined) return undefined
  const { expiry, askedAt } = pending
  // A time that has passed ends the session at once.
  return expiry.fixedTtl === null
    ? expiry
    : { ...expiry, fixedTtl: Math.max(1, expiry.fixedTtl - (now - askedAt)) }
}

type Keep = boolean | readonly string[]

/** A copy of what was changed, without what is not kept, and with the rest dropped from what is there. */
function narrowed(changes: Changes, keep: Keep): Changes {
  const copy = changes.copy()
  if (keep !== true) copy.dropAll(keep === false ? undefined : keep)
  return copy
}

/** What both keep. */
function narrower(one: Keep, two: Keep): Keep {
  if (one === true) return two
  if (two === true || one === false) return one
  return two === false ? false : one.filter((key) => two.includes(key))
}

/** The key whose value takes most room. */
function largestOf(texts: readonly (readonly [key: string, text: string])[]): string | undefined {
  return texts.toSorted(([, a], [, b]) => byteLength(b) - byteLength(a))[0]?.[0]
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function"
}

function ignore(): void {}
