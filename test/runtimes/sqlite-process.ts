import { createSessions } from "coatcheck"
import { sqliteStore } from "coatcheck/sqlite"

/** One of the processes of `sqlite-processes.test.ts`. */

const [task, path = "", ...input] = process.argv.slice(2)
const store = sqliteStore(path, { busyTimeout: 10_000 })
if (task === "write") await write(...(input as [string, string, string, string]))
else process.stdout.write(JSON.stringify(await create(Number(input[0]))))
await store.close()

/** Requests that write a key of their own each and count one up, some of them at once. */
async function write(key: string, cookie: string, name: string, requests: string): Promise<void> {
  const sessions = createSessions({ keys: [key], store, storeTimeout: "20s", transactTimeout: "60s" })
  const request = async (index: number): Promise<void> => {
    const session = sessions.open(cookie)
    session.set(`${name}-${index}`, true)
    await session.transact((state) => state.set("count", (state.get("count") as number) + 1))
    await session.finalize()
  }
  const all = Array.from({ length: Number(requests) }, (_, index) => index)
  while (all.length > 0) await Promise.all(all.splice(0, 5).map(request))
}

/** Which of the ids this process got. */
async function create(ids: number): Promise<boolean[]> {
  const record = {
    state: new Map(),
    userId: null,
    label: null,
    idleTtl: 1e6,
    fixedTtl: null,
    cookieKind: null,
  }
  const won: boolean[] = []
  for (let id = 0; id < ids; id++) {
    won.push(
      await store.create(`id-${id}`, { ...record, absoluteTtl: 1e6 }).then(
        () => true,
        () => false,
      ),
    )
  }
  return won
}
