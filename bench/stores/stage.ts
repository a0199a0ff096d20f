import type { Address } from "../../test/support/servers/server.ts"
import type { Contender } from "./contender.ts"
import type { Population } from "./sample.ts"

/** The drivers' own default: all four for SQL make pools of ten. A pool is shared by all that use its driver. */
export const POOL_SIZE = 10

/** The contenders on one engine, with nothing stored. */
export interface Stage {
  readonly contenders: readonly Contender[]
  /** Removes what our moves have left behind. */
  clear(): Promise<void>
  close(): Promise<void>
}

export interface SqlStageOptions {
  readonly address: Address
  /** Whether the bare table has an index by which the expired can be found. */
  readonly hasDeadlineIndex: boolean
}

export interface SqlStage extends Stage {
  /** After the tables have been filled. */
  settle(): Promise<void>
  /** Our store with `prepare: false`. */
  readonly unprepared: readonly Contender[]
  /** Reads the bare row, merges here, and writes if the version is the same. @returns whether it was */
  compareAndSet(id: string, change: object): Promise<boolean>
}

/** @param contenders of those that share a table, one */
export async function fill(contenders: readonly Contender[], population: Population): Promise<void> {
  for (const contender of contenders) {
    let next = 0
    const work = async (): Promise<void> => {
      while (next < population.ids.length) {
        const index = next++
        await contender.create(population.ids[index] as string, population.userOf(index))
      }
    }
    await Promise.all(Array.from({ length: POOL_SIZE }, work))
  }
}
