import {
  DuplicateIdError,
  type Gone,
  SessionError,
  StoreError,
  UnknownIdError,
  VersionConflictError,
} from "../errors.ts"
import type { SessionId, StoreCapabilities } from "../store.ts"
import { type Connection, type Reply, textOf } from "./redis-clients.ts"
import { adviceFor, isTransient } from "./redis-failures.ts"
import { type Found, goneOf, STORE } from "./redis-records.ts"
import type { Script } from "./redis-scripts.ts"
import { corrupt } from "./shared-rows.ts"

/** What the two Redis stores share: how a script is called, and what its reply means. */

export const CAPABILITIES: StoreCapabilities = Object.freeze({
  merge: true,
  compareAndSet: true,
  promptRevocation: true,
  userIndex: true,
  atomicRotation: true,
  clock: "store",
})

/** How often is tried again what the engine has refused for the moment: for about a second. */
const MAX_TRIES = 20
const LONGEST_WAIT = 100

export class Caller {
  readonly connection: Connection
  readonly prefix: string

  constructor(connection: Connection, prefix: string) {
    this.connection = connection
    this.prefix = prefix
  }

  /** The key of a session; of nothing, what all keys begin with. */
  key(id: SessionId): string {
    return this.prefix + id
  }

  /** @param user JSON text of a user's name */
  index(user: string): string {
    return `${this.prefix}user:${user}`
  }

  /** The name of a call, if the client may send it twice. */
  name(): string {
    return this.connection.sendsAgain ? token() : ""
  }

  run(operation: string, script: Script, keys: readonly string[], values: readonly string[]): Promise<Reply> {
    return this.attempt(operation, () => this.connection.run(script, keys, values))
  }

  /** Tries again what the engine has refused for the moment, and says what can be done about other failures. */
  async attempt<T>(operation: string, task: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await task()
      } catch (error) {
        if (error instanceof SessionError) throw error
        if (isTransient(error) && tries < MAX_TRIES) {
          await pause(Math.random() * Math.min(2 ** tries, LONGEST_WAIT))
          continue
        }
        const advice = adviceFor(error)
        throw advice === undefined ? error : failure(operation, advice, error)
      }
    }
  }
}

/** Eight letters and digits that no other call of the last minute has. */
export function token(): string {
  return Math.random().toString(36).slice(2, 10).padEnd(8, "0")
}

/** What a script found where no live session was: `["-", now, text, …]`. */
export function foundIn(reply: Reply): Found {
  return { now: Number(reply[1]), text: textOf(reply[2]) }
}

export function word(reply: Reply): string {
  return textOf(reply[0])
}

export function isDone(reply: Reply): boolean {
  return word(reply) === "+"
}

/** @returns the reply, if it says that it is done. */
export function done(reply: Reply, id: SessionId, newId: SessionId = id): Reply {
  switch (word(reply)) {
    case "+":
      return reply
    case "v":
      throw new VersionConflictError("The record has changed since it was read.", { id })
    case "d":
      throw new DuplicateIdError({ id: newId })
    case "c":
      throw corrupt(STORE, id, "A stored session is not as coatcheck writes it.")
    default:
      throw unknown(id, foundIn(reply))
  }
}

export function unknown(id: SessionId, found: Found): UnknownIdError {
  const gone: Gone | undefined = goneOf(id, found)
  return new UnknownIdError({ id, gone })
}

export function failure(operation: string, what: string, cause?: unknown): StoreError {
  return new StoreError(`The session store ${STORE}: ${operation} failed: ${what}.`, {
    operation,
    store: STORE,
    ...(cause === undefined ? undefined : { cause }),
  })
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
