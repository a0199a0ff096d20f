import type { UserId } from "./api.ts"
import { kindOf } from "./json.ts"

const MAX_LENGTH = 256

/** A user id as the store keeps it. @throws {TypeError} for what would not name a user reliably. */
export function userKey(userId: UserId): string {
  if (typeof userId === "bigint") return String(userId)
  if (typeof userId === "number" && Number.isSafeInteger(userId) && !Object.is(userId, -0))
    return String(userId)
  if (typeof userId === "string" && userId !== "" && userId.length <= MAX_LENGTH && isSound(userId))
    return userId
  throw new TypeError(
    `A user id is a string of 1 to ${MAX_LENGTH} well-formed characters without NUL, a safe integer or a bigint; got ${kindOf(userId)}.`,
  )
}

/** A device label as the store keeps it: cut, for it often comes from a client. */
export function labelText(label: string | undefined): string | null {
  if (label === undefined) return null
  if (typeof label !== "string") throw new TypeError(`A label is a string, got ${kindOf(label)}.`)
  // After the cut, for it may have halved a surrogate pair.
  return label.slice(0, MAX_LENGTH).toWellFormed().replaceAll("\0", "\ufffd")
}

function isSound(text: string): boolean {
  return text.isWellFormed() && !text.includes("\0")
}
