/** A statement, or a part of one, with what stands for its question marks. */
export interface Query {
  readonly sql: string
  readonly values: readonly (string | null)[]
}

/** Puts parts together: `query`…${part}…``. Only parts go in, so that no value ever becomes SQL. */
export function query(texts: TemplateStringsArray, ...parts: readonly Query[]): Query {
  let sql = texts[0] as string
  const values: (string | null)[] = []
  for (const [index, part] of parts.entries()) {
    sql += part.sql + (texts[index + 1] as string)
    values.push(...part.values)
  }
  return { sql, values }
}

export function list(parts: readonly Query[]): Query {
  return { sql: parts.map(({ sql }) => sql).join(", "), values: parts.flatMap(({ values }) => values) }
}

/** SQL as it stands here, or an identifier that has been checked and quoted. */
export function raw(sql: string): Query {
  return { sql, values: [] }
}

export function text(value: string | null): Query {
  return { sql: "?", values: [value] }
}

/** Sent as text, for mysql2 would make it floating point. */
export function number(value: number | null): Query {
  return { sql: "CAST(? AS SIGNED)", values: [value === null ? null : String(value)] }
}

export const NOTHING: Query = raw("")
export const NULL: Query = raw("NULL")
