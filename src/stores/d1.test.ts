import { afterAll, beforeAll, describe, expect, test } from "vitest"
import {
  ConfigError,
  DuplicateIdError,
  RecordCorruptError,
  StoreError,
  UnknownIdError,
  VersionConflictError,
} from "../errors.ts"
import type { FollowingStore, SessionRecord, SessionStore } from "../store.ts"
import {
  changing,
  ended,
  expectRejects,
  freshId,
  freshUser,
  HOUR,
  move,
  newRecord,
  removing,
} from "../testing/conformance/kit.ts"
import { type D1Binding, type D1Result, type D1Session, type D1StoreOptions, d1Store } from "./d1.ts"

// The laws of the store contract run inside workerd: test/runtimes/workerd.test.ts.

interface Miniflare {
  getD1Database(name: string): Promise<Database>
  dispose(): Promise<void>
}

type Database = Required<Pick<D1Binding, "prepare" | "batch" | "withSession">>

interface Meta {
  readonly rows_read: number
  readonly rows_written: number
}

let workerd: Miniflare
let db: Database
let tables = 0

beforeAll(async () => {
  // Named through a variable: its declarations need those of Workers.
  const specifier = "miniflare"
  const { Miniflare } = (await import(specifier)) as { Miniflare: new (options: object) => Miniflare }
  const script = "export default { fetch: () => new Response() }"
  workerd = new Miniflare({ modules: true, script, d1Databases: ["DB"] })
  db = await workerd.getD1Database("DB")
})
afterAll(() => workerd.dispose())

/** One call of D1, by any of its methods. */
interface Call {
  /** What `withSession` was given; undefined: no session. */
  readonly constraint: string | undefined
  readonly sql: readonly string[]
  /** Which call it is; the first is 1. */
  readonly number: number
}

interface Watch {
  /** May throw, as D1 does when it has not got the statements. */
  readonly before?: (call: Call) => unknown
  /** May throw, as D1 does when its answer is lost. */
  readonly after?: (call: Call) => unknown
}

interface Watched {
  readonly binding: Database
  readonly calls: Call[]
  readonly rows: { read: number; written: number }
}

/** The database, with something that happens around each call. */
function watched({ before, after }: Watch = {}): Watched {
  const calls: Call[] = []
  const rows = { read: 0, written: 0 }
  const call = async <T extends D1Result | D1Result[]>(
    constraint: string | undefined,
    sql: string[],
    send: () => Promise<T>,
  ): Promise<T> => {
    const one = { constraint, sql, number: calls.length + 1 }
    calls.push(one)
    await before?.(one)
    const results = await send()
    for (const { meta } of [results].flat() as unknown as { meta: Meta }[]) {
      rows.read += meta.rows_read
      rows.written += meta.rows_written
    }
    await after?.(one)
    return results
  }
  const wrap = (
    target: Pick<Database, "prepare" | "batch">,
    constraint: string | undefined,
  ): Pick<Database, "prepare" | "batch"> => {
    const texts = new WeakMap<object, string>()
    const inner = new WeakMap<object, ReturnType<Database["prepare"]>>()
    return {
      prepare: (sql) => {
        const of = (statement: ReturnType<Database["prepare"]>): ReturnType<Database["prepare"]> => {
          const outer = {
            bind: (...values: unknown[]) => of(statement.bind(...values)),
            all: () => call(constraint, [sql], () => statement.all()),
          }
          texts.set(outer, sql)
          inner.set(outer, statement)
          return outer
        }
        return of(target.prepare(sql))
      },
      batch: (statements) => {
        const sql = statements.map((statement) => texts.get(statement) as string)
        const all = statements.map((statement) => inner.get(statement) as ReturnType<Database["prepare"]>)
        return call(constraint, sql, () => target.batch(all))
      },
    }
  }
  const binding: Database = {
    ...wrap(db, undefined),
    withSession: (constraint): D1Session => {
      const session = db.withSession(constraint)
      return { ...wrap(session, constraint), getBookmark: () => session.getBookmark() }
    },
  }
  return { binding, calls, rows }
}

