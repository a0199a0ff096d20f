import { expect } from "vitest"
import { KeyRing } from "../../../src/cookie/key-ring.ts"
import {
  createSessions,
  SessionError,
  type Session,
  type SessionEvent,
  type Sessions,
  type SessionStore,
} from "../../../src/index.ts"
import { fakeClock, type FakeClock } from "../../../src/testing/clock.ts"
import { spyStore, type SpyStore } from "../../../src/testing/spy-store.ts"
import type { ExpiryWish, Op, Program, ProgramStep } from "./program.ts"
import {
  type ReferenceCookie,
  ReferenceRequest,
  type ReferenceWorld,
  Refused,
  Unspecified,
} from "./reference-request.ts"
import { type Fault, type Lifetime, ReferenceStore, StoreDown, UnknownId } from "./reference-store.ts"

const KEY = "a key for the model tests: 32 bytes at least"
const COOKIE = "__Host-id"
const ring = KeyRing.create([KEY])

/** A cookie as both worlds see it. */
interface Ticket {
  readonly header: string
  readonly reference: ReferenceCookie
}

interface Request {
  readonly real: Session
  readonly reference: ReferenceRequest
  readonly browser: number
}

type Outcome = { readonly value: unknown } | { readonly error: string }

/** Runs a program on a store and on the model, step by step, and compares all that can be seen. */
export async function runProgram(
  program: Program,
  openStore: (clock: FakeClock) => SessionStore,
): Promise<void> {
  const worlds = new Worlds(program, openStore)
  try {
    for (const step of program.steps) await worlds.take(step)
    await worlds.close()
  } catch (error) {
    if (!(error instanceof Unspecified)) throw error
  }
}

class Worlds {
  readonly #clock: FakeClock = fakeClock()
  readonly #inner: SessionStore
  readonly #faulty: FaultyStore
  readonly #spy: SpyStore
  readonly #sessions: Sessions
  readonly #events: SessionEvent[] = []
  readonly #reports: string[] = []
  readonly #referenceStore: ReferenceStore
  readonly #reference: ReferenceWorld
  /** From the model's names to real ids. */
  readonly #ids = new Map<string, string>()
  readonly #open = new Map<number, Request>()
  readonly #jars = new Map<number, Ticket>()
  readonly #sent: Ticket[] = []
  /** Everything that a thief of the store or of the logs would see. */
  readonly #exposed: string[] = []
  readonly #headers: string[] = []
  readonly #saveOnServerError: boolean

