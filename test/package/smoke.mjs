/**
 * Runs inside a project that has nothing but the packed package, on every runtime in turn. Prints what each subpath
 * exports and what a session did, as JSON.
 */
import { readFileSync } from "node:fs"

const subpaths = JSON.parse(readFileSync(new URL("subpaths.json", import.meta.url), "utf8"))

const exported = {}
for (const subpath of subpaths) exported[subpath] = Object.keys(await import(subpath))

const { createSessions } = await import("coatcheck")
const { memoryStore } = await import("coatcheck/memory")
const { sqliteStore } = await import("coatcheck/sqlite")

async function viewsOfThreeRequests(store) {
  const sessions = createSessions({ keys: ["x".repeat(32)], store })
  const handler = sessions.handle(async (request, session) => {
    const views = ((await session.get("views")) ?? 0) + 1
    session.set("views", views)
    return new Response(String(views))
  })
  const seen = []
  let cookie = ""
  for (let request = 0; request < 3; request++) {
    const response = await handler(new Request("https://example.com/", { headers: cookie ? { cookie } : {} }))
    cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie
    seen.push(Number(await response.text()))
  }
  return seen
}

async function openedSqliteStore() {
  const store = sqliteStore(":memory:")
  await store.migrate()
  return store
}

const views = {
  memory: await viewsOfThreeRequests(memoryStore()),
  sqlite: await viewsOfThreeRequests(await openedSqliteStore()),
}

console.log(JSON.stringify({ exported, views }))
