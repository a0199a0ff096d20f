import { randomBytes, scrypt, timingSafeEqual, type BinaryLike, type ScryptOptions } from "node:crypto"
import { promisify } from "node:util"
import { Injectable } from "@nestjs/common"

const derive = promisify<BinaryLike, BinaryLike, number, ScryptOptions, Buffer>(scrypt)
const COST: ScryptOptions = { N: 2 ** 15, r: 8, p: 3, maxmem: 2 ** 26 }

/** The accounts of the shop, for as long as the process lives. */
@Injectable()
export class UsersService {
  readonly #users = new Map<string, { readonly salt: Buffer; readonly hash: Buffer }>()

  /** Whether the password fits. A name that nobody has gets an account with it. */
  async checkPassword(name: string, password: string): Promise<boolean> {
    const user = this.#users.get(name)
    if (user === undefined) {
      await this.changePassword(name, password)
      return true
    }
    return timingSafeEqual(await derive(password, user.salt, 32, COST), user.hash)
  }

  async changePassword(name: string, password: string): Promise<void> {
    const salt = randomBytes(16)
    this.#users.set(name, { salt, hash: await derive(password, salt, 32, COST) })
  }
}
