import {
  applySteps,
  Conflict,
  type Kind,
  type Lifetime,
  type ReferenceRecord,
  type ReferenceStore,
  type State,
  type Step,
  UnknownId,
  type Word,
} from "./reference-store.ts"

/**
 * One request's session, as the documentation describes it. It remembers the actions of the request as a list and replays
 * them whenever it is asked something, so nothing here depends on the order in which things become known. It knows neither
 * tickets nor seals: a cookie is a plain object that cannot be forged.
 */

export interface Rules {
  readonly ttl: number
  readonly absoluteTtl: number
  readonly tombstoneTtl: number
  readonly threshold: number
  readonly extendTtl: "on-loads-and-changes" | "on-changes"
  readonly serverStateCreation: "never-skip" | "skip-if-empty"
  readonly missingServerState: "renew" | "reject" | "allow"
  readonly saveOnServerError: boolean
  readonly onLostWrite: "discard" | "throw"
}

export interface ReferenceCookie {
  readonly id: string
  readonly hasRecord: boolean
  readonly kind: Kind
  readonly issuedAt: number
  readonly expiresAt: number
  readonly createdAt: number
  readonly absoluteEnd: number
  readonly client: State
}

export interface ReferenceResponse {
  readonly cookie: "none" | "remove" | ReferenceCookie
  readonly varies: boolean
}

/** What the model shares between requests. */
export interface ReferenceWorld {
  readonly rules: Rules
  readonly store: ReferenceStore
  now(): number
  /** A name nobody has had before. */
  mint(): string
  /** Words of what must be reported: `write-discarded`, `dropped-on-error`. */
  report(event: string): void
}

interface Write {
  readonly key: string
  readonly value: number | undefined
}

export type Keep = true | readonly string[]

type Action =
  /** `over`: the state it was written over; undefined if that was not known. */
  | {
      readonly do: "write"
      readonly key: string
      readonly value: number | undefined
      readonly over: State | undefined
    }
  | { readonly do: "clear"; readonly over: State | undefined }
  | {
      readonly do: "client write"
      readonly key: string
      readonly value: number | undefined
      readonly over: State | undefined
    }
  | { readonly do: "client clear"; readonly over: State | undefined }
  | { readonly do: "sign in"; readonly user: string; readonly keep: Keep }
  | { readonly do: "sign out" }
  | { readonly do: "delete" }
  | { readonly do: "cycle"; readonly grace: number }
  | { readonly do: "expire"; readonly lifetime: Lifetime }

/** What the actions come to. */
interface Wish {
  server: Step[]
  client: Step[]
  signIn: { readonly user: string } | undefined
  signOut: boolean
  deleted: boolean
  grace: number | undefined
  lifetime: Lifetime | undefined
  /** Who is bound after the actions; undefined if that is not known. */
  user: string | null | undefined
}

/** A call that the session refuses, by the name of its error. */
export class Refused extends Error {
  readonly error: string
  constructor(error: string) {
    super(error)
    this.error = error
  }
}

/** What the documentation does not settle, and nobody would do: the program ends here. */
export class Unspecified extends Error {}

type Cookie = "none" | "send" | "refresh"

const EMPTY: State = new Map()
const MAX_HOPS = 8

export class ReferenceRequest {
  readonly #world: ReferenceWorld
  readonly #incoming: ReferenceCookie | undefined
  #cookie: ReferenceCookie | undefined
  #touched = false
  #reads = false
  #finished = false

  // Who it is, and what is known of the record.
  #identity: "new" | "existing" = "new"
  #knows: "nothing" | "unknown" | "present" | "recordless" | "missing" = "nothing"
  #id: string | undefined
  /** Whose ticket it holds: not its own after a move, in the grace. */
  #ticket: string | undefined
  #hasRecord = false
  #base: State | undefined = EMPTY
  #lifetimeSaved = false
  #clientBase: State = EMPTY
  #bound: string | null | undefined = null
  #version: number | undefined
  #lifetime: Lifetime | undefined
  #kind: Kind = null
  #createdAt = 0
  #deadline = 0
  #absoluteEnd = 0
  #inGrace = false
  #hops = 0
  #dead: "ended" | "moved" | undefined
  #invalidated = false

  // What it wants.
  #actions: Action[] = []
  /** Client state that was changed before a save, which saves none of it. */
  #clientCarried: Step[] = []
  #doomed: { readonly id: string; readonly hasRecord: boolean } | undefined

