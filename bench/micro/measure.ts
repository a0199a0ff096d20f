/** The median time of one run, over the rounds. */
export interface Measurement {
  readonly microseconds: number
}

interface Subject {
  readonly name: string
  readonly run: () => unknown
}

const ROUNDS = 15
const ROUND_MS = 40

/** Measures the subjects in turn, round after round, so that a noisy moment hits all alike. */
export async function measure(subjects: readonly Subject[]): Promise<Map<string, Measurement>> {
  const batches = new Map<string, number>()
  for (const subject of subjects) batches.set(subject.name, await batchSize(subject))
  const times = new Map<string, number[]>(subjects.map(({ name }) => [name, []]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const subject of subjects) {
      times.get(subject.name)?.push(await timeOf(subject, batches.get(subject.name) ?? 1))
    }
  }
  return new Map(subjects.map(({ name }) => [name, { microseconds: median(times.get(name) ?? []) }]))
}

/** How many runs fill a round; finding out warms the code up. */
async function batchSize(subject: Subject): Promise<number> {
  let size = 64
  for (;;) {
    const total = (await timeOf(subject, size)) * size
    if (total > ROUND_MS * 1000) return size
    size *= 2
  }
}

/** Microseconds of one run. A subject that gives a promise is awaited, as its user would. */
async function timeOf({ run }: Subject, runs: number): Promise<number> {
  const isAsync = run() instanceof Promise
  const start = performance.now()
  if (isAsync) for (let index = 0; index < runs; index++) await run()
  else for (let index = 0; index < runs; index++) run()
  return ((performance.now() - start) * 1000) / runs
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
