import { SignInRequiredError } from "./errors.ts"
import { type Duration, parseDuration, shown } from "./expiry.ts"

/** What the guards use of a session. */
export interface GuardedSession {
  userId(): Promise<string | null>
  signedInFor(): Promise<number | null>
  load(options?: { readonly fresh?: boolean | undefined }): Promise<unknown>
}

export interface FreshOptions {
  /** How long ago the sign-in may be: `"5m"`, or milliseconds. */
  readonly within: Duration
}

/** @returns the id of the user that is signed in. @throws {SignInRequiredError} if nobody is. */
export async function requireUser(session: Pick<GuardedSession, "userId">): Promise<string> {
  const user = await session.userId()
  if (user !== null) return user
  throw new SignInRequiredError("Nobody is signed in.", { reason: "anonymous" })
}

/**
 * For what asks for the password again, such as changing it (OWASP ASVS 7.5, re-authentication). Asks the store's authority, not a cache.
 * @returns the id of the user that has signed in that recently.
 * @throws {SignInRequiredError} if nobody has.
 */
export async function requireFresh(session: GuardedSession, { within }: FreshOptions): Promise<string> {
  const longest = freshness(within)
  await session.load({ fresh: true })
  const user = await requireUser(session)
  const age = (await session.signedInFor()) ?? Number.POSITIVE_INFINITY
  if (age <= longest) return user
  throw new SignInRequiredError("Who is signed in must sign in again for this.", { reason: "stale" })
}

/** @throws {TypeError} if it is no duration. */
export function freshness(within: Duration): number {
  const longest = parseDuration(within)
  if (longest !== undefined) return longest
  throw new TypeError(
    `requireFresh: within is a duration such as "5m" or milliseconds, got ${shown(within)}.`,
  )
}
