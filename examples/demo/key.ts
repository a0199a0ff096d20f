import { randomBytes } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"

/**
 * The key that seals cookies, from a file that is made at the first start and that only you may read: with a key made anew at each
 * start, every restart would sign everybody out. On a real server, keep it where you keep your other secrets.
 */
export function sessionKey(file: string): string {
  try {
    // `wx`: of two servers that start at once, one makes the key and both use it.
    writeFileSync(file, randomBytes(32).toString("base64url"), { mode: 0o600, flag: "wx" })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
  }
  return readFileSync(file, "utf8")
}
