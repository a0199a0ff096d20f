/**
 * The message that the proxy has handed to a page, in the header `x-notice`. Where the proxy is left out, anybody may send one:
 * never believe such a header who somebody is, and expect any text in it.
 */
export function noticeOf(header: string | null): string | undefined {
  if (header === null) return undefined
  try {
    return decodeURIComponent(header)
  } catch {
    return undefined
  }
}
