import type { SessionId } from "../store.ts"
import type { Effort } from "./shared-cache-effort.ts"

/**
 * What a server tells the others after a write: that a session has ended or moved, that it has been changed and now has this version, or that
 * sessions of a user have ended.
 */
export type InvalidationMessage =
  | { readonly id: SessionId; readonly version?: number | undefined }
  | { readonly userId: string }

/**
 * A way for servers to tell each other what not to read from their caches any more. It may lose messages, as it does while it is disconnected:
 * then only the bound on staleness holds. A server may hear its own messages.
 */
export interface Invalidation {
  publish(messages: readonly InvalidationMessage[]): PromiseLike<unknown> | void
  /** @returns what ends the subscription. */
  subscribe(listener: (message: InvalidationMessage) => void): PromiseLike<Unsubscribe> | Unsubscribe
}

type Unsubscribe = () => PromiseLike<unknown> | void

/** Milliseconds after which a subscription that failed is tried again, when there is a load. */
const RETRY = 1000

/** One store's end of an invalidation. It subscribes when it is first opened, for a store starts nothing by itself. */
export class Subscription {
  readonly #invalidation: Invalidation
  readonly #effort: Effort
  readonly #listener: (message: InvalidationMessage) => void
  #subscribed: Promise<Unsubscribe | undefined> | undefined
  #retriesAt = -Infinity

  constructor(invalidation: Invalidation, effort: Effort, listener: (message: InvalidationMessage) => void) {
    this.#invalidation = invalidation
    this.#effort = effort
    this.#listener = listener
  }

  open(): void {
    if (this.#subscribed !== undefined || performance.now() < this.#retriesAt) return
    this.#subscribed = this.#subscribe()
  }

  /** What cannot be told is not tried again: the others find out when their entries are too old. */
  async publish(messages: readonly InvalidationMessage[]): Promise<void> {
    await this.#effort.try("publish", () => this.#invalidation.publish(messages), nothing)
  }

  /** It is not opened again. */
  async close(): Promise<void> {
    const subscribed = this.#subscribed
    this.#retriesAt = Infinity
    this.#subscribed = undefined
    await this.#effort.try("unsubscribe", async () => (await subscribed)?.(), nothing)
  }

  /** However long it takes: there is nobody who waits for it. */
  async #subscribe(): Promise<Unsubscribe | undefined> {
    try {
      return await this.#invalidation.subscribe(this.#listener)
    } catch (error) {
      this.#effort.report(error)
      // Not before `open` has taken note of this attempt.
      await Promise.resolve()
      this.#subscribed = undefined
      this.#retriesAt = Math.max(this.#retriesAt, performance.now() + RETRY)
      return undefined
    }
  }
}

function nothing(): undefined {}
