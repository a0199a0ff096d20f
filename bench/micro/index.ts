/**
 * What a request costs beside the bare operations it rests on, measured side by side in one run.
 * `npm run bench`. Ratios are what counts: the machine's own speed cancels out.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createSessions, type Session, type SessionStore } from "coatcheck"
import { memoryStore } from "coatcheck/memory"
import { sqliteStore } from "coatcheck/sqlite"
import { bareOperations } from "./bare.ts"
import { type Measurement, measure } from "./measure.ts"

const KEYS = ["a key for measuring, long enough: 32 bytes"]
const STATE = { cart: Array.from({ length: 20 }, (_, item) => ({ item, name: `coat number ${item}` })) }

interface Row {
  name: string
  run: () => unknown
  /** The bare operations it cannot do without. */
  needs: readonly string[]
}

const folder = mkdtempSync(join(tmpdir(), "bench-"))
const bare = bareOperations(join(folder, "bare.db"), JSON.stringify(STATE))
const sqlite = sqliteStore(join(folder, "sessions.db"))

const rows: Row[] = [
  ...(await requests("memory", memoryStore(), {
    read: ["one HMAC", "one SHA-256", "one JSON.parse"],
    write: ["one HMAC", "one SHA-256", "one JSON.stringify"],
  })),
  ...(await requests("sqlite", sqlite, {
    read: ["one HMAC", "one SHA-256", "one SQLite SELECT", "one JSON.parse"],
    write: [
      "one HMAC",
      "one SHA-256",
      "one SQLite SELECT",
      "one JSON.parse",
      "one JSON.stringify",
      "one SQLite UPDATE",
    ],
  })),
]

async function requests(
  name: string,
  store: SessionStore,
  needs: { read: readonly string[]; write: readonly string[] },
): Promise<Row[]> {
  // Nothing falls due while measuring, so each request does what its name says.
  const sessions = createSessions({ keys: KEYS, store, ttlExtensionThreshold: 0 })
  const signed = await cookieOf(sessions.open(undefined), (session) => session.set("cart", STATE.cart))
  const encrypted = await cookieOf(sessions.open(undefined), (session) => {
    session.set("cart", STATE.cart)
    session.client.set("theme", "dark")
  })
  let count = 0
  const ofRequests: Row[] = [
    {
      name: `${name}: a read request`,
      needs: needs.read,
      run: async () => {
        const session = sessions.open(signed)
        await session.get("cart")
        return session.finalize({ status: 200 })
      },
    },
    {
      name: `${name}: a write request`,
      needs: needs.write,
      run: async () => {
        const session = sessions.open(signed)
        session.set("count", ++count)
        return session.finalize({ status: 200 })
      },
    },
  ]
  if (name !== "memory") return ofRequests
  return [
    {
      name: "open and finalize, untouched",
      needs: [],
      run: () => sessions.open(signed).finalize({ status: 200 }),
    },
    { name: "read a signed ticket", needs: ["one HMAC", "one SHA-256"], run: () => sessions.open(signed).id },
    {
      name: "read an encrypted ticket",
      needs: ["one HMAC", "one GCM", "one SHA-256"],
      run: () => sessions.open(encrypted).client.get("theme"),
    },
    ...ofRequests,
  ]
}

async function cookieOf(session: Session, write: (session: Session) => void): Promise<string> {
  write(session)
  const { setCookie } = await session.finalize({ status: 200 })
  if (setCookie === undefined) throw new Error("The session was not stored.")
  return setCookie.slice(0, setCookie.indexOf(";"))
}

const measured = await measure([...bare.operations, ...rows])
print(measured)
bare.close()
await sqlite.close()
rmSync(folder, { recursive: true })

function print(results: ReadonlyMap<string, Measurement>): void {
  const of = (name: string): number => (results.get(name) as Measurement).microseconds
  process.stdout.write(
    `Node ${process.version}, ${process.platform} ${process.arch}. Medians of interleaved rounds.\n\n`,
  )
  process.stdout.write("Bare operations                        µs\n")
  for (const { name } of bare.operations)
    process.stdout.write(`  ${name.padEnd(34)} ${of(name).toFixed(2).padStart(7)}\n`)
  process.stdout.write("\nRequests                               µs    needs    ratio\n")
  for (const { name, needs } of rows) {
    const limit = needs.reduce((sum, need) => sum + of(need), 0)
    const ratio = limit === 0 ? "" : (of(name) / limit).toFixed(2)
    process.stdout.write(
      `  ${name.padEnd(34)} ${of(name).toFixed(2).padStart(7)} ${limit.toFixed(2).padStart(8)} ${ratio.padStart(8)}\n`,
    )
  }
}
