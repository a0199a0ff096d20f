import type { D1Binding, D1Queryable, D1Result, D1Session, D1Statement } from "coatcheck/d1"

/** A primary with a replica that catches up when it is told to: Miniflare has none that lags. */
export interface Lagging {
  readonly binding: D1Binding
  /** How many calls each of the two has answered. */
  readonly answered: { primary: number; replica: number }
  catchUp(): Promise<void>
}

type Pair = readonly [primary: D1Statement, replica: D1Statement, sql: string]

/**
 * Two databases, and the rules of D1's sessions: what asks through none goes to the primary, and so does the first query of a session that says so, and
 * all that writes; what reads goes to the replica if that has come as far as the bookmark, and else to the primary.
 * @param table which of the tables is copied
 */
export function lagging(primary: D1Binding, replica: D1Binding, table: string): Lagging {
  const answered = { primary: 0, replica: 0 }
  let [written, copied] = [0, 0]

  const session = (constraint: string | undefined): D1Queryable & { readonly seen: number | undefined } => {
    let seen = constraint?.startsWith("at-") ? Number(constraint.slice(3)) : undefined
    /** Of both databases, for which of them is asked is only known when it is sent. */
    const pairs = new WeakMap<D1Statement, Pair>()

    const statementOf = ([first, second, sql]: Pair): D1Statement => {
      const statement: D1Statement = {
        bind: (...values) => statementOf([first.bind(...values), second.bind(...values), sql]),
        all: async () => (await send([statement]))[0] as D1Result,
      }
      pairs.set(statement, [first, second, sql])
      return statement
    }
    const send = async (statements: readonly D1Statement[]): Promise<D1Result[]> => {
      const all = statements.map((statement) => pairs.get(statement) as Pair)
      const isRead = all.every(([, , sql]) => /^\s*SELECT/.test(sql))
      const atLeast = seen ?? (constraint === "first-unconstrained" ? 0 : Infinity)
      const toReplica = constraint !== undefined && isRead && copied >= atLeast
      answered[toReplica ? "replica" : "primary"] += 1
      const results = await (toReplica
        ? replica.batch(all.map(([, second]) => second))
        : primary.batch(all.map(([first]) => first)))
      if (!isRead) written += 1
      seen = Math.max(seen ?? 0, toReplica ? copied : written)
      return results
    }
    return {
      get seen() {
        return seen
      },
      prepare: (sql) => statementOf([primary.prepare(sql), replica.prepare(sql), sql]),
      batch: send,
    }
  }

  const always = session(undefined)
  return {
    answered,
    binding: {
      prepare: (sql) => always.prepare(sql),
      batch: (statements) => always.batch(statements),
      withSession(constraint = "first-unconstrained"): D1Session {
        const one = session(constraint)
        return {
          prepare: (sql) => one.prepare(sql),
          batch: (statements) => one.batch(statements),
          getBookmark: () => (one.seen === undefined ? null : `at-${String(one.seen).padStart(8, "0")}`),
        }
      },
    },
    async catchUp() {
      const upTo = written
      const { results } = await primary.prepare(`SELECT * FROM ${table}`).all()
      await replica.prepare(`DELETE FROM ${table}`).all()
      for (const row of results as Record<string, unknown>[]) {
        const columns = Object.keys(row)
        const marks = columns.map(() => "?").join(", ")
        await replica
          .prepare(`INSERT INTO ${table} (${columns.join(", ")}) VALUES (${marks})`)
          .bind(...Object.values(row))
          .all()
      }
      copied = upTo
    },
  }
}