  constructor(program: Program, openStore: (clock: FakeClock) => SessionStore) {
    this.#inner = openStore(this.#clock)
    this.#faulty = new FaultyStore(this.#inner)
    this.#spy = spyStore(this.#faulty.store)
    this.#saveOnServerError = program.rules.saveOnServerError
    const { threshold, ...options } = program.rules
    this.#sessions = createSessions({
      ...options,
      ttlExtensionThreshold: threshold,
      keys: [KEY],
      store: this.#spy,
      clock: this.#clock,
      onEvent: (event) => this.#events.push(event),
    })
    let minted = 0
    this.#referenceStore = new ReferenceStore(this.#clock)
    this.#reference = {
      rules: program.rules,
      store: this.#referenceStore,
      now: this.#clock,
      mint: () => `session ${++minted}`,
      report: (event) => this.#reports.push(event),
    }
  }

  async take(step: ProgramStep): Promise<void> {
    const fault = "fault" in step ? step.fault : undefined
    this.#referenceStore.begin(fault)
    this.#faulty.begin(fault)
    this.#spy.reset()
    this.#events.length = this.#reports.length = 0
    if ("on" in step) await this.#perform(step.on, step.cookie, step.op)
    else if ("finish" in step) await this.#finish(step)
    else if ("advance" in step) this.#clock.advance(step.advance)
    else if ("sweep" in step) {
      await this.#sessions.deleteExpired()
      this.#referenceStore.deleteExpired()
    } else await this.#revoke(step)
    this.#compareCalls()
    this.#compareEvents()
    await this.#compareStores()
    this.#exposed.push(JSON.stringify(this.#spy.log, expose), JSON.stringify(this.#events, expose))
  }

  async close(): Promise<void> {
    for (const slot of this.#open.keys()) {
      await this.take({ finish: slot, status: 200, headersLost: false, lost: false, fault: undefined })
    }
    this.#searchForTickets()
  }

  async #perform(slot: number, cookie: number, op: Op): Promise<void> {
    const request = this.#open.get(slot) ?? this.#arrive(slot, cookie)
    const now = this.#clock()
    const expected = outcomeOf(() => performReference(request.reference, op, now))
    const actual = await outcomeOfAsync(() => this.#watch(performReal(request.real, op, now)))
    if (op.op === "expiresIn" && "value" in expected) {
      expect(expected.value).toContain("value" in actual ? actual.value : actual)
      return
    }
    if (op.op === "facts" && "value" in expected) {
      // Which id a dead session has does not matter.
      const [id, dead] = expected.value as [string | undefined, boolean]
      const facts = ("value" in actual ? actual.value : [undefined, actual]) as [string | undefined, boolean]
      expect(facts[1]).toBe(dead)
      if (!dead) expect(facts[0]).toBe(id === undefined ? undefined : (this.#ids.get(id) ?? facts[0]))
      return
    }
    expect(actual).toEqual(expected)
  }

  #arrive(slot: number, cookie: number): Request {
    const browser = slot < 3 ? 0 : slot
    const isThief = slot === 4
    const ticket = isThief ? this.#sent[cookie % Math.max(1, this.#sent.length)] : this.#jars.get(browser)
    const request = {
      browser,
      real: this.#sessions.open(ticket?.header),
      reference: new ReferenceRequest(this.#reference, ticket?.reference),
    }
    this.#open.set(slot, request)
    return request
  }

  async #finish(step: Extract<ProgramStep, { finish: number }>): Promise<void> {
    const request = this.#open.get(step.finish)
    if (request === undefined) return
    this.#open.delete(step.finish)
    const headersLost = step.headersLost && step.status === 500 && !this.#saveOnServerError
    const expected = outcomeOf(() => request.reference.finalize(step.status, headersLost))
    const { status } = step
    const actual = await outcomeOfAsync(() => this.#watch(request.real.finalize({ status, headersLost })))
    if ("error" in expected || "error" in actual) {
      expect(actual).toEqual(expected)
      return
    }
    const response = expected.value as ReturnType<ReferenceRequest["finalize"]>
    const finalized = actual.value as Awaited<ReturnType<Session["finalize"]>>
    const names = finalized.headers.map(({ name }) => name)
    expect(names.includes("Vary")).toBe(response.varies)
    expect(names.includes("Cache-Control")).toBe(response.varies || response.cookie !== "none")
    const ticket = this.#compareCookie(finalized.setCookie, response.cookie)
    if (ticket !== undefined) this.#sent.push(ticket)
    if (step.lost || headersLost) return
    if (ticket !== undefined) this.#jars.set(request.browser, ticket)
    else if (response.cookie === "remove") this.#jars.delete(request.browser)
  }

  #compareCookie(
    setCookie: string | undefined,
    expected: "none" | "remove" | ReferenceCookie,
  ): Ticket | undefined {
    if (expected === "none") {
      expect(setCookie).toBeUndefined()
      return undefined
    }
    expect(setCookie).toBeDefined()
    const header = (setCookie as string).slice(0, (setCookie as string).indexOf(";"))
    if (expected === "remove") {
      expect(header).toBe(`${COOKIE}=`)
      expect(setCookie).toContain("Max-Age=0")
      return undefined
    }
    // A request that outlasted its own session: what it sends opens for nobody.
    if (expected.expiresAt <= this.#clock()) return { header, reference: expected }
    const seal = ring.open(COOKIE, header.slice(COOKIE.length + 1), this.#clock())
    expect(seal).toBeDefined()
    const { id, ticket, client, absoluteExpiresAt, underNewestKey, ...rest } = seal as NonNullable<
      typeof seal
    >
    this.#bind(expected.id, id)
    expect({
      ...rest,
      absoluteEnd: absoluteExpiresAt,
      id: this.#ids.get(expected.id),
      client: JSON.parse(client ?? "{}") as unknown,
    }).toEqual({ ...expected, id, client: Object.fromEntries(expected.client) })
    expect(underNewestKey).toBe(true)
    const isPersistent = expected.kind !== "browser-session"
    const seconds = Math.ceil((expected.expiresAt - this.#clock()) / 1000)
    if (isPersistent) expect(setCookie).toContain(`Max-Age=${seconds};`)
    else expect(setCookie).not.toContain("Max-Age")
    this.#headers.push(ticket, header.slice(COOKIE.length + 1))
    return { header, reference: expected }
  }

  async #revoke(
    step: Extract<ProgramStep, { revoke: number }> | Extract<ProgramStep, { revokeUser: string }>,
  ): Promise<void> {
    const names = [...this.#ids.keys()]
    const { tombstoneTtl } = this.#reference.rules
    if ("revoke" in step) {
      const name = names[step.revoke % Math.max(1, names.length)]
      if (name === undefined) return
      const expected = outcomeOf(() => {
        this.#referenceStore.delete(name, tombstoneTtl)
        return true
      })
      const actual = await this.#sessions.revoke(this.#ids.get(name) as string)
      expect(actual).toBe("value" in expected)
      return
    }
    const named = step.except === undefined ? undefined : names[step.except % Math.max(1, names.length)]
    // What an id that has moved on stands for as an exception is not said anywhere.
    const except = named !== undefined && this.#referenceStore.live(named) !== undefined ? named : undefined
    const expected = this.#referenceStore.deleteByUser(step.revokeUser, except, tombstoneTtl)
    const options = { except: except === undefined ? undefined : this.#ids.get(except) }
    expect(await this.#sessions.revokeByUser(step.revokeUser, options)).toBe(expected)
  }

  /** G2, G6: the calls are the ones the table names, on the ids it names, and what is created is new. */
  #compareCalls(): void {
    const expected = this.#referenceStore.trace
    expect(this.#spy.operations()).toEqual(expected.map(([operation]) => operation))
    for (const [index, { operation, ids }] of this.#spy.log.entries()) {
      const names = (expected[index] as string[]).slice(1)
      if (operation === "create") this.#bind(names[0] as string, ids[0] as string)
      if (operation === "changeId") this.#bind(names[1] as string, ids[1] as string)
      const isByUser = operation === "deleteByUser"
      expect(ids).toEqual(isByUser ? names : names.map((name) => this.#ids.get(name)))
    }
  }

  #bind(name: string, id: string): void {
    const known = this.#ids.get(name)
    if (known === undefined) {
      expect([...this.#ids.values()]).not.toContain(id)
      this.#ids.set(name, id)
    } else {
      expect(id).toBe(known)
    }
  }

  #compareEvents(): void {
    const reported = ["write-discarded", "dropped-on-error"]
    const actual = this.#events.map(({ type }) => type).filter((type) => reported.includes(type))
    expect(actual).toEqual(this.#reports)
  }

  /** What every id ever made leads to, without going through the session. */
  async #compareStores(): Promise<void> {
    const now = this.#clock()
    for (const [name, id] of this.#ids) {
      const expected = this.#referenceStore.at(name)
      const actual = await this.#inner.load(id)
      if (expected === undefined) {
        expect(actual).toBeUndefined()
      } else if ("until" in expected) {
        const moved = expected.ended
          ? { ended: true }
          : {
              movedTo: this.#ids.get(expected.movedTo),
              graceExpiresIn: Math.max(0, expected.graceUntil - now),
              privilegeChanged: expected.privilegeChanged,
            }
        expect(actual).toMatchObject(moved)
      } else {
        expect(actual).toEqual({
          state: Object.fromEntries(expected.state),
          version: expected.version,
          userId: expected.user,
          label: expected.label,
          createdAt: new Date(expected.createdAt),
          signedInAt: expected.signedInAt === null ? null : new Date(expected.signedInAt),
          lastSeenAt: new Date(expected.lastSeenAt),
          idleTtl: expected.idle,
          fixedExpiresIn: expected.fixedEnd === null ? null : expected.fixedEnd - now,
          cookieKind: expected.kind,
          expiresIn: expected.deadline - now,
          absoluteExpiresIn: expected.absoluteEnd - now,
        })
      }
    }
  }

  /** G7: no ticket and no cookie in what the store was given, in what it gave, in events or in errors. */
  #searchForTickets(): void {
    const text = this.#exposed.join("\n")
    for (const secret of this.#headers) {
      if (text.includes(secret))
        throw new Error("A ticket or a cookie is in the store, an event or an error.")
    }
  }

  /** Remembers what an error says. Only the library's own errors may reach a caller. */
  async #watch<T>(running: Promise<T>): Promise<T> {
    try {
      return await running
    } catch (error) {
      this.#exposed.push(JSON.stringify(error, expose))
      throw error
    }
  }
}

/** The store's calls fail where a step says so. */
class FaultyStore {
  readonly store: SessionStore
  #fault: Fault | undefined
  #calls = 0

  constructor(inner: SessionStore) {
    const guarded = async <T>(run: () => Promise<T>): Promise<T> => {
      const fault = this.#calls++ === this.#fault?.nth ? this.#fault : undefined
      if (fault?.applied === false) throw new Error("The store is down.")
      const value = await run()
      if (fault !== undefined) throw new Error("The store's answer was lost.")
      return value
    }
    this.store = {
      name: inner.name,
      capabilities: inner.capabilities,
      create: (...args) => guarded(() => inner.create(...args)),
      load: (...args) => guarded(() => inner.load(...args)),
      update: (...args) => guarded(() => inner.update(...args)),
      updateTtl: (...args) => guarded(() => inner.updateTtl(...args)),
      changeId: (...args) => guarded(() => inner.changeId(...args)),
      delete: (...args) => guarded(() => inner.delete(...args)),
      deleteExpired: (...args) => guarded(() => inner.deleteExpired(...args)),
      listByUser: (...args) => guarded(() => inner.listByUser(...args)),
      deleteByUser: (...args) => guarded(() => inner.deleteByUser(...args)),
    }
  }

  begin(fault: Fault | undefined): void {
    this.#fault = fault
    this.#calls = 0
  }
}

function outcomeOf(run: () => unknown): Outcome {
  try {
    return { value: run() }
  } catch (error) {
    if (error instanceof StoreDown) return { error: "StoreError" }
    if (error instanceof UnknownId) return { error: "UnknownIdError" }
    if (error instanceof Refused) return { error: error.error }
    throw error
  }
}

async function outcomeOfAsync(run: () => Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await run() }
  } catch (error) {
    if (error instanceof SessionError) return { error: error.name }
    throw error
  }
}

function performReference(request: ReferenceRequest, op: Op, now: number): unknown {
  switch (op.op) {
    case "get":
      return request.get(op.key)
    case "take":
      return request.take(op.key)
    case "consume":
      return request.consume(op.key)
    case "remove":
      return request.remove(op.key)
    case "set":
      return request.set(op.key, op.value)
    case "load":
      return Object.fromEntries(request.load())
    case "clear":
      return request.clear()
    case "delete":
      return request.delete()
    case "invalidate":
      return request.invalidate()
    case "save":
      return request.save()
    case "signOut":
      return request.signOut()
    case "revokeOthers":
      return request.revokeOthers()
    case "userId":
      return request.userId()
    case "expiresIn":
      return request.expiresIn()
    case "facts":
      return [request.id, request.isInvalidated]
    case "increment":
      return request.transact((state) => {
        const result = (state.get(op.key) ?? 0) + 1
        return { result, write: { key: op.key, value: result } }
      })
    case "peek":
      return request.transact((state) => ({ result: state.get(op.key) }))
    case "client.load":
      return Object.fromEntries(request.clientEntries())
    case "client.set":
      return request.clientSet(op.key, op.value)
    case "client.remove":
      return request.clientRemove(op.key)
    case "client.clear":
      return request.clientClear()
    case "cycleId":
      return request.cycleId(op.grace)
    case "signIn":
      return request.signIn(op.user, op.keep)
    case "setExpiry":
      return request.setExpiry(lifetimeOf(op.expiry, now))
  }
}

async function performReal(session: Session, op: Op, now: number): Promise<unknown> {
  switch (op.op) {
    case "get":
      return session.get(op.key)
    case "take":
      return session.take(op.key)
    case "consume":
      return session.consume(op.key)
    case "remove":
      return session.remove(op.key)
    case "set":
      return session.set(op.key, op.value)
    case "load":
      return Object.fromEntries((await session.load()).entries())
    case "clear":
      return session.clear()
    case "delete":
      return session.delete()
    case "invalidate":
      return session.invalidate()
    case "save":
      return session.save()
    case "signOut":
      return session.signOut()
    case "revokeOthers":
      return session.revokeOthers()
    case "userId":
      return session.userId()
    case "expiresIn":
      return session.expiresIn()
    case "facts":
      return [session.id, session.isInvalidated]
    case "increment":
      return session.transact((state) => {
        const next = ((state.get(op.key) as number | undefined) ?? 0) + 1
        state.set(op.key, next)
        return next
      })
    case "peek":
      return session.transact((state) => state.get(op.key))
    case "client.load":
      return Object.fromEntries(session.client.entries())
    case "client.set":
      return session.client.set(op.key, op.value)
    case "client.remove":
      return session.client.remove(op.key)
    case "client.clear":
      return session.client.clear()
    case "cycleId":
      return session.cycleId(op.grace === 0 ? {} : { grace: op.grace })
    case "signIn":
      return session.signIn(op.user, {
        keep: op.keep === true ? true : op.keep.length === 0 ? false : op.keep,
      })
    case "setExpiry":
      return session.setExpiry(realExpiry(op.expiry, now))
  }
}

type RealExpiry = Parameters<Session["setExpiry"]>[0]

function realExpiry(wish: ExpiryWish, now: number): RealExpiry {
  if (wish === null || wish === "browser-session") return wish
  return {
    ...("idle" in wish ? { idle: wish.idle } : undefined),
    ...("in" in wish ? { at: now + wish.in } : undefined),
  }
}

function lifetimeOf(wish: ExpiryWish, now: number): Lifetime {
  const ttl = 3_600_000
  if (wish === null || wish === "browser-session") return { idle: ttl, fixedEnd: null, kind: wish }
  return {
    idle: "idle" in wish ? wish.idle : null,
    fixedEnd: "in" in wish ? now + wish.in : null,
    kind: null,
  }
}

/** Shows what JSON leaves out. */
function expose(_key: string, value: unknown): unknown {
  if (value instanceof Map || value instanceof Set) return [...value]
  if (value instanceof Error) {
    return { ...value, message: value.message, stack: value.stack, cause: value.cause }
  }
  return value
}
