/** What a user can do about a failure that every server knows. `TABLE` stands for the quoted name. */

export const POOL_IS_FULL: string =
  "the pool had no free connection in time; raise its size, or look for connections that are not given back"
export const CLIENT_HAS_ENDED: string = "the client has been ended; give the store one that is open"
export const CONNECTION_LOST: string =
  "the connection was lost, so it is not known whether this was carried out; the next request connects anew"
export const UNREACHABLE: string =
  "the server cannot be reached; see that it runs and that host and port are right"
export const READ_ONLY: string =
  "the server is read-only, as a replica is; sessions are written, so connect to the primary"
export const REFUSED: string = "the server refused the user or the password"
export const OTHER_LAYOUT: string =
  "the table TABLE has an older layout, or another one; call migrate(), or run migrationSql()"

/** For errors that have no code: the drivers' own. */
export function adviceForMessage(
  error: unknown,
  messages: readonly (readonly [pattern: RegExp, advice: string])[],
): string | undefined {
  const message = error instanceof Error ? error.message : ""
  return messages.find(([pattern]) => pattern.test(message))?.[1]
}
