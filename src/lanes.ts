const LONGEST_TIMER = 2 ** 31 - 1

/** Runs tasks of the same name one after the other, and tasks of different names side by side. */
export class Lanes {
  readonly #tails = new Map<string, Promise<void>>()

  /**
   * @param patience how many milliseconds a task waits for those before it. A Worker whose client hangs up stops where it is: it never
   * ends its task, and never fails.
   */
  async run<T>(name: string, task: () => Promise<T>, patience: number): Promise<T> {
    const before = this.#tails.get(name)
    const { promise: tail, resolve: leave } = Promise.withResolvers<void>()
    this.#tails.set(name, tail)
    if (before !== undefined) await atMost(patience, before)
    try {
      return await task()
    } finally {
      if (this.#tails.get(name) === tail) this.#tails.delete(name)
      leave()
    }
  }
}

async function atMost(milliseconds: number, promise: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.min(milliseconds, LONGEST_TIMER))
  })
  await Promise.race([promise, over])
  clearTimeout(timer)
}
