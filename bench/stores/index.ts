/**
 * What each operation of a store costs on a database server, beside the bare statement through the same driver and pool, and beside the stores that
 * `express-session` has there. `npm run bench:stores`, or with `-- --engine postgres|mariadb|mysql`, `--rounds 15`, `--quick`, `--cpu` for the
 * time of the processors, client's and server's, in the place of what a clock shows (for a machine that is busy with other things), and `--floor` for a bare table without an index on the deadline, from which nothing expired could be removed.
 * Ratios are what counts: the machine's own speed cancels out. Servers are private ones with the settings of the tests, alike for all: each
 * commit is written to the log, and the log is not flushed at each.
 */
import { parseArgs } from "node:util"
import type { Engine } from "../../test/support/servers/server.ts"
import { type Clock, processorClock, wallClock } from "./clocks.ts"
import { measure } from "./measure.ts"
import { openMysql } from "./mysql.ts"
import { openPostgres } from "./postgres.ts"
import { mergingTable, operationTable, preparationTable } from "./report.ts"
import { Population } from "./sample.ts"
import { ENGINES, POOL_SIZE, type Stage } from "./stage.ts"
import { Guests, mergingTrials, operationTrials, preparationTrial } from "./trials.ts"

const { values } = parseArgs({
  options: {
    engine: { type: "string", multiple: true },
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    cpu: { type: "boolean", default: false },
    floor: { type: "boolean", default: false },
  },
})
const rounds = Number(values.rounds ?? (values.quick ? 5 : 15))
const sessions = values.quick ? 2000 : 10_000
const roundMs = values.quick ? 500 : 1000

const known = Object.keys(ENGINES) as Engine[]
const wanted = values.engine ?? known
const engines = known.filter((engine) => wanted.includes(engine))
if (engines.length < wanted.length) throw new Error(`There are these engines: ${known.join(", ")}.`)

print(
  `Node ${process.version}, ${process.platform} ${process.arch}. Medians of ${rounds} interleaved rounds${values.cpu ? ", time of the processors" : ""}. `,
)
print(`${sessions} sessions of 1 KB, pools of ${POOL_SIZE} connections.\n`)
for (const engine of engines) await benchmark(engine)

async function benchmark(engine: Engine): Promise<void> {
  const { name, start } = ENGINES[engine]
  const server = await start()
  if (server === undefined) return print(`\n${name}: not installed\n`)
  const { host, port, user, password, database, version } = server
  try {
    const open = engine === "postgres" ? openPostgres : openMysql
    const stage = await open({
      address: { host, port, user, password, database },
      hasDeadlineIndex: !values.floor,
    })
    try {
      await run(`${name} ${version}`, stage, values.cpu ? processorClock(server.pid) : wallClock)
    } finally {
      await stage.close()
    }
  } finally {
    await server.stop()
  }
}

async function run(engine: string, stage: Stage, clock: Clock): Promise<void> {
  const population = new Population(sessions)
  await fill(stage, population)
  const guests = new Guests()
  const beforeRound = async (): Promise<void> => {
    guests.renew()
    await stage.clear()
  }
  const operations = operationTrials(stage, population, guests)

  const alone = await measure(operations, { concurrency: 1, rounds, roundMs, beforeRound, clock })
  print(`\n${engine}, one at a time\n${operationTable(alone, stage.contenders)}`)

  const besides = [preparationTrial(stage, population), ...mergingTrials(stage, population)]
  const crowd = await measure([...operations, ...besides], {
    concurrency: 32,
    rounds,
    roundMs,
    beforeRound,
    clock,
  })
  print(`\n${engine}, 32 at a time\n${operationTable(crowd, stage.contenders)}`)
  print(`\n${engine}, 32 at a time, prepared or not\n${preparationTable(crowd, stage.contenders)}`)
  print(`\n${engine}, 32 at a time, merged by the engine or here\n${mergingTable(crowd)}`)
}

/** The contenders of one kind share a table. */
async function fill(stage: Stage, population: Population): Promise<void> {
  const one = stage.contenders.filter(
    ({ who }, index) => stage.contenders.findIndex((other) => other.who === who) === index,
  )
  for (const contender of one) {
    let next = 0
    const work = async (): Promise<void> => {
      while (next < population.ids.length) {
        const index = next++
        await contender.create(population.ids[index] as string, population.userOf(index))
      }
    }
    await Promise.all(Array.from({ length: POOL_SIZE }, work))
  }
  await stage.settle()
}

function print(text: string): void {
  process.stdout.write(text)
}
