import type { Finalized, HeaderChange } from "./api.ts"

/** The headers of a response that is still to be sent. A web `Headers` is one as it is. Names are case-insensitive. */
export interface HeaderTarget {
  /** The value, several joined by commas; nothing if there is none. */
  get(name: string): string | null | undefined
  /** Every `Set-Cookie` line by itself, for they cannot be joined. */
  getSetCookie(): readonly string[]
  set(name: string, value: string): void
  append(name: string, value: string): void
  delete(name: string): void
}

/** The header target of a web `Headers`. */
export function headersTarget(headers: Headers): HeaderTarget {
  return headers
}

/** Adds to a response's headers what its session has to say. A cookie is set once: ours replaces one of the same name. */
export function applyFinalized(target: HeaderTarget, finalized: Finalized): void {
  for (const change of finalized.headers) apply(target, change)
}

function apply(target: HeaderTarget, { name, value, mode }: HeaderChange): void {
  if (mode === "append") append(target, name, value)
  else if (mode === "set") replace(target, name, value)
  else if (name === "Vary") mergeVary(target, value)
  else if (isBlank(target.get(name))) target.set(name, value)
}

function append(target: HeaderTarget, name: string, value: string): void {
  if (name === "Set-Cookie") removeCookie(target, cookieName(value))
  target.append(name, value)
}

function replace(target: HeaderTarget, name: string, value: string): void {
  if (value === "") target.delete(name)
  // A stricter header that already forbids storing says all that ours would.
  else if (name !== "Cache-Control" || value !== "no-store" || !hasToken(target.get(name), "no-store")) {
    target.set(name, value)
  }
}

/** RFC 6265 wants no two `Set-Cookie` lines of one name in a response; which one a browser keeps is not certain. */
function removeCookie(target: HeaderTarget, name: string): void {
  const lines = target.getSetCookie()
  const others = lines.filter((line) => cookieName(line) !== name)
  if (others.length === lines.length) return
  target.delete("Set-Cookie")
  for (const line of others) target.append("Set-Cookie", line)
}

function cookieName(line: string): string {
  return (line.split(/[=;]/, 1)[0] as string).trim()
}

function mergeVary(target: HeaderTarget, value: string): void {
  const present = target.get("Vary")
  if (isBlank(present)) target.set("Vary", value)
  else if (!hasToken(present, "*") && !hasToken(present, value)) target.set("Vary", `${present}, ${value}`)
}

function hasToken(list: string | null | undefined, token: string): boolean {
  return (list ?? "").split(",").some((member) => member.trim().toLowerCase() === token.toLowerCase())
}

function isBlank(value: string | null | undefined): value is "" | null | undefined {
  return value === undefined || value === null || value.trim() === ""
}
