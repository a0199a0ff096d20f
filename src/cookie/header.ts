const SPACE = 0x20
const TAB = 0x09
const SEMICOLON = 0x3b
const EQUALS = 0x3d

/**
 * The values of the cookies with exactly this name, in the order they were sent, at most `limit` of them.
 *
 * Parses as RFC 6265bis says: names are case-sensitive, the first `=` separates, only spaces and tabs around name and
 * value are trimmed, quotes belong to the value, a pair without `=` has no name. Takes time linear in the header, and
 * next to none when no cookie of this name is there.
 */
export function readCookies(
  header: string | readonly string[] | null | undefined,
  name: string,
  limit = 4,
): string[] {
  const values: string[] = []
  if (header === null || header === undefined) return values
  if (typeof header === "string") {
    collect(header, name, limit, values)
  } else {
    for (const line of header) collect(line, name, limit, values)
  }
  return values
}

function collect(header: string, name: string, limit: number, values: string[]): void {
  let at = header.indexOf(name)
  while (at !== -1 && values.length < limit) {
    const afterName = at + name.length
    const equals = skipBlanks(header, afterName)
    if (header.charCodeAt(equals) === EQUALS && beginsPair(header, at)) {
      const semicolon = header.indexOf(";", equals)
      const end = semicolon === -1 ? header.length : semicolon
      values.push(trimmed(header, equals + 1, end))
      at = header.indexOf(name, end)
    } else {
      // No pair can begin inside of what has just been looked at: a name has no blank and no semicolon.
      at = header.indexOf(name, afterName)
    }
  }
}

function beginsPair(header: string, at: number): boolean {
  let before = at - 1
  while (isBlank(header.charCodeAt(before))) before--
  return before < 0 || header.charCodeAt(before) === SEMICOLON
}

function skipBlanks(header: string, from: number): number {
  let at = from
  while (isBlank(header.charCodeAt(at))) at++
  return at
}

function trimmed(header: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(header.charCodeAt(start))) start++
  while (end > start && isBlank(header.charCodeAt(end - 1))) end--
  return header.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB
}
