import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  createSessions,
  type Session,
  SessionError,
  type Sessions,
  type SessionStore,
} from "../../src/index.ts"
import { memoryStore } from "../../src/stores/memory.ts"
import { sqliteStore } from "../../src/stores/sqlite.ts"
import { fakeClock } from "../../src/testing/clock.ts"
import { type SpyStore, spyStore } from "../../src/testing/spy-store.ts"
import { cookieAfter } from "../../src/visitor.test-helper.ts"

/*
 * Here store calls of several requests interleave at random: each call may reach the store late, and its answer may come late. There is no
 * model of one right outcome, for there are many; but whatever the order, the promises hold.
 */

const KEY = "a key for the race tests: 32 bytes or more"
const RUNS = Number(process.env["COATCHECK_RUNS"] ?? 600)

type Script =
  | { readonly kind: "set"; readonly reads: boolean; readonly saves: boolean }
  | { readonly kind: "increment"; readonly times: number }
  | { readonly kind: "hasty" }
  | { readonly kind: "touch" }
  | { readonly kind: "consume" }
  | { readonly kind: "cycle"; readonly grace: number; readonly sets: boolean }
  | { readonly kind: "invalidate" }
  | { readonly kind: "revoke" }
  | { readonly kind: "revokeUser" }

const writers: fc.Arbitrary<Script>[] = [
  fc.record({ kind: fc.constant("set" as const), reads: fc.boolean(), saves: fc.boolean() }),
  fc.record({ kind: fc.constant("increment" as const), times: fc.integer({ min: 1, max: 2 }) }),
  fc.constant({ kind: "hasty" } as const),
  fc.constant({ kind: "touch" } as const),
  fc.constant({ kind: "consume" } as const),
]
const rotation: fc.Arbitrary<Script> = fc.record({
  kind: fc.constant("cycle" as const),
  grace: fc.constantFrom(0, 0, 30_000),
  sets: fc.boolean(),
})
const end: fc.Arbitrary<Script> = fc.constantFrom<Script>(
  { kind: "invalidate" },
  { kind: "revoke" },
  { kind: "revokeUser" },
)

/** What became of a request. */
interface Told {
  readonly script: Script
  /** Undefined if it was refused with a `SessionError`. */
  readonly value: unknown
  readonly error: string | undefined
  readonly cookie: string | undefined
}

class Race {
  readonly clock = fakeClock()
  readonly spy: SpyStore
  readonly inner: SessionStore
  readonly cookies: string[] = []
  /** Two app servers on one store. */
  readonly #managers: readonly Sessions[]
  #delay: (label: string) => Promise<unknown> = () => Promise.resolve()

  constructor(open: (clock: () => number) => SessionStore) {
    this.inner = open(this.clock)
    this.spy = spyStore(delayed(this.inner, (label) => this.#delay(label)))
    // Lost writes are told by an error, so that it is known which request was promised what.
    this.#managers = [0, 1].map(() =>
      createSessions({ keys: [KEY], store: this.spy, clock: this.clock, onLostWrite: "throw" }),
    )
  }

  /** A signed-in session that holds a secret, a voucher and a counter. */
  async start(): Promise<string> {
    const { cookie } = await this.#visit(this.#server(0), undefined, async (session) => {
      session.signIn("ann")
      session.set("secret", 1)
      session.set("voucher", 1)
      session.set("n", 0)
    })
    return cookie as string
  }

  /** Runs all scripts at once with the same cookie, in the order the scheduler picks. */
  async run(scheduler: fc.Scheduler, cookie: string, scripts: readonly Script[]): Promise<Told[]> {
    this.#delay = (label) => scheduler.schedule(Promise.resolve(), label)
    const id = this.#server(0).open(cookie).id as string
    const running = scripts.map((script, index) => this.#tell(script, index, cookie, id))
    const told = await scheduler.waitFor(Promise.all(running))
    this.#delay = () => Promise.resolve()
    return told
  }

  async read(cookie: string | undefined): Promise<Record<string, unknown>> {
    const session = this.#server(0).open(cookie)
    return Object.fromEntries((await session.load()).entries())
  }

  async #tell(script: Script, index: number, cookie: string, id: string): Promise<Told> {
    try {
      if (script.kind === "revoke") await this.#server(index).revoke(id)
      if (script.kind === "revokeUser") await this.#server(index).revokeByUser("ann")
      const { value, cookie: sent } = await this.#visit(this.#server(index), cookie, (session) =>
        perform(session, script, index, () => this.#delay("a late write")),
      )
      return { script, value, error: undefined, cookie: sent }
    } catch (error) {
      if (!(error instanceof SessionError)) throw error
      return { script, value: undefined, error: error.name, cookie: undefined }
    }
  }

  #server(index: number): Sessions {
    return this.#managers[index % 2] as Sessions
  }

  async #visit<T>(
    server: Sessions,
    cookie: string | undefined,
    handler: (session: Session) => Promise<T>,
  ): Promise<{ value: T; cookie: string | undefined }> {
    const session = server.open(cookie)
    const value = await handler(session)
    const { setCookie } = await session.finalize({ status: 200 })
    const sent = setCookie === undefined ? undefined : cookieAfter(setCookie)
    if (sent !== undefined) this.cookies.push(sent)
    return { value, cookie: sent }
  }
}

