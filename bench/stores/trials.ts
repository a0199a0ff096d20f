import type { Contender } from "./contender.ts"
import type { Trial } from "./measure.ts"
import { newId, type Population } from "./sample.ts"
import type { SqlStage, Stage } from "./stage.ts"

export const OPERATIONS = [
  "load",
  "update",
  "updateTtl",
  "create",
  "changeId",
  "delete",
  "listByUser",
] as const

/** What is measured only with many at once. */
export const UNPREPARED = "load, prepare: false"
export const DISTINCT = "update, any session"
export const CONTENDED = "update, all the same session"

export function nameOf({ who, driver }: Pick<Contender, "who" | "driver">): string {
  return `${who} ${driver}`
}

/** Ids for one round: what it creates it moves, and what it has moved it deletes, so that the tables stay as large as they are. */
export class Guests {
  readonly #ids = new Map<string, string[]>()

  renew(): void {
    this.#ids.clear()
  }

  /** Each contender has guests of its own, for some share a table. */
  first(by: Contender, index: number): string {
    return this.#id(`first ${nameOf(by)}`, index)
  }

  moved(by: Contender, index: number): string {
    return this.#id(`moved ${nameOf(by)}`, index)
  }

  #id(kind: string, index: number): string {
    let ids = this.#ids.get(kind)
    if (ids === undefined) this.#ids.set(kind, (ids = []))
    return (ids[index] ??= newId())
  }
}

export function operationTrials(stage: Stage, population: Population, guests: Guests): Trial[] {
  let visits = 0
  const runs: Record<
    (typeof OPERATIONS)[number],
    (by: Contender) => ((index: number) => Promise<unknown>) | undefined
  > = {
    load: (by) => () => by.load(population.anyId()),
    update: (by) => () => by.update(population.anyId(), ++visits),
    updateTtl: (by) => () => by.updateTtl(population.anyId()),
    create: (by) => (index) => by.create(guests.first(by, index), `guest-${index}`),
    changeId: (by) =>
      by.changeId &&
      ((index) => by.changeId?.(guests.first(by, index), guests.moved(by, index)) as Promise<unknown>),
    delete: (by) => (index) =>
      by.delete(by.changeId === undefined ? guests.first(by, index) : guests.moved(by, index)),
    listByUser: (by) => by.listByUser && (() => by.listByUser?.(population.anyUser()) as Promise<unknown>),
  }
  return OPERATIONS.map((name) => ({
    name,
    subjects: stage.contenders.flatMap((by) => {
      const run = runs[name](by)
      return run === undefined ? [] : [{ name: nameOf(by), run }]
    }),
  }))
}

export function preparationTrial(stage: SqlStage, population: Population): Trial {
  const prepared = stage.contenders.filter(({ who }) => who === "ours")
  const subjectsOf = (prefix: string, contenders: readonly Contender[]): Trial["subjects"] =>
    contenders.map((by) => ({
      name: `${prefix} ${by.driver}`,
      run: () => by.load(population.anyId()),
    }))
  return {
    name: UNPREPARED,
    subjects: [...subjectsOf("prepared", prepared), ...subjectsOf("unprepared", stage.unprepared)],
  }
}

/**
 * Merging inside the engine, by our store and by the bare statement, against the same bare row read, merged here and written if its version is
 * the same, until it is. A run is over when its change is stored.
 */
export function mergingTrials(stage: SqlStage, population: Population): Trial[] {
  const [store, bare] = stage.contenders as [Contender, Contender]
  let visits = 0
  const trial = (name: string, share: number, id: () => string): Trial => ({
    name,
    share,
    subjects: [
      { name: "ours", run: () => store.update(id(), ++visits) },
      { name: "merge", run: () => bare.update(id(), ++visits) },
      {
        name: "compare-and-set",
        run: async () => {
          const chosen = id()
          const change = { visits: ++visits }
          while (!(await stage.compareAndSet(chosen, change)));
        },
      },
    ],
  })
  const [same] = population.ids
  return [trial(DISTINCT, 1, () => population.anyId()), trial(CONTENDED, 1 / 8, () => same as string)]
}