async function open(
  binding: Database = db,
  options: D1StoreOptions = {},
): Promise<ReturnType<typeof d1Store>> {
  const table = `sessions_${++tables}`
  await d1Store(db, { table }).migrate()
  return d1Store(binding, { table, ...options })
}

function asRecord(found: unknown): SessionRecord {
  expect(found).toHaveProperty("state")
  return found as SessionRecord
}

async function failureOf(promise: Promise<unknown>): Promise<StoreError> {
  const failure: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(failure).toBeInstanceOf(StoreError)
  return failure as StoreError
}

describe("options", () => {
  const nobody: D1Binding = {
    prepare: () => {
      throw new Error("not asked")
    },
    batch: () => Promise.reject(new Error("not asked")),
  }

  test.each([undefined, null, {}, "DB", { prepare: () => undefined }])("%j is no binding", (binding) => {
    expect(() => d1Store(binding as unknown as D1Binding)).toThrow(
      expect.objectContaining({ code: "ERR_SESSION_CONFIG", option: "binding" }) as Error,
    )
  })

  test("a session of a binding is none: it would read from replicas unasked", () => {
    expect(() => d1Store(db.withSession("first-primary") as unknown as D1Binding)).toThrow(
      /and not what withSession gives/,
    )
  })

  test.each(["", "a b", 'a"b', "1a", "auth.sessions", "s".repeat(55), 5, null])(
    "%j is no name of a table",
    (table) => {
      expect(() => d1Store(nobody, { table: table as string })).toThrow(
        expect.objectContaining({ code: "ERR_SESSION_CONFIG", option: "table" }) as Error,
      )
    },
  )

  test("replicas is true or false, and needs a binding that has sessions", () => {
    expect(() => d1Store(nobody, { replicas: "yes" as unknown as boolean })).toThrow(/true or false/)
    expect(() => d1Store(nobody, { replicas: true })).toThrow(ConfigError)
    expect(d1Store(nobody, { replicas: false }).follow).toBeUndefined()
  })

  test("a misspelt option is refused by its name", () => {
    expect(() => d1Store(nobody, { replica: true } as object)).toThrow(
      /no option replica; there are table, replicas/,
    )
  })
})

