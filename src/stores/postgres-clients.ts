import { ConfigError } from "../errors.ts"

/** node-postgres: a `Pool`, a `Client`, or what is made like them. */
export interface NodePostgresClient {
  query(query: {
    name?: string | undefined
    text: string
    values: unknown[]
    rowMode: "array"
    binary: false
  }): Promise<{ rows: unknown[][] }>
}

/** postgres.js: what `postgres()` returns. */
export interface PostgresJsClient {
  unsafe(
    text: string,
    values?: never[],
    options?: { prepare?: boolean },
  ): PromiseLike<unknown> & { values(): PromiseLike<unknown> }
}

/** PGlite: PostgreSQL inside the process. */
export interface PGliteClient {
  query(text: string, values?: unknown[], options?: { rowMode?: "array" }): Promise<{ rows: unknown[] }>
  exec(text: string): Promise<unknown>
}

export type PostgresClient = NodePostgresClient | PostgresJsClient | PGliteClient

/** One statement, and one round trip. */
export interface Connection {
  /** Rows as arrays. */
  run(statement: Statement, values: readonly unknown[]): Promise<readonly unknown[][]>
  /** Several statements without values. */
  script(text: string): Promise<void>
}

export interface Statement {
  readonly text: string
  /** Under which the server keeps it prepared; undefined: it does not. */
  readonly name: string | undefined
}

/** Told apart by their methods, so that a client need not come from the copy of a driver that this module would import. */
export function connectionOf(client: PostgresClient): Connection {
  const { unsafe, exec, query } = (client ?? {}) as Partial<Record<"unsafe" | "exec" | "query", unknown>>
  if (typeof unsafe === "function") return postgresJs(client as PostgresJsClient)
  if (typeof query === "function" && typeof exec === "function") return pglite(client as PGliteClient)
  if (typeof query === "function") return nodePostgres(client as NodePostgresClient)
  throw new ConfigError(
    "postgresStore: expected a Pool or Client of node-postgres, what postgres.js returns, or a PGlite.",
    { option: "client" },
  )
}

function nodePostgres(client: NodePostgresClient): Connection {
  return {
    run: ({ text, name }, values) => {
      const config = {
        name,
        text,
        values: values as unknown[],
        rowMode: "array" as const,
        binary: false as const,
      }
      return client.query(config).then(rowsOf)
    },
    script: async (text) => {
      await client.query({ text, values: [], rowMode: "array", binary: false })
    },
  }
}

function rowsOf({ rows }: { rows: unknown[][] }): unknown[][] {
  return rows
}

function postgresJs(client: PostgresJsClient): Connection {
  return {
    run: async ({ text, name }, values) => {
      const query = client.unsafe(text, values as never[], { prepare: name !== undefined })
      return (await query.values()) as unknown[][]
    },
    script: async (text) => {
      await client.unsafe(text)
    },
  }
}

function pglite(client: PGliteClient): Connection {
  return {
    run: async ({ text }, values) => {
      const result = await client.query(text, values as unknown[], { rowMode: "array" })
      return result.rows as unknown[][]
    },
    script: async (text) => {
      await client.exec(text)
    },
  }
}