async function perform(
  session: Session,
  script: Script,
  index: number,
  pause: () => Promise<unknown>,
): Promise<unknown> {
  switch (script.kind) {
    case "set":
      if (script.reads) await session.get("n")
      session.set(`key ${index}`, index)
      if (!script.saves) return undefined
      await session.save()
      session.set(`late key ${index}`, index)
      return undefined
    case "hasty": {
      session.set(`key ${index}`, index)
      const saving = session.save()
      await pause()
      session.set(`late key ${index}`, index)
      return saving
    }
    case "increment":
      for (let time = 0; time < script.times; time++) {
        await session.transact((state) => state.set("n", ((state.get("n") as number | undefined) ?? 0) + 1))
      }
      return undefined
    case "touch":
      session.client.set("theme", index)
      return session.get("n")
    case "consume":
      return session.consume("voucher")
    case "cycle":
      session.cycleId(script.grace === 0 ? {} : { grace: script.grace })
      if (script.sets) session.set(`key ${index}`, index)
      return undefined
    case "invalidate":
      session.invalidate()
      return undefined
    case "revoke":
    case "revokeUser":
      return undefined
  }
}

/** Every call waits its turn, before it is carried out and before it is answered. */
function delayed(inner: SessionStore, delay: (label: string) => Promise<unknown>): SessionStore {
  const late = async <T>(label: string, call: () => Promise<T>): Promise<T> => {
    await delay(`${label}, on its way`)
    try {
      return await call()
    } finally {
      await delay(`${label}, on its way back`)
    }
  }
  return {
    name: inner.name,
    capabilities: inner.capabilities,
    create: (...args) => late("create", () => inner.create(...args)),
    load: (...args) => late("load", () => inner.load(...args)),
    update: (...args) => late("update", () => inner.update(...args)),
    updateTtl: (...args) => late("updateTtl", () => inner.updateTtl(...args)),
    changeId: (...args) => late("changeId", () => inner.changeId(...args)),
    delete: (...args) => late("delete", () => inner.delete(...args)),
    deleteExpired: (...args) => late("deleteExpired", () => inner.deleteExpired(...args)),
    listByUser: (...args) => late("listByUser", () => inner.listByUser(...args)),
    deleteByUser: (...args) => late("deleteByUser", () => inner.deleteByUser(...args)),
  }
}

/** What the acknowledged requests have promised the session holds. */
function promised(told: readonly Told[]): Record<string, unknown> {
  const state: Record<string, unknown> = { secret: 1, voucher: 1, n: 0 }
  for (const [index, { script, value, error }] of told.entries()) {
    if (error !== undefined) continue
    const isHasty = script.kind === "hasty"
    if (script.kind === "set" || isHasty) state[`key ${index}`] = index
    if (isHasty || (script.kind === "set" && script.saves)) state[`late key ${index}`] = index
    if (script.kind === "cycle" && script.sets) state[`key ${index}`] = index
    if (script.kind === "increment") state["n"] = (state["n"] as number) + script.times
    if (script.kind === "consume" && value !== undefined) delete state["voucher"]
  }
  return state
}

