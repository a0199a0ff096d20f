/** What proxies say of the client's request, which they hand on as one of their own. */

/** Request headers by which a request is known to have come through a proxy, in lower case. */
export const PROXY_HEADERS: readonly string[] = [
  "forwarded",
  "via",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
]

/** The protocol or host that the client asked for: of `X-Forwarded-Proto` or `-Host`, or else `Forwarded` (RFC 7239), the first hop's. Only for requests from a proxy that sets them. */
export function forwarded(
  what: "proto" | "host",
  header: (name: string) => string | null | undefined,
): string | undefined {
  return firstOf(header(`x-forwarded-${what}`)) ?? parameterOf(header("forwarded"), what)
}

/** Whether a protocol's name is one of an encrypted connection. */
export function isEncrypted(protocol: string): boolean {
  return /^(?:https|wss):?$/i.test(protocol)
}

/** The first member of a list, if it has one. */
function firstOf(list: string | null | undefined): string | undefined {
  const member = list?.split(",", 1)[0]?.trim()
  return member === "" ? undefined : member
}

/** A parameter of the first element of a `Forwarded` header. */
function parameterOf(header: string | null | undefined, name: string): string | undefined {
  const element = /^(?:"(?:[^"\\]|\\.)*"|[^,"])*/.exec(header ?? "")?.[0] ?? ""
  for (const [, key, quoted, token] of element.matchAll(
    /(?<![\w-])([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))/g,
  )) {
    if (key?.toLowerCase() === name) return quoted?.replaceAll(/\\(.)/g, "$1") || token || undefined
  }
  return undefined
}