describe("round trips", () => {
  const expiry = { idleTtl: HOUR, fixedTtl: null, cookieKind: null }
  const user = { userId: "ann", label: null, absoluteTtl: HOUR }

  /** What is done to a session, each in one call of D1. */
  const operations: Readonly<Record<string, (store: SessionStore, id: string) => Promise<unknown>>> = {
    create: (store) => store.create(freshId(), newRecord()),
    "create of what is there": (store, id) => expectRejects(store.create(id, newRecord()), DuplicateIdError),
    load: (store, id) => store.load(id),
    "load of nothing": (store) => store.load(freshId()),
    "update of a key": (store, id) => store.update(id, changing({ a: 1 })),
    "update that removes": (store, id) => store.update(id, removing("a")),
    "update that clears": (store, id) => store.update(id, changing({ a: 1 }, { clear: true })),
    "update that keeps some": (store, id) => store.update(id, changing({}, { clear: { except: ["a"] } })),
    "update of user and expiry": (store, id) => store.update(id, changing({ a: 1 }, { user, expiry })),
    "update that unbinds": (store, id) =>
      store.update(id, changing({}, { user: { userId: null, label: null, absoluteTtl: null } })),
    "update of a version": (store, id) => store.update(id, changing({ a: 1 }), { ifVersion: 1 }),
    "update of a version that is past": (store, id) =>
      expectRejects(store.update(id, changing({ a: 1 }), { ifVersion: 7 }), VersionConflictError),
    "update of nothing": (store) =>
      expectRejects(store.update(freshId(), changing({ a: 1 })), UnknownIdError),
    updateTtl: (store, id) => store.updateTtl(id),
    "updateTtl of nothing": (store) => expectRejects(store.updateTtl(freshId()), UnknownIdError),
    changeId: (store, id) => store.changeId(id, freshId(), move()),
    "changeId with a change": (store, id) =>
      store.changeId(id, freshId(), { ...move(), change: changing({ a: 1 }, { user }), ifVersion: 1 }),
    "changeId of nothing": (store) =>
      expectRejects(store.changeId(freshId(), freshId(), move()), UnknownIdError),
    delete: (store, id) => store.delete(id),
    "delete of nothing": (store) => expectRejects(store.delete(freshId()), UnknownIdError),
    "delete with a tombstone": (store, id) => store.delete(id, ended),
    "delete of nothing with a tombstone": (store) =>
      expectRejects(store.delete(freshId(), ended), UnknownIdError),
    deleteExpired: (store) => store.deleteExpired(),
    listByUser: (store) => store.listByUser(freshUser()),
    deleteByUser: (store) => store.deleteByUser(freshUser(), ended),
    "deleteByUser but for one": (store, id) => store.deleteByUser(freshUser(), { ...ended, except: id }),
  }

  test("each operation takes one, what finds nothing too", async () => {
    const { binding, calls } = watched()
    const store = await open(binding)
    const taken: Record<string, number> = {}
    for (const [name, run] of Object.entries(operations)) {
      const id = freshId()
      await store.create(id, newRecord({ state: new Map([["a", "0"]]) }))
      const before = calls.length
      await run(store, id)
      taken[name] = calls.length - before
    }
    expect(taken).toEqual(Object.fromEntries(Object.keys(operations).map((name) => [name, 1])))
  })

  test("moves are followed in one, to where they end", async () => {
    const { binding, calls } = watched()
    const store = await open(binding)
    const hop = async (id: string, privilegeChanged = false): Promise<string> => {
      const next = freshId()
      await store.changeId(id, next, move({ privilegeChanged }))
      return next
    }
    const first = freshId()
    await store.create(first, newRecord())
    const guarded = await hop(await hop(first))
    const last = await hop(await hop(guarded, true))

    const before = calls.length
    const stopped = await expectRejects(store.delete(first, ended), UnknownIdError)
    expect(stopped).toMatchObject({ id: guarded, gone: { privilegeChanged: true } })
    expect(calls.length - before).toBe(1)
    asRecord(await store.load(last))

    const [start, middle, end] = [freshId(), freshId(), freshId()]
    await store.create(start, newRecord())
    await store.changeId(start, middle, move())
    await store.changeId(middle, end, move())
    const then = calls.length
    await store.delete(start, ended)
    const again = await expectRejects(store.delete(start, ended), UnknownIdError)
    expect(again).toMatchObject({ id: end, gone: { ended: true } })
    expect(calls.length - then).toBe(2)
    expect(await store.load(end)).toEqual({ ended: true })
  })

  test("word of a move that has expired leads nowhere", async () => {
    const store = await open()
    const [userId, first, next] = [freshUser(), freshId(), freshId()]
    await store.create(first, newRecord({ userId }))
    await store.changeId(first, next, move({ ttl: 1 }))
    await new Promise((resolve) => setTimeout(resolve, 20))
    const error = await expectRejects(store.delete(first, ended), UnknownIdError)
    expect(error).toMatchObject({ id: first, gone: undefined })
    asRecord(await store.load(next))
    expect(await store.deleteByUser(userId, { except: first })).toBe(1)
  })

  test("no operation reads the whole table, and each writes as few rows as it can", async () => {
    const { binding, rows } = watched()
    const store = await open(binding)
    const table = `sessions_${tables}`
    const later = Date.now() + HOUR
    await db
      .prepare(
        `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500)
         INSERT INTO ${table} (id, state, version, user_id, created_at, last_seen_at, absolute_end, deadline, sweep_at)
         SELECT 'id-' || n, '{}', 1, 'user-' || n, 0, 0, ${later}, ${later}, ${later} FROM n`,
      )
      .all()
    const costs: Record<string, readonly [isSmall: boolean, written: number]> = {}
    const cost = async (name: string, run: () => Promise<unknown>): Promise<void> => {
      const before = { ...rows }
      await run()
      costs[name] = [rows.read - before.read < 25, rows.written - before.written]
    }
    const id = freshId()
    await cost("create", () => store.create(id, newRecord()))
    await cost("create for a user", () => store.create(freshId(), newRecord({ userId: "ann" })))
    await cost("load", () => store.load(id))
    await cost("update", () => store.update(id, changing({ a: 1, b: 2 })))
    await cost("updateTtl", () => store.updateTtl(id))
    await cost("changeId", () => store.changeId(id, freshId(), move()))
    await cost("listByUser", () => store.listByUser("user-7"))
    await cost("deleteByUser", () => store.deleteByUser("user-7", ended))
    await cost("delete", () => store.delete("id-8"))
    await cost("delete with a tombstone", () => store.delete("id-9", ended))
    await cost("deleteExpired", () => store.deleteExpired())
    expect(costs).toEqual({
      create: [true, 3],
      "create for a user": [true, 4],
      load: [true, 0],
      update: [true, 1],
      updateTtl: [true, 1],
      changeId: [true, 5],
      listByUser: [true, 0],
      deleteByUser: [true, 2],
      delete: [true, 1],
      "delete with a tombstone": [true, 2],
      deleteExpired: [true, 0],
    })
  })
})

