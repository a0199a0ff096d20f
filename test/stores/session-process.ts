import { createSessions } from "coatcheck"
import { type DatabaseFacts, mysqlDrivers, postgresDrivers } from "./clients.ts"

/** One of the processes of `processes.test.ts`: requests that write a key of their own each and count one up, some of them at once. */

interface Task {
  readonly driver: string
  readonly database: DatabaseFacts
  readonly key: string
  readonly cookie: string
  /** What this process's keys begin with. */
  readonly name: string
  readonly requests: number
}

const AT_ONCE = 5

const { driver, database, key, cookie, name, requests } = JSON.parse(process.argv[2] ?? "") as Task
const open = { ...postgresDrivers, ...mysqlDrivers }[driver]
if (open === undefined) throw new Error(`There is no driver ${driver}.`)
const client = await open(database, { size: AT_ONCE })
const sessions = createSessions({
  keys: [key],
  store: client.store(),
  storeTimeout: "20s",
  transactTimeout: "60s",
  onLostWrite: "throw",
})

let done = 0
const race = { isEnded: false }
const rest = Array.from({ length: requests }, (_, index) => index)
while (rest.length > 0 && !race.isEnded) await Promise.all(rest.splice(0, AT_ONCE).map(requestUnlessEnded))
process.stdout.write(String(done))
await client.close()

async function requestUnlessEnded(index: number): Promise<void> {
  try {
    await request(index)
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_SESSION_ENDED") throw error
    race.isEnded = true
  }
}

async function request(index: number): Promise<void> {
  const session = sessions.open(cookie)
  session.set(`${name}-${index}`, true)
  await session.transact((state) => state.set("count", (state.get("count") as number) + 1))
  await session.finalize()
  done += 1
}
