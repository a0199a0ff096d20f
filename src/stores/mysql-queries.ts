/** A statement as it is sent, with what stands for its question marks. */
export interface Query {
  readonly sql: string
  readonly values: readonly (string | null)[]
}

/** A statement, or a part of one, of which the values may be wanted without the text. */
export interface Part {
  readonly texts: readonly string[]
  /** One fewer than texts: each stands between two of them. */
  readonly parts: readonly Part[]
  /** For a question mark. */
  readonly value?: string | null
}

/** Puts parts together: `query`…${part}…``. Only parts go in, so that no value ever becomes SQL. */
export function query(texts: TemplateStringsArray, ...parts: readonly Part[]): Part {
  return { texts, parts }
}

export function list(parts: readonly Part[]): Part {
  return { texts: ["", ...parts.slice(1).map(() => ", "), ""], parts }
}

/** SQL as it stands here, or an identifier that has been checked and quoted. */
export function raw(sql: string): Part {
  return { texts: [sql], parts: NO_PARTS }
}

export function text(value: string | null): Part {
  return { texts: QUESTION_MARK, parts: NO_PARTS, value }
}

/** Sent as text, for mysql2 would make it floating point. */
export function number(value: number | null): Part {
  return { texts: CAST, parts: NO_PARTS, value: value === null ? null : String(value) }
}

const NO_PARTS: readonly Part[] = []
const QUESTION_MARK = ["?"]
const CAST = ["CAST(? AS SIGNED)"]

export const NOTHING: Part = raw("")
export const NULL: Part = raw("NULL")

export function sqlOf({ texts, parts }: Part): string {
  let sql = texts[0] as string
  for (const [index, part] of parts.entries()) sql += sqlOf(part) + (texts[index + 1] as string)
  return sql
}

export function valuesOf(part: Part): (string | null)[] {
  const values: (string | null)[] = []
  collect(part, values)
  return values
}

function collect({ parts, value }: Part, values: (string | null)[]): void {
  if (value !== undefined) values.push(value)
  for (const part of parts) collect(part, values)
}