test("a sweep takes a thousand rows at a time, and passes over those that live on", async () => {
  const { binding, calls } = watched()
  const store = await open(binding)
  const later = Date.now() + HOUR
  await db
    .prepare(
      `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
       INSERT INTO sessions_${tables} (id, state, version, created_at, last_seen_at, absolute_end, deadline, sweep_at)
       SELECT 'id-' || n, '{}', 1, 0, 0, ${later}, CASE WHEN n % 3 = 0 THEN 1000 ELSE ${later} END, n FROM n`,
    )
    .all()
  expect(await store.deleteExpired({ limit: 700 })).toBe(700)
  expect(calls.length).toBeLessThanOrEqual(3)
  expect(await store.deleteExpired({ limit: 700 })).toBe(300)
  const swept = calls.length
  expect(await store.deleteExpired({ limit: 700 })).toBe(0)
  expect(calls.length).toBe(swept + 1)
  const { results } = await db.prepare(`SELECT count(*) AS count FROM sessions_${tables}`).all()
  expect(results).toEqual([{ count: 2000 }])
})

test("the absolute end holds, though the idle timeout and the fixed end are later", async () => {
  const store = await open()
  const id = freshId()
  await store.create(id, newRecord({ idleTtl: 3 * HOUR, fixedTtl: 2 * HOUR, absoluteTtl: HOUR }))
  expect((await store.updateTtl(id)).expiresIn).toBeLessThanOrEqual(HOUR)
  expect((await store.update(id, changing({ a: 1 }))).expiresIn).toBeLessThanOrEqual(HOUR)
  expect(asRecord(await store.load(id)).expiresIn).toBeLessThanOrEqual(HOUR)
})

