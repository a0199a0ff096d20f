import type { Finalized, RequestFacts, Revocation } from "./api.ts"
import type { Config } from "./config.ts"
import { type CookieSettings, settingsFor } from "./cookie/attributes.ts"
import { openCookies } from "./cookie/incoming.ts"
import type { OpenedSeal } from "./cookie/seal.ts"
import { SessionEndedError, SessionFinalizedError } from "./errors.ts"
import type { Gateway } from "./gateway.ts"
import type { SessionId, Ticket } from "./id.ts"
import type { JsonObject } from "./json.ts"
import type { Lanes } from "./lanes.ts"
import { type Doomed, type Facts, type PendingExpiry, pendingExpiry, type PendingSignIn } from "./pending.ts"
import { cookieMayBeWithheld, type Knowledge, type ServerWish } from "./plan.ts"
import { Changes, layOver, Overlay } from "./state.ts"
import type { CookieKind, RecordExpiry, UserChange } from "./store.ts"

/** What the sessions of one `createSessions` share. */
export interface Core {
  readonly config: Config
  readonly gateway: Gateway
  /** Where transactions of this process queue, by session id. */
  readonly lanes: Lanes
  announce(revocation: Revocation): void
}

const UPGRADE =
  "a request for another protocol, such as WebSocket, has no response that carries a cookie for sure"
const NO_FACTS: RequestFacts = Object.freeze({})
const NOWHERE: Overlay = new Overlay({}, new Changes())

/**
 * Where one request stands: who its session is as far as is known, what the request wants of it, and what has happened. `loading.ts` finds out,
 * `saving.ts` carries out, `session.ts` is what users see. It holds the ticket, so only a private field may refer to it.
 */
export class Standing {
  readonly core: Core
  readonly cookieHeader: string | readonly string[] | null | undefined
  readonly request: RequestFacts

  // The cookie that came in, opened when the session is first used.
  cookie: CookieSettings | undefined
  incoming: OpenedSeal | undefined
  presented = 0

  // Who the session is, as far as is known.
  identity: "new" | "existing" = "new"
  knowledge: Knowledge = "absent"
  id: SessionId | undefined
  ticket: Ticket | undefined
  hasRecord = false
  facts: Facts | undefined
  /** Whether what is known of a record that is present came from the store's authority, and not from a cache or a replica. */
  isFresh = false
  cookieKind: CookieKind | null = null
  createdAt = 0
  deadline = 0
  absoluteEnd = 0
  dead: "ended" | "moved" | undefined
  inGrace = false
  hops = 0

  // What the request wants.
  server: Overlay
  client: Overlay
  user: UserChange | undefined
  expiry: PendingExpiry | undefined
  signIn: PendingSignIn | undefined
  signOut: object | undefined
  cycle: { readonly grace: number } | undefined
  deletion: object | undefined
  /** Whether a session is to be started even if there is nothing to remember in it. */
  wanted = false
  doomed: Doomed | undefined
  invalidated = false
  /** How often this has become another session. */
  generation = 0

  // What has happened in the request.
  reads = false
  /** Whether the store was asked to write: what is read from then on must not be older. */
  wrote = false
  saved = false
  expirySaved = false
  storing = false
  failed = false
  unannounced = false
  removal = false
  lost = false
  headersLost = false
  transacting = false
  busy: Promise<unknown> | undefined
  finalizing: Promise<Finalized> | undefined
  #gateway: Gateway | undefined

  constructor(
    core: Core,
    cookieHeader: string | readonly string[] | null | undefined,
    request: RequestFacts | undefined,
  ) {
    this.core = core
    this.cookieHeader = cookieHeader
    this.request = request ?? NO_FACTS
    this.server = this.client = NOWHERE
  }

  get isModified(): boolean {
    if (this.cookie === undefined) return false
    return (
      !this.server.changes.isEmpty ||
      !this.client.changes.isEmpty ||
      this.signIn !== undefined ||
      this.signOut !== undefined ||
      this.cycle !== undefined ||
      this.deletion !== undefined ||
      this.expiry !== undefined ||
      this.doomed !== undefined
    )
  }

  /** Opens the cookie, once. */
  touch(): void {
    if (this.cookie !== undefined) return
    if (this.finalizing !== undefined) {
      throw new SessionFinalizedError("The session is used for the first time after its response has begun.")
    }
    const { config } = this.core
    const cookie = settingsFor(config.cookie, this.connection())
    this.cookie = cookie
    this.server = new Overlay({}, new Changes())
    this.client = new Overlay({}, new Changes())
    const { opened, presented, ambiguous } = openCookies(config.ring, cookie, this.cookieHeader, this.now)
    this.presented = presented
    if (ambiguous) config.diagnostics.emit({ type: "cookies-ambiguous", count: presented })
    else if (opened !== undefined) this.adoptSeal(opened)
    else if (presented > 0) config.diagnostics.emit({ type: "cookie-rejected", count: presented })
  }

  connection(): { secure: boolean | undefined; host: string | undefined } | undefined {
    if (this.core.config.cookie.plainLocal === undefined) return undefined
    return { secure: this.request.secure, host: this.request.host ?? undefined }
  }