  /** Whether it is known who was bound before the sign-in. */
  #knowsWhoseItWas = false

  // What it did.
  #saved = false
  #unannounced = false
  #removal = false
  #lost = false

  constructor(world: ReferenceWorld, cookie: ReferenceCookie | undefined) {
    this.#world = world
    this.#incoming = cookie
  }

  // Reads

  get id(): string | undefined {
    this.#read()
    return this.#id ?? this.#doomed?.id
  }

  get isInvalidated(): boolean {
    this.#touch()
    return this.#invalidated || this.#dead !== undefined
  }

  get(key: string): number | undefined {
    return this.entries().get(key)
  }

  entries(): Map<string, number> {
    this.#read()
    this.#load()
    return applySteps(this.#base as State, this.#wish().server)
  }

  clientEntries(): Map<string, number> {
    this.#read()
    return applySteps(this.#clientBase, this.#wish().client)
  }

  userId(): string | null {
    this.#read()
    const pending = this.#wish().signIn
    if (pending !== undefined) return pending.user
    this.#load()
    return this.#wish().user as string | null
  }

  /** Milliseconds, as allowed: with or without what this request's own end will add. */
  expiresIn(): number[] {
    this.#read()
    this.#load()
    if (this.#dead !== undefined || this.#invalidated) return [0]
    const { rules } = this.#world
    const now = this.#world.now()
    const wish = this.#wish()
    const absolute =
      wish.signIn === undefined && this.#absoluteEnd > 0 ? this.#absoluteEnd : now + rules.absoluteTtl
    const lifetime = this.#lifetimeOf(wish) ?? this.#lifetime ?? this.#defaults()
    const renewed = Math.max(0, endOf(lifetime, now, absolute) - now)
    if (wish.lifetime !== undefined || wish.signIn !== undefined) return [renewed]
    const isStored = this.#knows === "present" || this.#knows === "recordless"
    return isStored ? [renewed, Math.max(0, this.#deadline - now)] : [renewed]
  }

  load(): Map<string, number> {
    return this.entries()
  }

  // Writes

  set(key: string, value: number): void {
    this.#write({ do: "write", key, value, over: this.#known })
  }

  remove(key: string): void {
    this.#write({ do: "write", key, value: undefined, over: this.#known })
  }

  clear(): void {
    this.#write({ do: "clear", over: this.#known })
  }

  take(key: string): number | undefined {
    const value = this.get(key)
    this.remove(key)
    return value
  }

  delete(): void {
    this.#write({ do: "delete" })
  }

  clientSet(key: string, value: number): void {
    this.#clientWrite({ do: "client write", key, value, over: this.#knownClient })
  }

  clientRemove(key: string): void {
    this.#clientWrite({ do: "client write", key, value: undefined, over: this.#knownClient })
  }

  clientClear(): void {
    this.#clientWrite({ do: "client clear", over: this.#knownClient })
  }

  signIn(user: string, keep: Keep): void {
    this.#touch()
    if (this.#dead !== undefined || this.#invalidated) {
      this.#startAfresh([])
      this.#dead = undefined
      this.#invalidated = false
    }
    const pending = this.#wish().signIn
    if (pending !== undefined && pending.user !== user) throw new Unspecified("two users in one request")
    this.#knowsWhoseItWas = this.#knows !== "unknown"
    this.#actions.push({ do: "sign in", user, keep })
  }

  signOut(): void {
    this.#touch()
    if (this.#wish().signIn !== undefined)
      throw new Unspecified("a sign-in that is undone before it happened")
    // Who is out already loses nothing.
    if (this.#dead !== undefined) return
    this.#write({ do: "sign out" })
  }

  cycleId(grace: number): void {
    this.#touch()
    if (this.#inGrace || this.#identity === "new") return
    this.#write({ do: "cycle", grace })
  }

  setExpiry(lifetime: Lifetime): void {
    this.#write({ do: "expire", lifetime })
  }

  invalidate(): void {
    this.#touch()
    if (this.#invalidated) return
    if (this.#identity === "existing" && this.#dead !== "ended") {
      const hasRecord = this.#knows === "unknown" || this.#knows === "present" || this.#dead === "moved"
      this.#doomed = { id: this.#id as string, hasRecord }
    }
    this.#startAfresh([])
    this.#invalidated = true
  }

  // Atomic operations

  /** `run` is handed the newest state, pending changes included, and says what to write. */
  transact<T>(run: (state: State) => { result: T; write?: Write }): T {
    this.#read()
    const { store } = this.#world
    for (;;) {
      const isNewest = this.#knows !== "present"
      this.#load()
      this.#assertAlive()
      if (this.#invalidated) throw new Refused("SessionEndedError")
      const wish = this.#wish()
      const before = applySteps(this.#base as State, wish.server)
      const { result, write } = run(before)
      const steps =
        write === undefined ? wish.server : written(wish.server, write.key, write.value, this.#base)
      // A write tells by its version whether the state was the newest; a transaction that only reads has to load.
      const hasWork = isModification({ ...wish, server: steps, client: [] })
      if (this.#knows === "present" && !isNewest) {
        const actual = store.live(this.#id as string)
        // What was loaded earlier in this request serves if nobody has written since, and if that is certain: by the version of a
        // write, or by another load.
        if (this.#version === undefined || !hasWork || (actual && actual.version !== this.#version)) {
          if (this.#version !== undefined && hasWork) this.#expectConflict(steps)
          this.#knows = "unknown"
          this.#bound = undefined
          continue
        }
      }
      if (hasWork) {
        const outcome = this.#commit(false, false, { ...wish, server: steps })
        this.#assertAlive()
        if (outcome === "again") continue
      }
      // Nothing to store after all: it is pending now.
      if (write !== undefined && this.#actions.length > 0)
        this.#write({ do: "write", ...write, over: this.#base })
      return result
    }
  }

  consume(key: string): number | undefined {
    this.#read()
    if (this.#invalidated || (this.#identity === "new" && this.get(key) === undefined)) return undefined
    try {
      return this.transact((state) => ({ result: state.get(key), write: { key, value: undefined } }))
    } catch (error) {
      if (error instanceof Refused) return undefined
      throw error
    }
  }

  save(): void {
    this.#touch()
    this.#commit(false, false)
    this.#assertAlive()
  }

  revokeOthers(): number {
    this.save()
    // Once more, for it may be another's by now.
    if (this.#knows === "present") this.#knows = "unknown"
    this.#load()
    this.#assertAlive()
    const user = this.userId()
    if (user === null || this.#id === undefined) return 0
    return this.#world.store.deleteByUser(user, this.#id, this.#world.rules.tombstoneTtl)
  }

  /** Once per request. */
  finalize(status: number, headersLost: boolean): ReferenceResponse {
    this.#finished = true
    if (!this.#touched) return { cookie: "none", varies: false }
    const { rules } = this.#world
    const failed = status >= 500 && !rules.saveOnServerError
    if (failed) this.#dropPending(headersLost)
    const cookie = this.#commit(true, failed)
    if (this.#dead !== undefined && (this.#lost || this.#isModified)) {
      this.#world.report("write-discarded")
      if (rules.onLostWrite === "throw") throw new Refused("SessionEndedError")
    }
    return { cookie: this.#cookieFor(cookie), varies: this.#reads }
  }

  // Opening

  #touch(): void {
    if (this.#finished) throw new Refused("SessionFinalizedError")
    if (this.#touched) return
    this.#touched = true
    const now = this.#world.now()
    const cookie = this.#incoming
    if (cookie === undefined || cookie.expiresAt <= now || cookie.absoluteEnd <= now) return
    this.#cookie = cookie
    this.#identity = "existing"
    this.#knows = cookie.hasRecord ? "unknown" : "recordless"
    this.#base = cookie.hasRecord ? undefined : EMPTY
    this.#bound = cookie.hasRecord ? undefined : null
    this.#id = this.#ticket = cookie.id
    this.#hasRecord = cookie.hasRecord
    this.#clientBase = cookie.client
    this.#kind = cookie.kind
    this.#createdAt = cookie.createdAt
    this.#deadline = cookie.expiresAt
    this.#absoluteEnd = cookie.absoluteEnd
  }

  #read(): void {
    this.#touch()
    this.#reads = true
  }

  get #known(): State | undefined {
    this.#touch()
    return this.#base
  }

  get #knownClient(): State {
    this.#touch()
    return this.#clientBase
  }

  #write(action: Action): void {
    this.#touch()
    if (!this.#invalidated) this.#actions.push(action)
  }

  #clientWrite(action: Action): void {
    this.#touch()
    const refused = this.#inGrace && !this.#actions.some((pending) => pending.do === "sign in")
    if (!refused) this.#write(action)
  }

  #assertAlive(): void {
    if (this.#dead !== undefined) throw new Refused("SessionEndedError")
  }

  // What is wanted

  /** Replays the actions. With an unknown user, a sign-in is taken to keep what it may. */
  #wish(): Wish {
    const wish: Wish = {
      server: [],
      client: [...this.#clientCarried],
      signIn: undefined,
      signOut: false,
      deleted: false,
      grace: undefined,
      lifetime: undefined,
      user: this.#bound,
    }
    // Whose client state it is: `delete` leaves it, though it unbinds the user.
    let owner = this.#bound
    for (const action of this.#actions) {
      switch (action.do) {
        case "write":
          wish.server = written(wish.server, action.key, action.value, action.over)
          break
        case "clear":
          wish.server = cleared(action.over)
          break
        case "client write":
          wish.client = written(wish.client, action.key, action.value, action.over)
          break
        case "client clear":
          wish.client = cleared(action.over)
          break
        case "sign in": {
          const isStranger = owner !== undefined && owner !== null && owner !== action.user
          const keep = isStranger ? [] : action.keep
          wish.server = narrowed(wish.server, keep)
          wish.client = narrowed(wish.client, keep)
          if (isStranger) wish.lifetime = this.#defaults()
          wish.signIn = action
          wish.user = owner = action.user
          break
        }
        case "sign out":
          // Also what others write until then.
          wish.server = cleared(undefined)
          wish.client = [{ except: [], lasting: true }]
          wish.signIn = undefined
          wish.signOut = this.#identity === "existing"
          wish.user = owner = null
          break
        case "delete":
          wish.server = cleared(undefined)
          // A sign-in that comes to nothing leaves the client state whose it was.
          if (wish.signIn !== undefined) owner = wish.signOut ? null : this.#bound
          wish.signIn = undefined
          wish.lifetime = undefined
          wish.deleted = true
          wish.user = null
          break
        case "cycle":
          wish.grace = action.grace
          break
        case "expire":
          wish.lifetime = action.lifetime
          break
      }
    }
    if (this.#knows !== "unknown" && this.#knows !== "present") wish.server = wish.server.filter(puts)
    if (this.#clientBase.size === 0) wish.client = wish.client.filter(puts)
    return wish
  }

  get #isModified(): boolean {
    return isModification(this.#wish()) || this.#doomed !== undefined
  }

  /** On a server error only what takes rights away is carried out, and a new ticket that can be told. */
  #dropPending(headersLost: boolean): void {
    if (this.#isModified) this.#world.report("dropped-on-error")
    const kept = this.#actions.filter(
      (action) => action.do === "sign out" || (action.do === "cycle" && !headersLost),
    )
    this.#actions = kept
    // Whose client state it is has been decided for good by a sign-in or sign-out that was saved.
    const lasting = this.#clientCarried.filter((step) => "except" in step && step.lasting === true)
    this.#clientBase = applySteps(this.#clientBase, lasting)
    this.#clientCarried = []
  }

  #defaults(): Lifetime {
    return { idle: this.#world.rules.ttl, fixedEnd: null, kind: null }
  }

  // Loading, and learning that the session is not where it was

  #load(): void {
    while (this.#knows === "unknown" && this.#dead === undefined) {
      const found = this.#world.store.load(this.#id as string)
      if (found !== undefined && !("until" in found)) this.#adopt(found)
      else this.#learn(found)
    }
  }

  #adopt(record: ReferenceRecord): void {
    this.#knows = "present"
    this.#base = record.state
    this.#bound = record.user
    this.#knowsWhoseItWas = true
    this.#version = record.version
    this.#lifetime = { idle: record.idle, fixedEnd: record.fixedEnd, kind: record.kind }
    this.#kind = record.kind
    this.#createdAt = record.createdAt
    this.#deadline = record.deadline
    this.#absoluteEnd = record.absoluteEnd
  }

  #learn(word: Word | undefined): void {
    if (word === undefined) {
      // What was loaded in this request, or spoken of, has died under it.
      if (this.#lifetime !== undefined || this.#hops > 0) this.#die("ended")
      else this.#goMissing()
    } else if (word.ended) {
      this.#die("ended")
    } else if (this.#world.now() < word.graceUntil && !word.privilegeChanged && this.#hops < MAX_HOPS) {
      this.#follow(word.movedTo)
    } else {
      this.#die("moved")
    }
  }

  #die(how: "ended" | "moved"): void {
    const wish = this.#wish()
    if (wish.signIn !== undefined) {
      // The credentials were right, so the user gets in, with what was set since.
      this.#startAfresh(this.#sinceSignIn())
      return
    }
    if (!wish.signOut) this.#lost ||= this.#isModified
    else if (how === "moved") this.#removal = this.#endInStore(this.#id as string)
    this.#dead = how
    this.#knows = "nothing"
    this.#base = EMPTY
    this.#clientBase = EMPTY
    this.#bound = null
    this.#actions = []
    this.#clientCarried = []
  }

  /** The first sign-in and what came after, to be done on another session. */
  #sinceSignIn(): Action[] {
    const undone = this.#actions.findLastIndex((action) => action.do === "sign out" || action.do === "delete")
    const since = this.#actions.slice(undone + 1)
    return since
      .slice(since.findIndex((action) => action.do === "sign in"))
      .map((action) => ("over" in action ? { ...action, over: undefined } : action))
  }

  #follow(id: string): void {
    this.#id = id
    this.#hops += 1
    this.#inGrace = true
    this.#knows = "unknown"
    this.#base = undefined
    if (!this.#knowsWhoseItWas) this.#bound = undefined
    this.#lifetime = undefined
    const { signIn, signOut } = this.#wish()
    if (signIn !== undefined) return
    const refused = signOut ? ["cycle"] : ["cycle", "client write", "client clear"]
    this.#actions = this.#actions.filter((action) => !refused.includes(action.do))
    if (!signOut) this.#clientCarried = []
  }

  #goMissing(): void {
    const { missingServerState } = this.#world.rules
    if (missingServerState === "reject") {
      if (this.#wish().signIn !== undefined) {
        this.#startAfresh(this.#sinceSignIn())
        return
      }
      this.#startAfresh([])
      this.#invalidated = true
      this.#removal = true
      return
    }
    this.#knows = "missing"
    this.#base = EMPTY
    this.#bound = null
    if (missingServerState === "allow") return
    this.#clientBase = EMPTY
    // What was set after a sign-in is kept, also where it said what was there already.
    const signIn = this.#actions.findLastIndex((action) => action.do === "sign in")
    this.#actions = this.#actions.map((action, index) =>
      "over" in action && signIn >= 0 && index > signIn ? { ...action, over: undefined } : action,
    )
    this.#absoluteEnd = 0
    this.#createdAt = 0
    this.#kind = null
  }

  #startAfresh(actions: Action[]): void {
    this.#identity = "new"
    this.#knows = "nothing"
    this.#id = undefined
    this.#hasRecord = false
    this.#base = EMPTY
    this.#clientBase = EMPTY
    this.#bound = null
    this.#version = undefined
    this.#lifetime = undefined
    this.#kind = null
    this.#createdAt = this.#deadline = this.#absoluteEnd = 0
    this.#inGrace = false
    this.#actions = actions
    this.#clientCarried = []
  }

  // Saving

  #commit(final: boolean, failed: boolean, instead?: Wish): Cookie | "again" {
    this.#settleSignIn()
    this.#carryOutDoom()
    for (;;) {
      if (this.#dead !== undefined || this.#invalidated) return "none"
      try {
        return this.#decideAndDo(final, failed, instead ?? this.#wish(), instead !== undefined)
      } catch (error) {
        if (!(error instanceof UnknownId)) throw error
        this.#learn(error.word)
        this.#settleSignIn()
        this.#carryOutDoom()
        // Another session, another state to run on.
        if (instead !== undefined) return "again"
      }
    }
  }

  #settleSignIn(): void {
    if (this.#wish().signIn !== undefined && !this.#knowsWhoseItWas) this.#load()
  }

  #carryOutDoom(): void {
    const doomed = this.#doomed
    if (doomed === undefined) return
    this.#removal = !doomed.hasRecord || this.#endInStore(doomed.id)
    this.#doomed = undefined
  }

  /** Whether the browser may be told to forget its cookie: not if another request has spoken. */
  #endInStore(id: string): boolean {
    try {
      this.#world.store.delete(id, this.#world.rules.tombstoneTtl)
      return true
    } catch (error) {
      if (error instanceof UnknownId) return error.word === undefined
      throw error
    }
  }

  /** The table of the documentation, row by row. */
  #decideAndDo(final: boolean, failed: boolean, wish: Wish, isTransaction: boolean): Cookie {
    const { rules } = this.#world
    const { serverStateCreation, missingServerState } = rules
    const hasClient = applySteps(this.#clientBase, wish.client).size > 0
    const clientChanged = final && wish.client.length > 0
    const setsAny = wish.server.some(puts)
    const dropsRecord = wish.deleted && !setsAny && wish.signIn === undefined
    const rotates =
      this.#identity === "existing" && (wish.signIn !== undefined || wish.signOut || wish.grace !== undefined)
    const neverSkip = serverStateCreation === "never-skip"

    if (this.#identity === "new" || (this.#knows === "missing" && missingServerState === "renew")) {
      const keepsExpiry = wish.lifetime !== undefined && (hasClient || this.#identity === "existing")
      if (!dropsRecord && (setsAny || wish.signIn !== undefined || keepsExpiry)) return this.#create(wish)
      if (!dropsRecord && hasClient && neverSkip) return this.#create(wish)
      if (!final) return "none"
      if (!dropsRecord && hasClient && !failed) return this.#mintWithoutRecord(wish)
      return rotates ? this.#mintWithoutRecord(wish) : "none"
    }

    if (this.#knows === "recordless" || this.#knows === "missing") {
      const isChange = !dropsRecord && (setsAny || wish.signIn !== undefined || wish.lifetime !== undefined)
      if (isChange || (clientChanged && hasClient && neverSkip)) return this.#create(wish)
      if (rotates) return final ? this.#mintWithoutRecord(wish) : "none"
      if (clientChanged || (final && this.#unannounced)) return this.#keepWithoutRecord()
      // A record that is gone confirms nothing, so nothing is refreshed in its name.
      const mayRefresh = this.#knows === "recordless" && rules.extendTtl === "on-loads-and-changes"
      const due = final && !failed && mayRefresh && this.#isSealDue()
      return due ? this.#keepWithoutRecord("refresh") : "none"
    }

    if (dropsRecord) return this.#deleteRecord(wish, rotates)
    if (rotates) return this.#rotate(wish, isTransaction)
    const isChange = wish.server.length > 0 || wish.deleted || wish.lifetime !== undefined
    const speaks = final && !this.#inGrace
    // In its grace the old ticket says nothing of a session whose cookie another response has set; a ticket of this request's own
    // that never reached the browser is told all the same.
    // What save has stored of an expiry is told at the end, when another call has confirmed that the session still lives.
    const lifetimeChanged = wish.lifetime !== undefined || this.#lifetimeSaved
    const news = (speaks && (clientChanged || lifetimeChanged)) || (final && this.#unannounced)
    const sealDue = speaks && !failed && this.#isSealDue()
    const cookie = news ? "send" : sealDue ? "refresh" : "none"
    if (isChange) {
      this.#update(wish, isTransaction)
      return cookie
    }
    if (
      ((clientChanged || lifetimeChanged) && speaks) ||
      (final && !failed && this.#isExtensionDue(sealDue))
    ) {
      this.#deadline = this.#world.store.updateTtl(this.#id as string)
      return cookie
    }
    return final && this.#unannounced ? "send" : "none"
  }

  #create(wish: Wish): Cookie {
    const { rules, store } = this.#world
    const now = this.#world.now()
    const id = this.#world.mint()
    const inherits = wish.signIn === undefined && this.#absoluteEnd > 0
    const absoluteEnd = inherits ? Math.max(this.#absoluteEnd, now + 1) : now + rules.absoluteTtl
    const lifetime = this.#lifetimeOf(wish) ?? { ...this.#defaults(), kind: this.#kind }
    const steps = wish.server.filter(puts)
    const deadline = store.create(id, {
      steps,
      user: wish.signIn?.user ?? null,
      label: null,
      absoluteEnd,
      ...lifetime,
    })
    this.#createdAt ||= now
    this.#absoluteEnd = absoluteEnd
    this.#lifetime = lifetime
    this.#kind = lifetime.kind
    this.#deadline = deadline
    this.#version = 1
    this.#bound = wish.signIn?.user ?? null
    this.#base = applySteps(EMPTY, steps)
    this.#knows = "present"
    this.#hasRecord = true
    this.#becomes(id, wish)
    return "send"
  }

  #mintWithoutRecord(wish: Wish): Cookie {
    const { rules } = this.#world
    const now = this.#world.now()
    this.#absoluteEnd ||= now + rules.absoluteTtl
    this.#createdAt ||= now
    this.#deadline = Math.min(now + rules.ttl, this.#absoluteEnd)
    this.#knows = "recordless"
    this.#hasRecord = false
    this.#base = EMPTY
    this.#becomes(this.#world.mint(), wish)
    return "send"
  }

  /** A session without a record that keeps its ticket: it lives as long as its seal says. */
  #keepWithoutRecord(cookie: Cookie = "send"): Cookie {
    this.#deadline = Math.min(this.#world.now() + this.#world.rules.ttl, this.#absoluteEnd)
    return cookie
  }

  #deleteRecord(wish: Wish, rotates: boolean): Cookie {
    const { rules, store } = this.#world
    store.delete(this.#id as string, undefined)
    const isQuiet = this.#inGrace && !rotates
    this.#knows = "recordless"
    this.#base = EMPTY
    this.#bound = null
    this.#lifetime = undefined
    this.#hasRecord = false
    this.#deadline = Math.min(this.#world.now() + rules.ttl, this.#absoluteEnd)
    if (rotates) this.#becomes(this.#world.mint(), wish)
    else this.#settle(wish)
    this.#unannounced = !isQuiet
    return isQuiet ? "none" : "send"
  }

  #rotate(wish: Wish, isTransaction: boolean): Cookie {
    const { rules, store } = this.#world
    const id = this.#world.mint()
    const privilegeChanged = wish.signIn !== undefined || wish.signOut
    const grace = privilegeChanged ? 0 : (wish.grace as number)
    const record = store.changeId(
      this.#id as string,
      id,
      this.#changeOf(wish),
      { grace, privilegeChanged, ttl: Math.max(rules.tombstoneTtl, grace) },
      isTransaction ? this.#version : undefined,
    )
    if (wish.signIn !== undefined) this.#absoluteEnd = record.absoluteEnd
    this.#wrote(wish, record)
    this.#becomes(id, wish)
    return "send"
  }

  #update(wish: Wish, isTransaction: boolean): void {
    const version = isTransaction ? this.#version : undefined
    const record = this.#world.store.update(this.#id as string, this.#changeOf(wish), version)
    this.#wrote(wish, record)
    this.#settle(wish)
    if (wish.lifetime !== undefined) this.#lifetimeSaved ||= !this.#unannounced
  }

  /** A transaction on a state that others have changed since it was loaded: the store refuses it. */
  #expectConflict(steps: readonly Step[]): void {
    const wish = { ...this.#wish(), server: [...steps] }
    try {
      this.#decideAndDo(false, false, wish, true)
    } catch (error) {
      if (!(error instanceof Conflict)) throw error
      return
    }
    // `delete` asks for no version.
    throw new Unspecified("a transaction with a record to delete on a state that others have changed")
  }

  /** A time that has passed ends the session at once. */
  #lifetimeOf(wish: Wish): Lifetime | undefined {
    const { lifetime } = wish
    if (lifetime === undefined || lifetime.fixedEnd === null) return lifetime
    return { ...lifetime, fixedEnd: Math.max(lifetime.fixedEnd, this.#world.now() + 1) }
  }

  #changeOf(wish: Wish): Parameters<ReferenceStore["update"]>[1] {
    const absolute = this.#world.rules.absoluteTtl
    const unbinds = wish.signOut || wish.deleted
    return {
      steps: wish.server,
      user:
        wish.signIn === undefined
          ? unbinds
            ? null
            : undefined
          : { id: wish.signIn.user, label: null, absolute },
      lifetime: this.#lifetimeOf(wish),
    }
  }

  #wrote(wish: Wish, record: ReferenceRecord): void {
    this.#deadline = record.deadline
    if (wish.lifetime !== undefined) this.#kind = wish.lifetime.kind
    if (this.#knows !== "present") return
    // What others have made of the expiry meanwhile, no write tells.
    if (wish.lifetime !== undefined) this.#lifetime = this.#lifetimeOf(wish)
    this.#bound = wish.user
    this.#base = applySteps(this.#base as State, wish.server)
    const isSole = this.#version !== undefined && record.version === this.#version + 1
    this.#version = isSole ? record.version : undefined
  }

  #becomes(id: string, wish: Wish): void {
    this.#identity = "existing"
    this.#id = this.#ticket = id
    this.#inGrace = false
    this.#settle(wish)
    // The new ticket and the client state are told together, or not at all.
    this.#clientBase = applySteps(this.#clientBase, wish.client)
    this.#clientCarried = []
    this.#lifetimeSaved = false
    this.#unannounced = true
  }

  /** What was wanted has been saved, but for client state, which only the cookie keeps. */
  #settle(wish: Wish): void {
    this.#actions = []
    this.#clientCarried = wish.client
    this.#saved = true
  }

  // Lifetimes

  #isSealDue(): boolean {
    const { rules } = this.#world
    const seal = this.#cookie
    if (seal === undefined || this.#inGrace || seal.id !== this.#id) return false
    const now = this.#world.now()
    const left = seal.expiresAt - now
    const lifetime = this.#lifetime
    if (lifetime !== undefined) {
      const full = endOf(lifetime, now, this.#absoluteEnd) - now
      return left < full && left < rules.threshold * (lifetime.idle ?? 0)
    }
    // A request that did not load knows no more than its seal.
    const full = this.#knows === "recordless" ? rules.ttl : seal.expiresAt - seal.issuedAt
    return left < Math.min(full, this.#absoluteEnd - now) && left < rules.threshold * full
  }

  #isExtensionDue(sealDue: boolean): boolean {
    const { rules } = this.#world
    const lifetime = this.#lifetime
    // What was saved earlier in this request has yet to be told to the browser.
    if (lifetime === undefined || rules.extendTtl === "on-changes") return this.#saved && sealDue
    const now = this.#world.now()
    const left = this.#deadline - now
    const full = endOf(lifetime, now, this.#absoluteEnd) - now
    return sealDue || (left < full && left < rules.threshold * (lifetime.idle ?? 0))
  }

  // The cookie

  #cookieFor(decision: Cookie | "again"): ReferenceResponse["cookie"] {
    const outlives = this.#deadline > (this.#cookie?.expiresAt ?? 0)
    if (decision === "send" || (decision === "refresh" && outlives)) {
      return {
        id: this.#ticket as string,
        hasRecord: this.#hasRecord,
        kind: this.#kind,
        issuedAt: this.#world.now(),
        expiresAt: this.#deadline,
        createdAt: this.#createdAt,
        absoluteEnd: this.#absoluteEnd,
        client: applySteps(this.#clientBase, this.#clientPending),
      }
    }
    return this.#removal ? "remove" : "none"
  }

  get #clientPending(): Step[] {
    return this.#wish().client
  }
}

function puts(step: Step): boolean {
  return "key" in step && step.value !== undefined
}

/** Adds a write. Where the state is known, setting what is there already is no change. */
function written(steps: Step[], key: string, value: number | undefined, base: State | undefined): Step[] {
  const others = steps.filter((step) => !("key" in step) || step.key !== key)
  if (base !== undefined && applySteps(base, others).get(key) === value) return others
  return [...others, { key, value }]
}

function cleared(base: State | undefined): Step[] {
  return base?.size === 0 ? [] : [{ except: [] }]
}

function narrowed(steps: Step[], keep: Keep): Step[] {
  if (keep === true) return steps
  return [
    ...steps.filter((step) => "except" in step || keep.includes(step.key)),
    { except: keep, lasting: true },
  ]
}

function isModification({ server, client, signIn, signOut, deleted, grace, lifetime }: Wish): boolean {
  const asksForMore =
    signIn !== undefined || signOut || deleted || grace !== undefined || lifetime !== undefined
  return server.length > 0 || client.length > 0 || asksForMore
}

function endOf(lifetime: Lifetime, now: number, absoluteEnd: number): number {
  const idleEnd = lifetime.idle === null ? absoluteEnd : now + lifetime.idle
  return Math.min(idleEnd, lifetime.fixedEnd ?? absoluteEnd, absoluteEnd)
}
