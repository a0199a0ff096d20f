import { setTimeout as sleep } from "node:timers/promises"
import type { RedisClient } from "coatcheck/redis"

/** A client of a process that can die, or be held up, between two of its commands. */
export interface Mortal {
  readonly client: RedisClient
  /** How many commands it has sent since it was made. */
  readonly sent: () => number
  /** Sends so many commands more; every later one fails. */
  dieAfter(commands: number): void
  /** Sends so many commands more; later ones wait for `resume`. Resolves once one waits. */
  holdAfter(commands: number): Promise<void>
  resume(): void
  /** Waits so many milliseconds before each command. */
  slowDown(milliseconds: number): void
}

const COMMANDS = new Set<PropertyKey>(["evalSha", "eval", "call", "get"])

/** What a dead client says: nothing that a driver says. */
export class Died extends Error {}

export function mortal(client: RedisClient): Mortal {
  let sent = 0
  let left = Infinity
  let pause = 0
  let held: PromiseWithResolvers<void> | undefined
  let reached: (() => void) | undefined
  async function step(send: () => Promise<unknown>): Promise<unknown> {
    if (left <= 0) {
      if (held === undefined) throw new Died("The process has ended.")
      reached?.()
      await held.promise
    }
    left -= 1
    sent += 1
    if (pause > 0) await sleep(pause)
    return send()
  }
  const wrapped = new Proxy(client, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== "function") return member
      const method = member.bind(target) as (...input: unknown[]) => Promise<unknown>
      return COMMANDS.has(name) ? (...input: unknown[]) => step(() => method(...input)) : method
    },
  })
  return {
    client: wrapped,
    sent: () => sent,
    dieAfter: (commands) => {
      left = commands
      held = undefined
    },
    holdAfter: (commands) => {
      left = commands
      held = Promise.withResolvers<void>()
      return new Promise((resolve) => {
        reached = resolve
      })
    },
    resume: () => {
      left = Infinity
      held?.resolve()
    },
    slowDown: (milliseconds) => {
      pause = milliseconds
    },
  }
}
