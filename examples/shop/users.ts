import { randomBytes, scrypt, timingSafeEqual, type BinaryLike, type ScryptOptions } from "node:crypto"
import { promisify } from "node:util"

/** The accounts of the shop, for as long as the process lives. */
const users = new Map<string, { readonly salt: Buffer; readonly hash: Buffer }>()

const derive = promisify<BinaryLike, BinaryLike, number, ScryptOptions, Buffer>(scrypt)
const COST: ScryptOptions = { N: 2 ** 15, r: 8, p: 3, maxmem: 2 ** 26 }

/** Whether the password fits. A name that nobody has gets an account with it. */
export async function checkPassword(name: string, password: string): Promise<boolean> {
  const user = users.get(name)
  if (user === undefined) {
    await changePassword(name, password)
    return true
  }
  return timingSafeEqual(await derive(password, user.salt, 32, COST), user.hash)
}

export async function changePassword(name: string, password: string): Promise<void> {
  const salt = randomBytes(16)
  users.set(name, { salt, hash: await derive(password, salt, 32, COST) })
}
