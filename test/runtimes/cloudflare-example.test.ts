import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseEnv, promisify } from "node:util"
import { runInNewContext } from "node:vm"
import { d1Store } from "coatcheck/d1"
import { type CookieAgent, cookieAgent } from "coatcheck/testing"
import { CookieJar } from "tough-cookie"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { readPages } from "../docs/markdown.ts"
import { bundleWorker, type Database, type RunningWorker, startWorker } from "../support/workers.ts"

// The example as it stands in its folder, configuration included, on workerd and over HTTP. The package must have been built.

const root = fileURLToPath(new URL("../../", import.meta.url))
const folder = join(root, "examples", "cloudflare")

interface Wrangler {
  readonly main: string
  readonly compatibility_date: string
  readonly compatibility_flags: readonly string[]
  readonly d1_databases: readonly { binding: string; database_id: string; migrations_dir: string }[]
  readonly triggers: { readonly crons: readonly string[] }
}

const wrangler = parseJsonc(read("wrangler.jsonc")) as Wrangler
const database = wrangler.d1_databases[0] as Wrangler["d1_databases"][0]
const secrets = parseEnv(read(".dev.vars.example"))

let code: string
let worker: RunningWorker
let db: Database
let url: string

beforeAll(async () => {
  code = await bundleWorker(join(folder, wrangler.main))
  worker = await start({ SESSION_KEY: "a key of these tests, long enough to seal" })
  url = worker.url
  db = await worker.database(database.binding)
  await db.batch(migrations().map((sql) => db.prepare(sql)))
})

afterAll(() => worker[Symbol.asyncDispose]())

beforeEach(() => run("DELETE FROM sessions"))

function start(bindings: Record<string, string>): Promise<RunningWorker> {
  return startWorker({
    code,
    bindings,
    compatibilityDate: wrangler.compatibility_date,
    compatibilityFlags: wrangler.compatibility_flags,
    d1Databases: Object.fromEntries(
      wrangler.d1_databases.map(({ binding, database_id }) => [binding, database_id]),
    ),
  })
}

async function run(sql: string): Promise<Record<string, unknown>[]> {
  return (await db.prepare(sql).all()).results
}

/** What "wrangler d1 migrations apply" sends: the statements of the files, in the order of their names. */
function migrations(): string[] {
  const files = readdirSync(join(folder, database.migrations_dir)).toSorted()
  const all = files.map((file) => read(join(database.migrations_dir, file))).join("\n")
  return all.split(/;\s*$/m).filter((sql) => sql.trim() !== "")
}

function visitor(
  userAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
): CookieAgent {
  return cookieAgent(url, { jar: new CookieJar(), headers: { "User-Agent": userAgent } })
}

async function submit(
  agent: CookieAgent,
  path: string,
  fields: Record<string, string> = {},
): Promise<string> {
  const response = await agent.post(path, new URLSearchParams(fields))
  expect(response.status).toBe(200)
  expect(new URL(agent.url).pathname).toBe("/")
  return response.text()
}

const show = async (agent: CookieAgent): Promise<string> => (await agent.get("/")).text()
const cartOf = (page: string): string => /<ul id="cart">(.*?)<\/ul>/.exec(page)?.[1] ?? "no cart"
const userOf = (page: string): string | undefined => /<span id="user">(.*?)<\/span>/.exec(page)?.[1]
const noticeOf = (page: string): string | undefined => /<p role="status">(.*?)<\/p>/.exec(page)?.[1]
const othersOf = (page: string): string[] =>
  [...page.matchAll(/name="device" value="([^"]+)"/g)].map(([, id]) => id as string)

async function rows(): Promise<number> {
  return (await run("SELECT id FROM sessions")).length
}

test("G1: pages that need no session set no cookie, and nobody who only looks leaves a row", async () => {
  const agent = visitor()
  const health = await agent.get("/health")
  expect([health.status, health.headers.getSetCookie(), health.headers.get("Vary")]).toEqual([200, [], null])
  const page = await agent.get("/")
  expect(page.headers.getSetCookie()).toEqual([])
  expect(page.headers.get("Vary")).toBe("Cookie")
  expect(cartOf(await page.text())).toBe("")
  expect((await agent.get("/nowhere")).status).toBe(404)
  expect(await rows()).toBe(0)
})

