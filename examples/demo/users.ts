import { randomBytes, scrypt, timingSafeEqual, type BinaryLike, type ScryptOptions } from "node:crypto"
import type { DatabaseSync } from "node:sqlite"
import { promisify } from "node:util"

export interface User {
  readonly id: number
  readonly name: string
}

interface UserRow extends User {
  readonly salt: Uint8Array
  readonly hash: Uint8Array
}

/** The parameters of scrypt. */
export type PasswordCost = ScryptOptions

/** The accounts of the shop, in the database that also holds its sessions. */
export interface Users {
  /** @returns undefined if the name is taken. */
  create(name: string, password: string): Promise<User | undefined>
  /** @returns the user if name and password fit. */
  verify(name: string, password: string): Promise<User | undefined>
  changePassword(id: number, password: string): Promise<void>
  find(id: number): User | undefined
}

// One of the settings the OWASP password storage cheat sheet recommends: 32 MB of memory and a fifth of a second.
const COST: PasswordCost = { N: 2 ** 15, r: 8, p: 3, maxmem: 2 ** 26 }
const HASH_BYTES = 32

const derive = promisify<BinaryLike, BinaryLike, number, ScryptOptions, Buffer>(scrypt)

/** Makes the table unless it is there. */
export function createUsers(database: DatabaseSync, cost: PasswordCost = COST): Users {
  database.exec(
    `CREATE TABLE IF NOT EXISTS users (
       id INTEGER PRIMARY KEY,
       name TEXT NOT NULL UNIQUE COLLATE NOCASE,
       salt BLOB NOT NULL,
       hash BLOB NOT NULL
     ) STRICT`,
  )
  const insert = database.prepare(
    "INSERT INTO users (name, salt, hash) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
  )
  const update = database.prepare("UPDATE users SET salt = ?, hash = ? WHERE id = ?")
  const byName = database.prepare("SELECT id, name, salt, hash FROM users WHERE name = ?")
  const byId = database.prepare("SELECT id, name FROM users WHERE id = ?")
  const nobody = { salt: randomBytes(16), hash: randomBytes(HASH_BYTES) }

  return {
    async create(name, password) {
      const { salt, hash } = await hashOf(password, cost)
      const { changes, lastInsertRowid } = insert.run(name, salt, hash)
      return changes === 0 ? undefined : { id: Number(lastInsertRowid), name }
    },

    async verify(name, password) {
      const row = byName.get(name) as UserRow | undefined
      // An unknown name costs as much as a known one, so that the time an answer takes does not tell who has an account.
      const { salt, hash } = row ?? nobody
      const matches = timingSafeEqual(await derive(password, salt, HASH_BYTES, cost), hash)
      return row !== undefined && matches ? { id: row.id, name: row.name } : undefined
    },

    async changePassword(id, password) {
      const { salt, hash } = await hashOf(password, cost)
      update.run(salt, hash, id)
    },

    find(id) {
      return byId.get(id) as User | undefined
    },
  }
}

async function hashOf(password: string, cost: PasswordCost): Promise<{ salt: Buffer; hash: Buffer }> {
  const salt = randomBytes(16)
  return { salt, hash: await derive(password, salt, HASH_BYTES, cost) }
}