  adoptSeal(seal: OpenedSeal): void {
    this.incoming = seal
    this.identity = "existing"
    this.knowledge = seal.hasRecord ? "unknown" : "recordless"
    this.id = seal.id
    this.ticket = seal.ticket
    this.hasRecord = seal.hasRecord
    this.cookieKind = seal.kind
    this.createdAt = seal.createdAt
    this.deadline = seal.expiresAt
    this.absoluteEnd = seal.absoluteExpiresAt
    if (seal.hasRecord) this.server = new Overlay(undefined, new Changes())
    if (seal.client !== undefined) {
      this.client = new Overlay(JSON.parse(seal.client) as JsonObject, new Changes())
    }
  }

  /** The response will depend on what the session says. */
  read(): void {
    this.touch()
    this.reads = true
  }

  /** The store as this request sees it, from its first operation on. */
  get gateway(): Gateway {
    return (this.#gateway ??= this.core.gateway.follow(this.incoming?.bookmark))
  }

  /** What the cookie tells the next request to see. Without one it reads from the primary, which is never wrong. */
  get bookmark(): string | undefined {
    if (!this.core.gateway.follows) return undefined
    return this.#gateway === undefined ? this.incoming?.bookmark : this.#gateway.bookmark
  }

  /** Whether the store has to be asked before it is decided what a sign-in keeps. */
  get isUncertain(): boolean {
    return this.knowledge === "unknown" || (this.knowledge === "present" && !this.isFresh)
  }

  reportRefused(refused: Changes): void {
    for (const key of [...refused.set.keys(), ...refused.remove]) {
      this.core.config.diagnostics.emit({ type: "client-write-refused", id: this.id ?? "", key })
    }
  }

  assertAlive(): void {
    if (this.dead === undefined) return
    throw new SessionEndedError("The session was ended, or its ticket replaced, by another request.", {
      id: this.id,
    })
  }

  get now(): number {
    return this.core.config.clock()
  }

  /** Why nothing can be changed, if so. */
  get readOnly(): string | undefined {
    return this.request.readOnly ?? (this.request.isUpgrade === true ? UPGRADE : undefined)
  }

  get isRenewed(): boolean {
    return this.knowledge === "missing" && this.core.config.missingServerState === "renew"
  }

  get boundUser(): string | null {
    if (this.user !== undefined) return this.user.userId
    return this.facts?.userId ?? null
  }

  /** Lays changes over what is known. A record may hold more by now, so there a clear is one even if it was seen empty. */
  onServer(changes: Changes): Overlay {
    const { base } = this.server
    return this.knowledge === "present" ? new Overlay(base, changes) : layOver(base, changes)
  }

  clearAll(): void {
    const changes = new Changes()
    changes.dropAll()
    this.server = this.onServer(changes)
    this.client.clear()
  }

  /** Makes this a new session, which has yet to be stored. */
  startAfresh(server: Changes, client: Changes): void {
    this.identity = "new"
    this.knowledge = "absent"
    this.id = undefined
    this.ticket = undefined
    this.hasRecord = false
    this.facts = undefined
    this.cookieKind = null
    this.deadline = this.absoluteEnd = this.createdAt = 0
    this.inGrace = false
    this.generation += 1
    this.server = layOver({}, server)
    this.client = layOver({}, client)
    const signIn = this.signIn
    const expiry = signIn === undefined || this.expiry === signIn.expiryBefore ? undefined : this.expiry
    this.dropWishes()
    if (signIn === undefined) return
    signIn.resolved = true
    this.signIn = signIn
    this.expiry = expiry
  }

  dropWishes(): void {
    this.user = this.expiry = this.signIn = this.cycle = this.signOut = this.deletion = undefined
  }

  /** Runs one task that waits for the store at a time, in the order of the calls. */
  exclusively<T>(task: () => Promise<T>): Promise<T> {
    const running = this.busy === undefined ? task() : this.busy.then(task, task)
    this.busy = running
    const leave = (): void => {
      if (this.busy === running) this.busy = undefined
    }
    running.then(leave, leave)
    return running
  }

  get rotates(): boolean {
    return this.signIn !== undefined || this.signOut !== undefined || this.cycle !== undefined
  }

  serverWish(changes: Changes): ServerWish {
    if (this.deletion !== undefined && changes.set.size === 0 && this.signIn === undefined) return "delete"
    if (!changes.isEmpty || this.signIn !== undefined) return "change"
    if (this.wanted && this.identity === "new") return "change"
    const hasRecord = this.knowledge === "unknown" || this.knowledge === "present"
    if (hasRecord && this.user !== undefined) return "change"
    // An expiry alone is nothing to remember a new visitor for.
    const worthKeeping = this.identity === "existing" || this.client.size > 0
    return this.expiry !== undefined && worthKeeping ? "change" : "none"
  }

  /** A record's expiry as it stands now: the fixed end has come nearer. */
  expiryNow(facts: Facts, now: number): RecordExpiry {
    const { expiry, knownAt } = facts
    return expiry.fixedTtl === null ? expiry : { ...expiry, fixedTtl: expiry.fixedTtl - (now - knownAt) }
  }

  pendingExpiry(now: number): RecordExpiry | undefined {
    return pendingExpiry(this.expiry, now)
  }

  mayCreate(): boolean {
    if (this.signIn !== undefined || this.presented > 0 || !this.core.config.denyCrossSiteCreation)
      return true
    if (this.identity !== "new") return true
    const { secFetchSite, method } = this.request
    return !cookieMayBeWithheld(this.core.config.cookie.sameSite, secFetchSite, method)
  }
}