test("G3: the page after a redirect shows what was written before it", async () => {
  const agent = visitor()
  expect(cartOf(await submit(agent, "/cart", { product: "umbrella" }))).toBe("<li>1 × Umbrella</li>")
  for (let count = 2; count < 6; count++) {
    const page = await submit(agent, "/cart", { product: "umbrella" })
    expect(cartOf(page)).toBe(`<li>${count} × Umbrella</li>`)
  }
  expect(await rows()).toBe(1)
})

test("G4: what two tabs put into a cart at once is all there", async () => {
  const agent = visitor()
  await submit(agent, "/cart", { product: "bowler" })
  await Promise.all(Array.from({ length: 9 }, () => submit(agent, "/cart", { product: "bowler" })))
  expect(cartOf(await show(agent))).toBe("<li>10 × Bowler hat</li>")
})

test("two users in parallel never see each other's pages", async () => {
  const shoppers = await Promise.all(
    ["Ada", "Bob"].map(async (name, index) => {
      const agent = visitor()
      await submit(agent, "/sign-in", { name })
      return { agent, name, product: ["bowler", "trench"][index] as string }
    }),
  )
  const pages = shoppers.flatMap(({ agent, name, product }) =>
    Array.from({ length: 8 }, async () => {
      const page = await submit(agent, "/cart", { product })
      expect(userOf(page)).toBe(name)
      expect(cartOf(page)).toMatch(
        name === "Ada" ? /^<li>\d+ × Bowler hat<\/li>$/ : /^<li>\d+ × Trench coat<\/li>$/,
      )
    }),
  )
  await Promise.all(pages)
  const carts = await Promise.all(shoppers.map(async ({ agent }) => cartOf(await show(agent))))
  expect(carts).toEqual(["<li>8 × Bowler hat</li>", "<li>8 × Trench coat</li>"])
})

describe("signing in", () => {
  test("gives a new ticket, under which the cart stays, and the one before is worth nothing", async () => {
    const agent = visitor()
    await submit(agent, "/cart", { product: "umbrella" })
    const before = (await agent.cookies()).get("id")
    const page = await submit(agent, "/sign-in", { name: "Ada" })
    expect((await agent.cookies()).get("id")).not.toBe(before)
    expect([userOf(page), cartOf(page), noticeOf(page)]).toEqual([
      "Ada",
      "<li>1 × Umbrella</li>",
      "Welcome, Ada.",
    ])
    expect(noticeOf(await show(agent))).toBe(undefined)

    const thief = await fetch(url, { headers: { Cookie: `id=${before}` } })
    const seen = await thief.text()
    expect([userOf(seen), cartOf(seen), thief.headers.getSetCookie()]).toEqual([undefined, "", []])
  })

  test("G6: adopts no cookie that somebody has planted", async () => {
    const planted = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    const jar = new CookieJar()
    await jar.setCookie(`id=${planted}; Path=/`, url)
    const agent = cookieAgent(url, { jar })
    expect(userOf(await submit(agent, "/sign-in", { name: "Ada" }))).toBe("Ada")
    expect((await agent.cookies()).get("id")).not.toBe(planted)
  })

  test("shows a name as text", async () => {
    expect(userOf(await submit(visitor(), "/sign-in", { name: "<b>&" }))).toBe("&lt;b&gt;&amp;")
  })
})

