import type { AnyState, StateView } from "./api.ts"
import { SessionEndedError, VersionConflictError } from "./errors.ts"
import type { SessionId } from "./id.ts"
import { FRESH, load } from "./loading.ts"
import { commit } from "./saving.ts"
import type { Standing } from "./standing.ts"
import { type Changes, Overlay } from "./state.ts"
import { View, type ViewSource } from "./view.ts"

/** Runs a function on the newest state and commits what it made of it; once more after each conflict, for as long as `transactTimeout`. */
export async function transact<T>(
  it: Standing,
  change: (state: StateView<AnyState>) => T,
  giveUpAt: number,
): Promise<T> {
  if (performance.now() > giveUpAt) throw outOfTime(it)
  // A record loaded earlier in this request may be old: good enough to try with, not to trust without a commit.
  let isNewest = it.knowledge !== "present" || !it.isFresh
  for (let attempt = 0; ; attempt++) {
    await load(it, FRESH)
    it.assertAlive()
    if (it.invalidated) throw new SessionEndedError("The session was invalidated by this request.")
    const changes = it.server.changes.copy()
    const version = it.facts?.version
    // Without a version someone else has written since: what is known is not the newest.
    if (it.knowledge !== "present" || version !== undefined) {
      const result = runTransaction(it, change, changes)
      if (it.serverWish(changes) !== "none" || it.rotates) {
        if (await commitTransaction(it, changes, version, attempt, giveUpAt)) return result
      } else if (isNewest) {
        it.server = new Overlay(it.server.base, changes)
        return result
      }
    }
    if (it.knowledge === "present") it.knowledge = "unknown"
    isNewest = true
  }
}

/** @returns whether it is done; if not, once more on the newest state. */
async function commitTransaction(
  it: Standing,
  changes: Changes,
  ifVersion: number | undefined,
  attempt: number,
  giveUpAt: number,
): Promise<boolean> {
  try {
    const plan = await commit(it, { final: false, changes, ifVersion })
    it.assertAlive()
    // A session that may not be made stays as it is wanted, until the end of the request.
    if (plan?.store === "none") it.server = new Overlay(it.server.base, changes)
    return plan !== undefined
  } catch (error) {
    if (!(error instanceof VersionConflictError)) throw error
    const wait = Math.random() * Math.min(100, 2 ** attempt)
    if (performance.now() + wait > giveUpAt) throw outOfTime(it, error)
    await new Promise((resolve) => setTimeout(resolve, wait))
    return false
  }
}

function runTransaction<T>(it: Standing, change: (state: StateView<AnyState>) => T, changes: Changes): T {
  const overlay = new Overlay(it.server.base, changes)
  let open = true
  const source: ViewSource = {
    readable: () => overlay,
    write: (write) => {
      if (!open) throw new TypeError("The state that transact hands out is used after its function returned.")
      write(overlay)
    },
  }
  it.transacting = true
  try {
    const result = change(new View(source, it.core.config.server, it.core.config.maxValueBytes))
    if (isThenable(result)) {
      void Promise.resolve(result).then(ignore, ignore)
      throw new TypeError("The function given to transact must be synchronous: it may run several times.")
    }
    return result
  } finally {
    open = false
    it.transacting = false
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function"
}

function ignore(): void {}

function outOfTime(it: Standing, cause?: unknown): VersionConflictError {
  return new VersionConflictError("The session was changed by others for as long as transactTimeout.", {
    id: it.id as SessionId,
    cause,
  })
}
