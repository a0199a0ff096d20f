/** What can stand in a queue of deadlines. */
export interface Due {
  readonly deadline: number
  /** Where it stands; the queue's own business. */
  place: number
}

/** Knows which of many entries is over first: a binary heap, from which any entry can be taken. */
export class DeadlineQueue<Entry extends Due> {
  readonly #heap: Entry[] = []

  first(): Entry | undefined {
    return this.#heap[0]
  }

  add(entry: Entry): void {
    this.#rise(entry, this.#heap.length)
  }

  remove(entry: Entry): void {
    const last = this.#heap.pop()
    if (last === undefined || last === entry) return
    // The last one takes the empty place, and may belong above or below it.
    this.#sink(last, entry.place)
    this.#rise(last, last.place)
  }

  #rise(entry: Entry, from: number): void {
    let place = from
    while (place > 0) {
      const parent = this.#heap[(place - 1) >> 1] as Entry
      if (parent.deadline <= entry.deadline) break
      const above = parent.place
      this.#set(place, parent)
      place = above
    }
    this.#set(place, entry)
  }

  #sink(entry: Entry, from: number): void {
    let place = from
    for (;;) {
      const left = this.#heap[2 * place + 1]
      const right = this.#heap[2 * place + 2]
      const sooner =
        right !== undefined && left !== undefined && right.deadline < left.deadline ? right : left
      if (sooner === undefined || sooner.deadline >= entry.deadline) break
      const below = sooner.place
      this.#set(place, sooner)
      place = below
    }
    this.#set(place, entry)
  }

  #set(place: number, entry: Entry): void {
    this.#heap[place] = entry
    entry.place = place
  }
}
