import { ConfigError } from "../errors.ts"
import { hasNotBegun, mayPass } from "./d1-failures.ts"

/** What a Worker's `env` has for a D1 database: Cloudflare's `D1Database`. */
export interface D1Binding extends D1Queryable {
  withSession?(constraintOrBookmark?: string): D1Session
  /** A session of a binding reads from replicas, so it is no binding. */
  readonly getBookmark?: never
}

/** What a D1 database and a session of it have in common. */
export interface D1Queryable {
  prepare(sql: string): D1Statement
  batch(statements: D1Statement[]): Promise<D1Result[]>
}

export interface D1Session extends D1Queryable {
  getBookmark(): string | null
}

export interface D1Statement {
  bind(...values: unknown[]): D1Statement
  all(): Promise<D1Result>
}

export interface D1Result {
  readonly results: unknown[]
}

export type Value = string | number | null

export interface Query {
  readonly sql: string
  readonly values: readonly Value[]
}

export type Rows = readonly Readonly<Record<string, unknown>>[]

/**
 * `read`: may go to a replica, and be tried again. `repeat`: writes, but to do it twice is to do it once. `write`: is tried again only if it
 * has certainly not been carried out.
 */
export type Effect = "read" | "repeat" | "write"

/** One round trip, and one transaction. */
export interface Connection {
  /** The rows of each query. */
  send(queries: readonly Query[], effect: Effect): Promise<Rows[]>
}

const FIRST_PRIMARY = "first-primary"
/** Each try counts among the queries that a request may make: fifty, on the free plan. */
const MAX_TRIES = 3
/** Milliseconds before the second try; twice as long before the third. */
const PAUSE = 50
/** How many milliseconds a replica has to catch up with a bookmark, or to refuse it, before the primary is asked. */
const PATIENCE = 1000
const BOOKMARK = /^(?!first-)[\x21-\x7e]{1,256}$/

export function assertBinding(binding: unknown, replicas: boolean): void {
  const { prepare, batch, getBookmark, withSession } = (binding ?? {}) as Partial<
    Record<"prepare" | "batch" | "getBookmark" | "withSession", unknown>
  >
  const isBinding = typeof prepare === "function" && typeof batch === "function"
  if (!isBinding || typeof getBookmark === "function") {
    throw new ConfigError(
      "d1Store: expected the binding of a D1 database, such as env.DB, and not what withSession gives.",
      { option: "binding" },
    )
  }
  if (replicas && typeof withSession !== "function") {
    throw new ConfigError("replicas: expected a binding that has withSession.", { option: "replicas" })
  }
}

/** The primary: what is not asked through a session of D1 goes there. */
export class PrimaryConnection implements Connection {
  readonly #binding: D1Binding

  constructor(binding: D1Binding) {
    this.#binding = binding
  }

  send(queries: readonly Query[], effect: Effect): Promise<Rows[]> {
    return sendTo(this.#binding, queries, effect)
  }
}

/**
 * For one request: reads see at least what an earlier request has seen, which its bookmark stands for, and what this one has written. They may
 * go to a replica that has come that far. Without a bookmark the first one goes to the primary.
 */
export class FollowingConnection implements Connection {
  readonly primary: Connection = { send: (queries, effect) => this.#sendToPrimary(queries, effect) }
  readonly #binding: D1Binding
  #session: D1Session
  /** Whether the session goes by a bookmark that came from outside, and that has proven nothing yet. */
  #isDoubtful: boolean
  #bookmark: string | undefined

  constructor(binding: D1Binding, bookmark: string | undefined) {
    this.#binding = binding
    this.#isDoubtful = bookmark !== undefined && BOOKMARK.test(bookmark)
    this.#session = sessionOf(binding, this.#isDoubtful ? bookmark : undefined)
  }

  /** The newest that D1 has told of. */
  get bookmark(): string | undefined {
    return this.#bookmark
  }

  send(queries: readonly Query[], effect: Effect): Promise<Rows[]> {
    if (effect !== "read") return this.#sendToPrimary(queries, effect)
    return this.#isDoubtful ? this.#sendInDoubt(queries) : this.#sendThrough(this.#session, queries, effect)
  }

  /** Not with the bookmark from outside: a write whose bookmark is refused would have to be tried again. */
  #sendToPrimary(queries: readonly Query[], effect: Effect): Promise<Rows[]> {
    this.#session = sessionOf(this.#binding, undefined)
    this.#isDoubtful = false
    return this.#sendThrough(this.#session, queries, effect)
  }

  /** A bookmark may be of another database, or of a time that was undone: then the primary answers. */
  async #sendInDoubt(queries: readonly Query[]): Promise<Rows[]> {
    const session = this.#session
    const rows = await inTime(sendTo(session, queries, "read")).catch(() => undefined)
    // The session is left with its bookmark, which it would hand on.
    if (rows === undefined) return this.#sendToPrimary(queries, "read")
    if (session === this.#session) this.#isDoubtful = false
    this.#note(session)
    return rows
  }

  async #sendThrough(session: D1Session, queries: readonly Query[], effect: Effect): Promise<Rows[]> {
    const rows = await sendTo(session, queries, effect)
    this.#note(session)
    return rows
  }

  /** Bookmarks are made to be sorted; what several sessions have seen may come in any order. */
  #note(session: D1Session): void {
    const bookmark = session.getBookmark()
    const isNewer = bookmark !== null && (this.#bookmark === undefined || bookmark > this.#bookmark)
    if (isNewer && BOOKMARK.test(bookmark)) this.#bookmark = bookmark
  }
}

function sessionOf(binding: D1Binding, bookmark: string | undefined): D1Session {
  return (binding as Required<Pick<D1Binding, "withSession">>).withSession(bookmark ?? FIRST_PRIMARY)
}

async function sendTo(database: D1Queryable, queries: readonly Query[], effect: Effect): Promise<Rows[]> {
  const mayBeRepeated = effect === "write" ? hasNotBegun : mayPass
  for (let tries = 1; ; tries++) {
    try {
      return await sendOnce(database, queries)
    } catch (error) {
      if (tries === MAX_TRIES || !mayBeRepeated(error)) throw error
      const longest = PAUSE * 2 ** (tries - 1)
      await new Promise((resolve) => setTimeout(resolve, longest * (0.5 + Math.random() / 2)))
    }
  }
}

async function sendOnce(database: D1Queryable, queries: readonly Query[]): Promise<Rows[]> {
  const statements = queries.map(({ sql, values }) => database.prepare(sql).bind(...values))
  const [first, ...others] = statements
  // D1 itself tries again a query that only reads.
  if (first !== undefined && others.length === 0) return [rowsOf(await first.all())]
  return (await database.batch(statements)).map(rowsOf)
}

function rowsOf({ results }: D1Result): Rows {
  return results as Rows
}

/** Undefined once patience is over; what comes later is left alone. */
async function inTime<T>(answer: Promise<T>): Promise<T | undefined> {
  const { promise: over, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(() => resolve(undefined), PATIENCE)
  try {
    return await Promise.race([answer, over])
  } finally {
    clearTimeout(timer)
  }
}