describe("values", () => {
  test("a state of fractions is merged without a change to any of them", async () => {
    const store = await open()
    const id = freshId()
    const fractions = { "a.b": 0.1 + 0.2, "$[0]": 5e-324, "it's": 1.7976931348623157e308, "🧥": -1e-7 }
    await store.create(id, newRecord({ state: changing(fractions).set }))
    await store.update(id, changing({ more: [0.1, { deep: 1e21 }] }))
    expect(asRecord(await store.load(id)).state).toEqual({ ...fractions, more: [0.1, { deep: 1e21 }] })
  })

  test("the table holds each key once, as JSON that other tools can read", async () => {
    const store = await open()
    const id = freshId()
    await store.create(id, newRecord({ state: changing({ a: 1, b: 2, "it's": "x" }).set }))
    await store.update(id, changing({ a: { n: 1.5 } }, { remove: new Set(["b"]) }))
    await store.update(id, changing({ a: [null, true, "y"] }))
    const { results } = await db.prepare(`SELECT state FROM sessions_${tables}`).all()
    expect(results).toEqual([{ state: `{"it's":"x","a":[null,true,"y"]}` }])
  })

  test("a session of nearly 2 MB is kept; a much larger one is refused with advice, and changes nothing", async () => {
    const store = await open()
    const id = freshId()
    await store.create(id, newRecord())
    await store.update(id, changing({ large: "x".repeat(1_900_000) }))
    const { version } = asRecord(await store.load(id))
    for (const operation of [
      () => store.update(id, changing({ more: "y".repeat(400_000) })),
      () => store.update(id, changing({ larger: "y".repeat(2_300_000) })),
      () => store.changeId(id, freshId(), { ...move(), change: changing({ more: "y".repeat(400_000) }) }),
      () => store.create(freshId(), newRecord({ state: changing({ a: "y".repeat(2_300_000) }).set })),
    ]) {
      const failure = await failureOf(operation())
      expect(failure.message).toMatch(/larger than D1 keeps, which is 2 MB/)
      expect(failure.message).not.toMatch(/xxx|yyy/)
    }
    const after = asRecord(await store.load(id))
    expect([after.version, Object.keys(after.state)]).toEqual([version, ["large"]])
  })

  test("a state that is no object is corrupt, and stays as it is", async () => {
    const store = await open()
    for (const state of ["[1]", "[broken", "1", "null", ""]) {
      const id = freshId()
      await store.create(id, newRecord())
      await db.prepare(`UPDATE sessions_${tables} SET state = ? WHERE id = ?`).bind(state, id).all()
      await expectRejects(store.load(id), RecordCorruptError)
      await expectRejects(store.update(id, changing({ a: 1 })), RecordCorruptError)
      await expectRejects(
        store.changeId(id, freshId(), { ...move(), change: removing("a") }),
        RecordCorruptError,
      )
      const { results } = await db.prepare(`SELECT state FROM sessions_${tables} WHERE id = ?`).bind(id).all()
      expect(results).toEqual([{ state }])
    }
  })

  test("moves that lead in a circle are corrupt, and hang nothing", async () => {
    const store = await open()
    const [one, two] = [freshId(), freshId()]
    await store.create(one, newRecord())
    await store.changeId(one, two, move())
    await db
      .prepare(`UPDATE sessions_${tables} SET state = NULL, moved_to = ? WHERE id = ?`)
      .bind(one, two)
      .all()
    await expectRejects(store.delete(one, ended), RecordCorruptError)
    expect(await store.deleteByUser("ann", { except: one })).toBe(0)
  })

  test("an id that is taken undoes the whole of a move, and leaves no tombstone under an id that was none", async () => {
    const store = await open()
    const [taken, stranger] = [freshId(), freshId()]
    await store.create(taken, newRecord({ state: new Map([["mine", "1"]]) }))
    await expectRejects(store.changeId(stranger, taken, move()), DuplicateIdError)
    expect(await store.load(stranger)).toBeUndefined()
    expect(asRecord(await store.load(taken))).toMatchObject({ state: { mine: 1 }, version: 1 })
  })
})

describe("migrate", () => {
  test("makes the table as migrationSql does, and does nothing the next times", async () => {
    const store = d1Store(db, { table: "made" })
    await Promise.all([store.migrate(), store.migrate()])
    await store.create("id", newRecord())
    await store.migrate()
    const made = await schemaOf("made")
    expect(made.length).toBe(4)
    const other = d1Store(db, { table: "applied" })
    for (let times = 0; times < 2; times++) {
      const statements = other
        .migrationSql()
        .split(/;\s*$/m)
        .filter((sql) => sql.trim() !== "")
      await db.batch(statements.map((sql) => db.prepare(sql)))
    }
    expect(await schemaOf("applied")).toEqual(made.map((sql) => sql.replaceAll("made", "applied")))
    asRecord(await store.load("id"))
  })

  test("leaves a table alone that is not of coatcheck, and says so", async () => {
    await db.prepare("CREATE TABLE theirs (id TEXT, user_id TEXT)").all()
    const store = d1Store(db, { table: "theirs" })
    const failure = await failureOf(store.migrate())
    expect(failure.message).toMatch(/table "theirs" that is not of coatcheck; choose another name/)
    expect(await schemaOf("theirs")).toEqual(["CREATE TABLE theirs (id TEXT, user_id TEXT)"])
    expect((await failureOf(store.load("id"))).message).toMatch(
      /"theirs" has an older layout, or another one/,
    )
    expect((await failureOf(store.create("id", newRecord()))).message).toMatch(/older layout, or another one/)
  })

  async function schemaOf(table: string): Promise<string[]> {
    const { results } = await db
      .prepare("SELECT sql FROM sqlite_master WHERE tbl_name = ? ORDER BY name")
      .bind(table)
      .all()
    return (results as { sql: string | null }[]).map(({ sql }) => sql ?? "")
  }
})

