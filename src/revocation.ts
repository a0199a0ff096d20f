import type { Revocation, UserId } from "./api.ts"
import type { SessionId } from "./store.ts"
import { userKey } from "./user.ts"

/** Whether a session is one of those that a listener of `onRevoked` is told of. */
export function isRevoked(
  revocation: Revocation,
  session: { readonly id: SessionId | undefined; readonly userId: UserId | null | undefined },
): boolean {
  const { id, userId } = session
  if (revocation.id !== undefined) return revocation.id === id
  if (userId === null || userId === undefined || revocation.userId !== userKey(userId)) return false
  return revocation.except === undefined || revocation.except !== id
}
