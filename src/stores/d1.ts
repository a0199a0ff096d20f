import { ConfigError } from "../errors.ts"
import type { FollowingStore, Gone, SessionId, SessionRecord, StoreCapabilities } from "../store.ts"
import { assertBinding, type D1Binding, FollowingConnection, PrimaryConnection } from "./d1-connections.ts"
import { D1Engine } from "./d1-engine.ts"
import { Statements } from "./d1-statements.ts"
import { tableOf, type Table } from "./shared-names.ts"
import { assertKnownOptions } from "./shared-options.ts"
import { CAPABILITIES, EngineStore, type SqlStore } from "./shared-sql.ts"

export type { D1Binding, D1Queryable, D1Result, D1Session, D1Statement } from "./d1-connections.ts"
export type { SqlStore } from "./shared-sql.ts"

export interface D1StoreOptions {
  /** Default `"sessions"`. */
  readonly table?: string | undefined
  /**
   * Whether a request may read from a replica that has come as far as the user's last request, which a bookmark in the sealed cookie tells. Then a
   * session that was revoked elsewhere may be read for as long as the replica lags behind. Default false: all is read from the primary.
   */
  readonly replicas?: boolean | undefined
}

/**
 * Keeps sessions in Cloudflare D1, through the binding of a Worker. It makes its table when `migrate()` is called. Every operation is one batch, which D1
 * carries out as a whole or not at all, and one round trip.
 */
export function d1Store(binding: D1Binding, options: D1StoreOptions = {}): SqlStore {
  assertKnownOptions("d1Store", options, ["table", "replicas"])
  const { table = "sessions", replicas = false } = options
  if (typeof replicas !== "boolean") {
    throw new ConfigError("replicas: expected true or false.", { option: "replicas" })
  }
  const named = tableOf(table, '"')
  if (named.schema !== undefined) {
    throw new ConfigError("table: expected a name without a dot; D1 has no schemas.", { option: "table" })
  }
  assertBinding(binding, replicas)
  if (replicas) return new ReplicatedStore(binding, named)
  return new EngineStore(new D1Engine(new PrimaryConnection(binding), named))
}

const REPLICATED: StoreCapabilities = Object.freeze({ ...CAPABILITIES, promptRevocation: false })

class ReplicatedStore extends EngineStore {
  readonly #binding: D1Binding
  readonly #table: Table
  readonly #statements: Statements

  constructor(binding: D1Binding, table: Table) {
    const statements = new Statements(table.quoted)
    super(new D1Engine(new PrimaryConnection(binding), table, statements), REPLICATED)
    this.#binding = binding
    this.#table = table
    this.#statements = statements
  }

  follow(bookmark: string | undefined): FollowingStore {
    const connection = new FollowingConnection(this.#binding, bookmark)
    return new FollowingD1Store(connection, this.#table, this.#statements)
  }
}

class FollowingD1Store extends EngineStore implements FollowingStore {
  readonly #connection: FollowingConnection
  readonly #primary: EngineStore

  constructor(connection: FollowingConnection, table: Table, statements: Statements) {
    super(new D1Engine(connection, table, statements), REPLICATED)
    this.#connection = connection
    this.#primary = new EngineStore(new D1Engine(connection.primary, table, statements))
  }

  get bookmark(): string | undefined {
    return this.#connection.bookmark
  }

  override load(
    id: SessionId,
    options: { fresh?: boolean | undefined } = {},
  ): Promise<SessionRecord | Gone | undefined> {
    return options.fresh === true ? this.#primary.load(id) : super.load(id)
  }
}
