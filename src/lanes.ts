/** Runs tasks of the same name one after the other, and tasks of different names side by side. */
export class Lanes {
  readonly #tails = new Map<string, Promise<void>>()

  async run<T>(name: string, task: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name)
    const { promise: tail, resolve: leave } = Promise.withResolvers<void>()
    this.#tails.set(name, tail)
    await before
    try {
      return await task()
    } finally {
      if (this.#tails.get(name) === tail) this.#tails.delete(name)
      leave()
    }
  }
}
