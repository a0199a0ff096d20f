import { type Clock, wallClock } from "./clocks.ts"

/** One way of doing what a trial is about. */
export interface Subject {
  readonly name: string
  /** @param index counts the runs of a slice, from 0 */
  readonly run: (index: number) => Promise<unknown>
  /** Done before a slice, unmeasured. */
  readonly prepare?: (() => Promise<unknown>) | undefined
}

/** What is done in several ways, to be compared. */
export interface Trial {
  readonly name: string
  readonly subjects: readonly Subject[]
  /** How many of the runs are enough, for one whose subjects may take very long. */
  readonly share?: number
}

export interface Conditions {
  /** How many runs are under way at any time. */
  readonly concurrency: number
  readonly rounds: number
  /** How long one round of all trials is to take. */
  readonly roundMs: number
  /** Called before each round, unmeasured. */
  readonly beforeRound: () => Promise<void>
  readonly clock: Clock
}

const WARM_UP_ROUNDS = 2
const WARM_UP_RUNS = 150
const WARM_UP_CONCURRENCY = 32

/**
 * Runs every subject in every round, those of one trial one after the other, and in another order each time: a noisy moment hits all alike. All
 * of a trial run equally often, and usually as often as those of the others, so that a trial can go on with what the one before has made.
 */
export async function measure(trials: readonly Trial[], conditions: Conditions): Promise<Results> {
  const { concurrency, rounds, roundMs, beforeRound, clock } = conditions
  const rehearsal = new Results()
  for (let round = 0; round < WARM_UP_ROUNDS; round++) {
    await beforeRound()
    // Wide at first, so that every connection is open and has prepared every statement.
    await runRound(
      trials,
      round,
      WARM_UP_RUNS,
      round === 0 ? WARM_UP_CONCURRENCY : concurrency,
      rehearsal,
      wallClock,
    )
  }
  const runs = Math.max(2 * concurrency, Math.round((roundMs * 1000) / rehearsal.lastTotal()))
  const results = new Results()
  for (let round = 0; round < rounds; round++) {
    await beforeRound()
    await runRound(trials, round, runs, concurrency, results, clock)
  }
  return results
}

async function runRound(
  trials: readonly Trial[],
  round: number,
  runs: number,
  concurrency: number,
  results: Results,
  clock: Clock,
): Promise<void> {
  for (const { name, subjects, share = 1 } of trials) {
    for (const offset of subjects.keys()) {
      const subject = subjects[(round + offset) % subjects.length] as Subject
      results.add(
        name,
        subject.name,
        await timeOf(subject, Math.ceil(runs * share), concurrency, clock),
        share,
      )
    }
  }
}

/** Microseconds by the clock from one completed run to the next, on average. */
async function timeOf(
  { run, prepare }: Subject,
  runs: number,
  concurrency: number,
  clock: Clock,
): Promise<number> {
  await prepare?.()
  let next = 0
  const work = async (): Promise<void> => {
    while (next < runs) await run(next++)
  }
  const start = clock()
  await Promise.all(Array.from({ length: concurrency }, work))
  return (clock() - start) / runs
}

/** The times of all rounds. */
export class Results {
  readonly #times = new Map<string, number[]>()
  readonly #shares = new Map<string, number>()

  /** @param share of the runs that it has had */
  add(trial: string, subject: string, time: number, share: number): void {
    const key = `${trial} ${subject}`
    this.#shares.set(key, share)
    const times = this.#times.get(key)
    if (times === undefined) this.#times.set(key, [time])
    else times.push(time)
  }

  /** Microseconds; undefined if there is no such subject. */
  timeOf(trial: string, subject: string): number | undefined {
    const times = this.#times.get(`${trial} ${subject}`)
    return times && median(times)
  }

  /** The median of the ratios of each round, which a change of the machine's pace between rounds does not move. */
  ratioOf(trial: string, subject: string, base: string): number | undefined {
    const times = this.#times.get(`${trial} ${subject}`)
    const baseTimes = this.#times.get(`${trial} ${base}`)
    if (times === undefined || baseTimes === undefined) return undefined
    return median(times.map((time, round) => time / (baseTimes[round] as number)))
  }

  /** What running everything once took in the last round, in microseconds; what has a share of the runs counts as much. */
  lastTotal(): number {
    let total = 0
    for (const [key, times] of this.#times)
      total += (times.at(-1) as number) * (this.#shares.get(key) as number)
    return total
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}