const stores: [string, number, (clock: () => number) => SessionStore][] = [
  ["memory", RUNS, (clock) => memoryStore({ clock })],
  ["SQLite", Math.ceil(RUNS / 4), (clock) => sqliteStore(":memory:", { clock })],
]

describe.each(stores)("store calls in any order, on %s", (_name, numRuns, open) => {
  test("G4: without a rotation nothing that was acknowledged is lost, and counters are exact", async () => {
    const scripts = fc.array(fc.oneof(...writers), { minLength: 2, maxLength: 5 })
    const property = fc.asyncProperty(fc.scheduler(), scripts, async (scheduler, programs) => {
      const race = new Race(open)
      const cookie = await race.start()
      const told = await race.run(scheduler, cookie, programs)
      expect(told.map(({ error }) => error)).toEqual(programs.map(() => undefined))
      expect(
        told.filter(({ script, value }) => script.kind === "consume" && value !== undefined).length,
      ).toBe(programs.some(({ kind }) => kind === "consume") ? 1 : 0)
      expect(await race.read(cookie)).toEqual(promised(told))
    })
    await fc.assert(property, { numRuns })
  })

  test("G4: with rotations one of them wins, and holds what was acknowledged", async () => {
    const scripts = fc.tuple(
      fc.array(fc.oneof(...writers), { minLength: 1, maxLength: 3 }),
      fc.array(rotation, { minLength: 1, maxLength: 2 }),
    )
    const property = fc.asyncProperty(fc.scheduler(), scripts, async (scheduler, [writes, rotations]) => {
      const race = new Race(open)
      const cookie = await race.start()
      const told = await race.run(scheduler, cookie, [...writes, ...rotations])
      const alive = race.spy.log.filter(
        ({ operation, outcome }) => operation === "changeId" && outcome === "resolved",
      )
      expect(alive.length).toBeGreaterThan(0)
      const newest = told.map((request) => request.cookie).filter((sent) => sent !== undefined)
      const states = await Promise.all(newest.map((sent) => race.read(sent)))
      const held = states.filter((state) => Object.keys(state).length > 0)
      expect(held.length).toBeGreaterThan(0)
      const [state] = held as [Record<string, unknown>]
      const expected = promised(told)
      // A request that was refused half-way may have saved some of what it wanted.
      const refused = told.filter(({ error }) => error !== undefined)
      if (refused.length === 0) expect(state).toEqual(expected)
      else expect(state).toMatchObject({ secret: expected["secret"], ...keysOf(expected) })
      for (const other of held) expect(other).toEqual(state)
    })
    await fc.assert(property, { numRuns })
  })

  test("G5: once it has been ended no cookie leads to it, whatever was under way", async () => {
    const scripts = fc
      .tuple(
        fc.array(fc.oneof(...writers, rotation), { minLength: 1, maxLength: 4 }),
        fc.array(end, { minLength: 1, maxLength: 2 }),
      )
      .map(([others, ends]) => [...others, ...ends])
    const property = fc.asyncProperty(fc.scheduler(), scripts, async (scheduler, programs) => {
      const race = new Race(open)
      const cookie = await race.start()
      const told = await race.run(scheduler, cookie, programs)
      expect(told.length).toBe(programs.length)
      for (const sent of race.cookies) expect(await race.read(sent)).not.toHaveProperty("secret")
      expect(await race.inner.listByUser("ann")).toEqual([])
    })
    await fc.assert(property, { numRuns })
  })

  test("G6: every record is made under an id that nobody has had", async () => {
    const scripts = fc.array(fc.oneof(...writers, rotation, end), { minLength: 2, maxLength: 5 })
    const property = fc.asyncProperty(fc.scheduler(), scripts, async (scheduler, programs) => {
      const race = new Race(open)
      await race.run(scheduler, await race.start(), programs)
      const made = race.spy.log.flatMap(({ operation, ids }) =>
        operation === "create" ? [ids[0]] : operation === "changeId" ? [ids[1]] : [],
      )
      expect(new Set(made).size).toBe(made.length)
    })
    await fc.assert(property, { numRuns: Math.ceil(numRuns / 3) })
  })
})

function keysOf(state: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(state).filter(([key]) => key.startsWith("key ")))
}
