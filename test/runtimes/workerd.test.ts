import { get, type IncomingMessage } from "node:http"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { d1Store, type SqlStore } from "coatcheck/d1"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ended, freshId, move, newRecord } from "../../src/testing/conformance/kit.ts"
import { readPages } from "../docs/markdown.ts"
import { bundleWorker, type Database, startWorker } from "../support/workers.ts"

/** Inside workerd, which is what runs Workers at Cloudflare, with D1 and KV as Miniflare has them. The package must have been built. */

const root = fileURLToPath(new URL("../../", import.meta.url))
const worker = await startWorker({
  code: await bundleWorker(`${root}test/runtimes/worker/index.ts`),
  compatibilityDate: "2026-07-01",
  compatibilityFlags: [],
  bindings: {},
  d1Databases: { DB: "sessions", REPLICA: "replica" },
  kvNamespaces: ["KV"],
})
afterAll(() => worker[Symbol.asyncDispose]())

const { url } = worker
const suites = JSON.parse((await ask("cases")).body) as {
  name: string
  isConcurrent: boolean
  cases: string[]
}[]

interface Answer {
  readonly status: number | undefined
  readonly setCookie: string
  readonly body: string
}

/** On a connection of its own: workerd closes one that was idle for five seconds, and `fetch` may be about to use it again. */
async function ask(path: string, cookie = ""): Promise<Answer> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${url}${path}`, { agent: false, headers: { cookie } }, resolve).on("error", reject)
  })
  const { statusCode: status, headers } = response
  return { status, setCookie: headers["set-cookie"]?.[0] ?? "", body: await text(response) }
}

/** How many cases that wait for time to pass do so together: workerd lets no timer fire while another case keeps it busy. */
const LANES = 6
const lanes = Array.from({ length: LANES }, () => Promise.resolve())

async function runCase(suite: string, index: number): Promise<void> {
  const query = new URLSearchParams({ suite, case: String(index) })
  expect((await ask(`run?${query.toString()}`)).body).toBe("kept")
}

for (const { name, isConcurrent, cases } of suites) {
  describe(`in workerd, ${name}`, () => {
    const start = isConcurrent ? test.concurrent : test

    test("there are cases", () => expect(cases.length).toBeGreaterThan(5))

    for (const [index, title] of cases.entries()) {
      start(title, () => {
        const run = (lanes[index % LANES] as Promise<void>).then(() => runCase(name, index))
        lanes[index % LANES] = run.catch(() => undefined)
        return run
      })
    }
  })
}

describe("the SQL of docs/stores/d1.md", () => {
  const page = readPages(root).find(({ path }) => path === "docs/stores/d1.md")
  const blocks = page?.blocks.filter(({ info }) => info === "sql") ?? []
  let db: Database
  let store: SqlStore

  beforeAll(async () => {
    db = await worker.database("DB")
    store = d1Store(db)
    // As "wrangler d1 migrations apply" does.
    for (const sql of statementsOf(blocks[0]?.code ?? "")) await db.prepare(sql).all()
    const state = new Map([["cart", '["bowler"]']])
    const [moved, over] = [freshId(), freshId()]
    await store.create(freshId(), newRecord({ userId: "ada", label: "Phone", state }))
    await store.create(freshId(), newRecord({ idleTtl: 1 }))
    for (const id of [moved, over]) await store.create(id, newRecord())
    await store.changeId(moved, freshId(), move())
    await store.delete(over, ended)
  })

  test("the migration is that of the store", () => {
    expect(blocks[0]?.code.trim()).toBe(store.migrationSql().trim())
  })

  test("there are queries", () => expect(blocks.length).toBeGreaterThan(3))

  test.each(blocks.slice(1))("runs: line $line", async ({ code }) => {
    for (const sql of statementsOf(code))
      expect((await db.prepare(sql).all()).results.length).toBeGreaterThan(0)
  })

  function statementsOf(code: string): string[] {
    return code.split(/;\s*$/m).filter((statement) => statement.trim() !== "")
  }
})

describe("in workerd, a site with sessions in D1", () => {
  beforeAll(async () => {
    await ask("shop/migrate")
  })

  test("a user signs in, comes back, and signs out", async () => {
    const cookie = await signIn("ann")
    expect(await read(cookie)).toEqual({ user: "ann", state: { visits: 0 } })
    await visit(cookie, "visit")
    await visit(cookie, "put?item=bowler")
    expect(await read(cookie)).toEqual({ user: "ann", state: { visits: 1, cart: ["bowler"] } })
    const goodbye = await visit(cookie, "logout")
    expect(goodbye.setCookie).toMatch(/^__Host-id=; .*Max-Age=0/)
    expect(await read(cookie)).toEqual({ user: null, state: {} })
  })

  test("G4: of 40 requests at once, which wait for each other in one isolate, each is counted", async () => {
    const cookie = await signIn("ben")
    await Promise.all(Array.from({ length: 40 }, () => visit(cookie, "visit")))
    expect(await read(cookie)).toEqual({ user: "ben", state: { visits: 40 } })
  })

  test("two people do not get into each other's way", async () => {
    const cookies = await Promise.all(["cleo", "dan"].map(signIn))
    await Promise.all(cookies.map((cookie, index) => visit(cookie, `put?item=hat-${index}`)))
    const found = await Promise.all(cookies.map(read))
    expect(found).toEqual([
      { user: "cleo", state: { visits: 0, cart: ["hat-0"] } },
      { user: "dan", state: { visits: 0, cart: ["hat-1"] } },
    ])
  })

  async function visit(cookie: string, path: string): Promise<Answer> {
    const answer = await ask(`shop/${path}`, cookie)
    expect(answer.status).toBe(200)
    return answer
  }

  async function signIn(user: string): Promise<string> {
    return (await visit("", `login?user=${user}`)).setCookie.split(";")[0] as string
  }

  async function read(cookie: string): Promise<unknown> {
    return JSON.parse((await visit(cookie, "")).body)
  }
})
