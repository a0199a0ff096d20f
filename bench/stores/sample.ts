import { randomBytes } from "node:crypto"
import type { JsonValue } from "coatcheck"

export type State = Readonly<Record<string, JsonValue>>

/** The state of each session: about 1 KB of JSON, several keys, one of them an array of objects. */
export const STATE: State = {
  theme: "dark",
  locale: "en-GB",
  visits: 1,
  flash: ["Your coat has been checked in."],
  returnTo: "/account/orders?page=2",
  cart: Array.from({ length: 12 }, (_, item) => ({
    item,
    name: `coat number ${item}`,
    size: "XL",
    price: 119.5,
  })),
}

export const SESSIONS_PER_USER = 3
/** For how long a session may idle, in milliseconds; nothing expires while it is measured. */
export const IDLE_TTL: number = 30 * 60_000
export const ABSOLUTE_TTL: number = 30 * 24 * 60 * 60_000

/** As long and as random as those of a session. */
export function newId(): string {
  return randomBytes(32).toString("base64url")
}

/** The sessions in the tables, under the same ids for all contenders. */
export class Population {
  readonly ids: readonly string[]

  constructor(size: number) {
    this.ids = Array.from({ length: size }, newId)
  }

  userOf(index: number): string {
    return `user-${Math.floor(index / SESSIONS_PER_USER)}`
  }

  anyId(): string {
    return this.ids[Math.floor(Math.random() * this.ids.length)] as string
  }

  /** A user with all their sessions; the last one may have fewer. */
  anyUser(): string {
    return this.userOf(Math.floor(Math.random() * (this.ids.length - SESSIONS_PER_USER)))
  }
}
