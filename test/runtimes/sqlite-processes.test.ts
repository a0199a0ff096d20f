import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, test } from "vitest"
import { createSessions } from "../../src/index.ts"
import { sqliteStore } from "../../src/stores/sqlite.ts"

/** Several processes on one file: what only the database can keep apart. */

const folder = mkdtempSync(join(tmpdir(), "coatcheck-processes-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const worker = new URL("sqlite-process.ts", import.meta.url).pathname
const preload = new URL("../docs/sources.ts", import.meta.url).pathname
const KEY = "a key for tests, long enough: 32 bytes"
const PROCESSES = 4
const REQUESTS = 25

/** Runs the worker, and gives what it printed. */
function run(...input: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--import", preload, worker, ...input], {
      stdio: ["ignore", "pipe", "pipe"],
    })
    let output = ""
    let errors = ""
    child.stdout.on("data", (data: Buffer) => (output += String(data)))
    child.stderr.on("data", (data: Buffer) => (errors += String(data)))
    child.on("error", reject)
    child.on("close", (code) =>
      code === 0 ? resolve(output) : reject(new Error(`exit code ${code}: ${errors}`)),
    )
  })
}

test("G4: keys written and transactions made by several processes are all there", async () => {
  const path = join(folder, "merge.db")
  const store = sqliteStore(path)
  const sessions = createSessions({ keys: [KEY], store })
  const session = sessions.open(undefined)
  session.set("count", 0)
  const cookie = (await session.finalize()).setCookie?.split(";")[0] as string
  const ids = Array.from({ length: PROCESSES }, (_, index) => String(index))
  await Promise.all(ids.map((index) => run("write", path, KEY, cookie, index, String(REQUESTS))))
  const after = sessions.open(cookie)
  expect(await after.get("count")).toBe(PROCESSES * REQUESTS)
  expect((await after.keys()).length).toBe(1 + PROCESSES * REQUESTS)
  await store.close()
})

test("G5: what one process revokes, no other brings back", async () => {
  const path = join(folder, "revoke.db")
  const store = sqliteStore(path)
  const sessions = createSessions({ keys: [KEY], store })
  const session = sessions.open(undefined)
  session.signIn("ann")
  const cookie = (await session.finalize()).setCookie?.split(";")[0] as string
  const writers = ["0", "1"].map((index) =>
    run("write", path, KEY, cookie, index, "200").catch(() => "ended"),
  )
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(await sessions.revokeByUser("ann")).toBeLessThanOrEqual(1)
  await Promise.all(writers)
  expect(await sessions.listByUser("ann")).toEqual([])
  expect(await sessions.open(cookie).keys()).toEqual([])
  await store.close()
})

test("G6: of several processes that create under one id, one wins", async () => {
  const path = join(folder, "create.db")
  const store = sqliteStore(path)
  await store.migrate()
  const results = await Promise.all(Array.from({ length: PROCESSES }, () => run("create", path, "50")))
  const wins = results.map((result) => JSON.parse(result) as boolean[])
  expect(results.length).toBe(PROCESSES)
  for (let id = 0; id < 50; id++) {
    expect(wins.filter((won) => won[id] === true).length).toBe(1)
  }
  await store.close()
})