describe("failures", () => {
  test("a table that is missing is told of, and how to make it", async () => {
    const store = d1Store(db, { table: "missing" })
    for (const operation of [
      () => store.load(freshId()),
      () => store.create(freshId(), newRecord()),
      () => store.update(freshId(), changing({ a: 1 })),
      () => store.delete(freshId(), ended),
      () => store.deleteExpired(),
      () => store.deleteByUser("ann"),
    ]) {
      expect((await failureOf(operation())).message).toMatch(
        /the table "missing" does not exist; call migrate\(\)/,
      )
    }
  })

  test("a name that D1 keeps for itself is told of", async () => {
    for (const table of ["sqlite_sessions", "_cf_sessions"]) {
      expect((await failureOf(d1Store(db, { table }).migrate())).message).toMatch(/sqlite_ or _cf_/)
    }
  })

  /** What D1 says, by Cloudflare's list of its errors, which the simulator has no reason to say. */
  const messages: readonly (readonly [message: string, advice: RegExp])[] = [
    [
      "D1_ERROR: D1 DB is overloaded. Requests queued for too long.",
      /more to do than it can, so this was not/,
    ],
    ["D1_ERROR: D1 DB is overloaded. Too many requests queued.", /more to do than it can, so this was not/],
    ["D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.", /took too long/],
    ["D1_ERROR: D1 DB exceeded its CPU time limit and was reset.", /took too long or too much memory/],
    ["D1_ERROR: D1 DB's isolate exceeded its memory limit and was reset.", /too much memory and was reset/],
    ["D1_ERROR: Exceeded maximum DB size", /the database or the account is full/],
    [
      "D1_ERROR: Your account has exceeded D1's free daily limit of rows written.",
      /free rows of today are used up/,
    ],
    ["D1_ERROR: Too many API requests by single worker invocation.", /asked Cloudflare's services too often/],
    ["D1_ERROR: attempt to write a readonly database: SQLITE_READONLY", /read-only for now/],
    ["Cannot perform I/O on behalf of a different request.", /of another request/],
    ["D1_ERROR: Network connection lost.", /connection to D1 was lost, so it is not known/],
    ["D1_ERROR: D1 DB reset because its code was updated.", /was lost, so it is not known/],
    ["D1_ERROR: Internal error in D1 DB storage caused object to be reset.", /was lost, so it is not known/],
    ["D1_ERROR: Can't read from request stream because client disconnected.", /was lost, so it is not known/],
  ]

  test.each(messages)("%s", async (message, advice) => {
    const { binding, calls } = watched({ before: () => Promise.reject(new Error(message)) })
    const failure = await failureOf(d1Store(binding).update(freshId(), changing({ secret: "hunter2" })))
    expect(failure).toMatchObject({ operation: "update", store: "d1", cause: { message } })
    expect(failure.message).toMatch(advice)
    // A write of which nobody knows whether it was carried out is not tried again.
    expect(calls.length).toBe(1)
  })

  test("an error that is not known reaches the user as it is", async () => {
    const { binding } = watched({ before: () => Promise.reject(new Error("D1_ERROR: something new")) })
    await expect(d1Store(binding).load(freshId())).rejects.toThrow(/^D1_ERROR: something new$/)
  })

  test("a write whose answer is lost is carried out once, though it fails", async () => {
    const lost = (): never => {
      throw new Error("D1_ERROR: Network connection lost.")
    }
    const store = await open()
    const table = `sessions_${tables}`
    const id = freshId()
    await store.create(id, newRecord({ state: new Map([["count", "0"]]) }))
    const { binding } = watched({ after: lost })
    const unlucky = d1Store(binding, { table })
    await failureOf(unlucky.update(id, changing({ count: 1 })))
    expect(asRecord(await store.load(id))).toMatchObject({ version: 2, state: { count: 1 } })
    const next = freshId()
    await failureOf(unlucky.changeId(id, next, move()))
    expect(asRecord(await store.load(next)).version).toBe(3)
    await failureOf(unlucky.delete(next, ended))
    expect(await store.load(next)).toEqual({ ended: true })
  })

  test("what reads, and what only extends, is tried again when the connection is lost", async () => {
    const { binding, calls } = watched({
      after: ({ number }) => {
        if (number % 2 === 1) throw new Error("D1_ERROR: Network connection lost.")
      },
    })
    const store = await open(binding)
    const id = freshId()
    await d1Store(db, { table: `sessions_${tables}` }).create(id, newRecord({ userId: "ann" }))
    asRecord(await store.load(id))
    expect((await store.updateTtl(id)).version).toBe(1)
    expect((await store.listByUser("ann")).length).toBe(1)
    expect(calls.length).toBe(6)
  })

  test("a write that D1 has not come to is tried again, three times at most", async () => {
    const message = "D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node."
    const { binding, calls } = watched({
      before: ({ number }) => {
        if (number < 3) throw new Error(message)
      },
    })
    const store = await open(binding)
    const id = freshId()
    await store.create(id, newRecord())
    expect(calls.length).toBe(3)
    const away = watched({ before: () => Promise.reject(new Error(message)) })
    const failure = await failureOf(d1Store(away.binding).create(freshId(), newRecord()))
    expect(failure.message).toMatch(/cannot be reached, so this was not carried out/)
    expect(away.calls.length).toBe(3)
  })

  test("no error shows an id or a value", async () => {
    const bare = d1Store(db, { table: "nowhere" })
    const state = new Map([["password", '"hunter2"']])
    const failure = await failureOf(bare.create("an-id", newRecord({ userId: "alice@example.com", state })))
    const { cause } = failure
    const shown = `${failure.message} ${(cause as Error).message} ${String((cause as Error).cause)}`
    for (const secret of ["hunter2", "alice", "an-id"]) expect(shown).not.toContain(secret)
  })
})

describe("replicas", () => {
  async function following(
    bookmark?: string,
    watch: Watch = {},
  ): Promise<Watched & { store: FollowingStore; root: SessionStore }> {
    const one = watched(watch)
    const root = await open(one.binding, { replicas: true })
    return { ...one, root, store: root.follow?.(bookmark) as FollowingStore }
  }
  const constraints = ({ calls }: Watched): (string | undefined)[] =>
    calls.map(({ constraint }) => constraint)
  const isRead = ({ sql }: Call): boolean => sql.every((text) => text.startsWith("SELECT"))

  test("by default there are none: nothing goes through a session of D1", async () => {
    const one = watched()
    const store = await open(one.binding)
    expect(store.follow).toBeUndefined()
    expect(store.capabilities.promptRevocation).toBe(true)
    const id = freshId()
    await store.create(id, newRecord())
    await store.load(id)
    expect(constraints(one)).toEqual([undefined, undefined])
  })

  test("a store that reads from them says that a revocation is not prompt", async () => {
    const { root, store } = await following()
    expect([root.capabilities.promptRevocation, store.capabilities.promptRevocation]).toEqual([false, false])
    expect(root.capabilities).toEqual({ ...(await open()).capabilities, promptRevocation: false })
    expect(store.name).toBe("d1")
  })

  test("without a bookmark the first read is from the primary", async () => {
    const one = await following()
    expect(one.store.bookmark).toBeUndefined()
    await one.store.load(freshId())
    expect(constraints(one)).toEqual(["first-primary"])
    expect(one.store.bookmark).toMatch(/^[0-9a-f-]{10,256}$/)
  })

  test("whoever has just signed in is found by the next request, through the bookmark", async () => {
    const first = await following()
    const id = freshId()
    await first.store.create(id, newRecord({ userId: "ann" }))
    const { bookmark } = first.store
    expect(bookmark).toBeDefined()
    const next = first.root.follow?.(bookmark) as FollowingStore
    expect(asRecord(await next.load(id)).userId).toBe("ann")
    expect(constraints(first)).toEqual(["first-primary", bookmark])
    expect((next.bookmark as string) >= (bookmark as string)).toBe(true)
  })

  test("a read sees what the same request has written: it goes on from the write's bookmark", async () => {
    const one = await following("00000000-00000001-00000000-00000000000000000000000000000000")
    const id = freshId()
    await one.store.create(id, newRecord())
    await one.store.update(id, changing({ a: 1 }))
    asRecord(await one.store.load(id))
    // Writes go to the primary anyway, and not with a bookmark that D1 might refuse.
    expect(constraints(one)).toEqual(["first-primary", "first-primary", "first-primary"])
    expect(one.calls.map(isRead)).toEqual([false, false, true])
  })

  test("the bookmark only goes on, though answers come in any order", async () => {
    const gate = Promise.withResolvers<void>()
    const one = await following(undefined, {
      after: ({ number }) => (number === 1 ? gate.promise : undefined),
    })
    const [early, late] = [freshId(), freshId()]
    const slow = one.store.create(early, newRecord())
    await one.store.create(late, newRecord())
    const { bookmark } = one.store
    gate.resolve()
    await slow
    expect(one.store.bookmark).toBe(bookmark)
  })

  test("a fresh load asks the primary, and what comes after sees as much", async () => {
    const one = await following()
    await one.store.load(freshId())
    const carried = one.store.bookmark
    const next = one.root.follow?.(carried) as FollowingStore
    await next.load(freshId())
    await next.load(freshId(), { fresh: true })
    await next.load(freshId())
    expect(constraints(one)).toEqual(["first-primary", carried, "first-primary", "first-primary"])
  })

  test("what is not of a request goes to the primary", async () => {
    const one = await following()
    await one.root.load(freshId())
    await one.root.listByUser("ann")
    expect(constraints(one)).toEqual([undefined, undefined])
  })

  test.each(["first-unconstrained", "first-primary", "", "a\nb", "é", "x".repeat(257)])(
    "%j is no bookmark",
    async (bookmark) => {
      const one = await following(bookmark)
      await one.store.load(freshId())
      expect(constraints(one)).toEqual(["first-primary"])
    },
  )

  test("a bookmark that D1 refuses breaks no request: the primary is asked, and gives a new one", async () => {
    const refuse = ({ constraint }: Call): void => {
      if (constraint === "of-another-database") throw new Error("D1_ERROR: invalid bookmark")
    }
    const one = await following("of-another-database", { before: refuse })
    expect(await one.store.load(freshId())).toBeUndefined()
    await one.store.load(freshId())
    expect(constraints(one)).toEqual(["of-another-database", "first-primary", "first-primary"])
    expect(one.store.bookmark).toMatch(/^[0-9a-f-]{10,}$/)
  })

  test("a replica that does not come as far as the bookmark is not waited for, and nor is the bookmark handed on", async () => {
    const gate = Promise.withResolvers<void>()
    const one = await following("zzz-of-the-future", {
      before: ({ constraint }) => (constraint === "zzz-of-the-future" ? gate.promise : undefined),
    })
    expect(await one.store.load(freshId())).toBeUndefined()
    expect(constraints(one)).toEqual(["zzz-of-the-future", "first-primary"])
    gate.resolve()
    await one.store.load(freshId())
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(one.store.bookmark).toMatch(/^[0-9a-f-]{10,}$/)
  })

  test("an error of the primary is told as any other", async () => {
    const one = await following("a-bookmark", { before: () => Promise.reject(new Error("no such table: x")) })
    const failure = await failureOf(one.store.load(freshId()))
    expect(failure.message).toMatch(/does not exist; call migrate/)
    expect(constraints(one)).toEqual(["a-bookmark", "first-primary"])
  })
})
