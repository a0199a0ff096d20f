import type { CookieSettings } from "./attributes.ts"
import { readCookies } from "./header.ts"
import type { KeyRing } from "./key-ring.ts"
import type { OpenedSeal } from "./seal.ts"

/** What a request's `Cookie` header says. */
export interface IncomingCookies {
  /** The seal of the first cookie that opens; undefined for an anonymous request. */
  readonly opened: OpenedSeal | undefined
  /** How many cookies with our name came, counted up to four. */
  readonly presented: number
  /** Whether two cookies opened with different ids. It cannot be told which is the browser's own, so none counts. */
  readonly ambiguous: boolean
}

/** Opens the cookies of our name, of which a browser sends several when their paths or domains differ. */
export function openCookies(
  ring: KeyRing,
  settings: CookieSettings,
  header: string | readonly string[] | null | undefined,
  now: number,
): IncomingCookies {
  const values = readCookies(header, settings.name)
  let opened: OpenedSeal | undefined
  for (const value of values) {
    const seal = ring.open(settings.name, value, now)
    if (seal === undefined) continue
    if (opened === undefined) {
      opened = seal
    } else if (seal.id !== opened.id) {
      return { opened: undefined, presented: values.length, ambiguous: true }
    }
  }
  return { opened, presented: values.length, ambiguous: false }
}