describe("signing out", () => {
  test("here leaves other devices and other users as they are", async () => {
    const [phone, laptop, bob] = [visitor(), visitor(), visitor()]
    for (const agent of [phone, laptop]) await submit(agent, "/sign-in", { name: "Ada" })
    await submit(bob, "/sign-in", { name: "Bob" })
    const page = await submit(phone, "/sign-out")
    expect([userOf(page), noticeOf(page)]).toEqual([undefined, "You are signed out."])
    expect(userOf(await show(laptop))).toBe("Ada")
    expect(userOf(await show(bob))).toBe("Bob")
  })

  test("everywhere ends the user's other sessions at once, and nobody else's", async () => {
    const [phone, laptop, bob] = [visitor(), visitor(), visitor()]
    for (const agent of [phone, laptop]) await submit(agent, "/sign-in", { name: "Ada" })
    await submit(bob, "/sign-in", { name: "Bob" })
    const page = await submit(phone, "/sign-out-everywhere")
    expect([userOf(page), noticeOf(page)]).toEqual([undefined, "You are signed out everywhere."])
    const found = await show(laptop)
    expect([userOf(found), noticeOf(found)]).toEqual([undefined, expect.stringMatching(/from another one/)])
    const refused = await laptop.post("/cart", new URLSearchParams({ product: "bowler" }))
    expect([refused.status, refused.headers.getSetCookie()]).toEqual([409, []])
    expect(await refused.text()).toContain("Sign in to go on.")
    expect(userOf(await submit(laptop, "/sign-in", { name: "Ada" }))).toBe("Ada")
    expect(userOf(await show(bob))).toBe("Bob")
  })

  test("one's other device works from the list of devices, and nobody else's does", async () => {
    const phone = visitor("Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) Version/26.0 Safari/604.1")
    const [laptop, mallory] = [visitor(), visitor()]
    for (const agent of [phone, laptop]) await submit(agent, "/sign-in", { name: "Ada" })
    const page = await show(laptop)
    expect(page).toContain("Firefox on Linux")
    expect(page).toContain("Safari on iPhone")
    const [device, ...rest] = othersOf(page)
    expect(rest).toEqual([])

    await submit(mallory, "/sign-in", { name: "Mallory" })
    await submit(mallory, "/devices", { device: device ?? "" })
    expect(userOf(await show(phone))).toBe("Ada")
    expect(noticeOf(await submit(laptop, "/devices", { device: device ?? "" }))).toBe(
      "That device is signed out.",
    )
    expect(userOf(await show(phone))).toBe(undefined)
    expect(othersOf(await show(laptop))).toEqual([])
  })
})

test("a form of another site changes nothing", async () => {
  const agent = visitor()
  await submit(agent, "/sign-in", { name: "Ada" })
  const headers = [{ "Sec-Fetch-Site": "same-site" }, { Origin: "https://evil.example" }]
  for (const each of headers) {
    const response = await agent.post("/sign-out", new URLSearchParams(), { headers: each })
    expect(response.status).toBe(403)
  }
  expect(userOf(await show(agent))).toBe("Ada")
})

test("the cron trigger removes what has expired", async () => {
  await submit(visitor(), "/cart", { product: "bowler" })
  await run("UPDATE sessions SET deadline = 1, sweep_at = 1")
  await submit(visitor(), "/cart", { product: "bowler" })
  expect(await rows()).toBe(2)
  await worker.scheduled(wrangler.triggers.crons[0] as string)
  expect(await rows()).toBe(1)
})

describe("the files", () => {
  test("the migration is what the store asks for", () => {
    expect(read(join(database.migrations_dir, "0001_sessions.sql"))).toBe(d1Store(db).migrationSql())
  })

  test("the secret has to be filled in: as it stands, nobody gets a session", async () => {
    expect(secrets).toEqual({ SESSION_KEY: "" })
    await using unready = await start({ SESSION_KEY: secrets["SESSION_KEY"] as string })
    expect((await fetch(unready.url)).status).toBe(500)
  })

  test("type-check as in a Worker's project", async () => {
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
    const checked = promisify(execFile)(process.execPath, [tsc, "-p", folder]).catch(
      (error: unknown) => error,
    )
    expect(await checked).toEqual({ stdout: "", stderr: "" })
  })

  test("have the configuration that docs/cloudflare.md shows", () => {
    const page = readPages(root).find(({ path }) => path === "docs/cloudflare.md")
    const shown = page?.blocks.filter(({ info }) => info === "jsonc") ?? []
    expect(shown).toHaveLength(1)
    for (const block of shown) expect(wrangler).toMatchObject(parseJsonc(block.code) as object)
  })
})

function read(file: string): string {
  return readFileSync(join(folder, file), "utf8")
}

/** JSON with comments and trailing commas is an expression of JavaScript. */
function parseJsonc(text: string): unknown {
  return JSON.parse(JSON.stringify(runInNewContext(`(${text}\n)`)))
}
