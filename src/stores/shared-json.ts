import { joinObject } from "../json.ts"

/**
 * JSON text that every engine's JSON type takes as it is. PostgreSQL's JSONB refuses NUL and lone surrogates, and older MariaDB nests no deeper than
 * 32 levels. So inside strings a character that may not stand there is written as U+2410 and its four hexadecimal digits, U+2410 itself
 * too; a value that is nested too deeply becomes a string that begins with U+2410 and `j`. Both are as rare as they are ugly.
 */

const ESCAPE = "\u2410"
/** In JSON text: any escape as a whole, so that what follows an escaped backslash is not taken for one; or the escape character. */
const SUSPECT = /\\(?:u0000|ud[89a-f][0-9a-f]{2}|.)|\u2410/gs
/** In a key: quotes, backslashes and control characters besides, which engines read differently in a JSON path. */
const SUSPECT_IN_KEY = /["\\\p{Cc}\p{Cs}\u2410]/gu
const DEEP = /"\u2410j((?:[^"\\]|\\.)*)"/gs
const ESCAPED = /\u2410([0-9a-f]{4})/g

/** The text of one JSON object, from keys and their JSON texts. */
export function toEngineObject(
  entries: Iterable<readonly [key: string, text: string]>,
  maxLevels?: number,
): string {
  const escaped: [string, string][] = []
  for (const [key, text] of entries) escaped.push([toEngineKey(key), toEngineText(text, maxLevels)])
  return joinObject(escaped)
}

export function toEngineKey(key: string): string {
  return key.replace(SUSPECT_IN_KEY, escapeOf)
}

/**
 * @param text as `JSON.stringify` writes it
 * @param maxLevels how deep the engine lets a value be nested; undefined: as deep as there is
 */
export function toEngineText(text: string, maxLevels: number = Infinity): string {
  const isPlain = !text.includes("\\u") && !text.includes(ESCAPE)
  const escaped = isPlain ? text : text.replace(SUSPECT, escapeSuspect)
  return isDeeper(escaped, maxLevels) ? JSON.stringify(`${ESCAPE}j${escaped}`) : escaped
}

/** @param text as the engine gives it back */
export function fromEngineText(text: string): string {
  if (!text.includes(ESCAPE)) return text
  return text
    .replace(DEEP, (_match, content: string) => JSON.parse(`"${content}"`) as string)
    .replace(ESCAPED, "\\u$1")
}

function escapeSuspect(found: string): string {
  if (found === ESCAPE) return escapeOf(ESCAPE)
  const isRefused = found.length === 6
  return isRefused ? ESCAPE + found.slice(2) : found
}

function escapeOf(character: string): string {
  return ESCAPE + character.charCodeAt(0).toString(16).padStart(4, "0")
}

function isDeeper(text: string, maxLevels: number): boolean {
  if (text.length <= 2 * maxLevels) return false
  let level = 0
  let isString = false
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (isString) {
      if (unit === 0x5c) index += 1
      else if (unit === 0x22) isString = false
    } else if (unit === 0x22) isString = true
    else if (unit === 0x5b || unit === 0x7b) {
      level += 1
      if (level > maxLevels) return true
    } else if (unit === 0x5d || unit === 0x7d) level -= 1
  }
  return false
}
