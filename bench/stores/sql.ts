import { type AnyServer, clockFor, print, settings } from "./settings.ts"
import type { Contender } from "./contender.ts"
import { measure } from "./measure.ts"
import { mergingTable, operationTable, preparationTable } from "./report.ts"
import { Population } from "./sample.ts"
import { fill, type SqlStage, type SqlStageOptions } from "./stage.ts"
import { Guests, mergingTrials, operationTrials, preparationTrial } from "./trials.ts"

/** The tables for a SQL store on one engine. */
export async function benchmarkSql(
  engine: string,
  server: AnyServer,
  open: (options: SqlStageOptions) => Promise<SqlStage>,
): Promise<void> {
  const { host, port, user, password, database } = server
  const address = { host, port, user, password, database }
  const stage = await open({ address, hasDeadlineIndex: !settings.floor })
  try {
    const { rounds, roundMs } = settings
    const clock = clockFor(server)
    const population = new Population(settings.sessions)
    // The contenders of one kind share a table.
    const { contenders } = stage
    const kinds = Map.groupBy(contenders, ({ who }) => who).values()
    await fill(
      Array.from(kinds, ([first]) => first as Contender),
      population,
    )
    await stage.settle()
    const guests = new Guests()
    const beforeRound = async (): Promise<void> => {
      guests.renew()
      await stage.clear()
    }
    const operations = operationTrials(stage, population, guests)

    const alone = await measure(operations, { concurrency: 1, rounds, roundMs, beforeRound, clock })
    print(`\n${engine}, one at a time\n${operationTable(alone, contenders)}`)

    const besides = [preparationTrial(stage, population), ...mergingTrials(stage, population)]
    const crowd = await measure([...operations, ...besides], {
      concurrency: 32,
      rounds,
      roundMs,
      beforeRound,
      clock,
    })
    print(`\n${engine}, 32 at a time\n${operationTable(crowd, contenders)}`)
    print(`\n${engine}, 32 at a time, prepared or not\n${preparationTable(crowd, contenders)}`)
    print(`\n${engine}, 32 at a time, merged by the engine or here\n${mergingTable(crowd)}`)
  } finally {
    await stage.close()
  }
}
