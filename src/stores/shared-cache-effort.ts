import { StoreError } from "../errors.ts"

/** Does what may fail or hang without anyone being worse off than if it had not been tried. */
export class Effort {
  readonly #timeout: number
  readonly #onError: ((error: unknown) => void) | undefined
  #failures = 0

  /** @param timeout how many milliseconds anything is waited for */
  constructor(timeout: number, onError: ((error: unknown) => void) | undefined) {
    this.#timeout = timeout
    this.#onError = onError
  }

  /** How many tries have failed. */
  get failures(): number {
    return this.#failures
  }

  /** @returns at once what is there at once; what `otherwise` gives if the task fails or takes too long. */
  try<T, Otherwise>(
    name: string,
    task: () => PromiseLike<T> | T,
    otherwise: () => Otherwise,
  ): Promise<T | Otherwise> | T | Otherwise {
    try {
      const answer = task()
      return isThenable(answer) ? this.#inTime(name, answer, otherwise) : answer
    } catch (error) {
      this.report(error)
      return otherwise()
    }
  }

  async #inTime<T, Otherwise>(
    name: string,
    answer: PromiseLike<T>,
    otherwise: () => Otherwise,
  ): Promise<T | Otherwise> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(this.#late(name)), this.#timeout)
    })
    try {
      return await Promise.race([answer, late])
    } catch (error) {
      this.report(error)
      return otherwise()
    } finally {
      if (timer !== undefined) clearTimeout(timer)
    }
  }

  report(error: unknown): void {
    this.#failures += 1
    try {
      this.#onError?.(error)
    } catch {
      // Whoever listens is no part of the request.
    }
  }

  #late(name: string): StoreError {
    const message = `A cached store did not wait for ${name} longer than ${this.#timeout} ms (cacheTimeout).`
    return new StoreError(message, { operation: name, store: "cache" })
  }
}

function isThenable<T>(value: PromiseLike<T> | T): value is PromiseLike<T> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function"
}
