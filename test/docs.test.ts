import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { Script } from "node:vm"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { runCommand } from "../src/cli/commands.ts"
import { resolveConfig, type SessionsOptions } from "../src/config.ts"
import * as core from "../src/index.ts"
import { memoryStore } from "../src/stores/memory.ts"
import { membersOf } from "./docs/declarations.ts"
import { codeIn, type Page, readPages } from "./docs/markdown.ts"
import { isTypeScript, openWorkshop, type Program, programsOf, type Workshop } from "./docs/programs.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const pages = readPages(root)
const programs = pages.flatMap(programsOf)
const runs = programs.filter(({ mode }) => mode === "run")
const servers = programs.filter(({ mode }) => mode === "serve")

/** What a block of kind `… example` shows a piece of, word for word: files that frameworks build, and that tests drive. */
const examples = readdirSync(join(root, "examples"), { recursive: true, encoding: "utf8" })
  .filter(
    (path) =>
      /\.(?:tsx?|svelte|astro|jsonc?|css)$/.test(path) &&
      !/node_modules|[/\\](?:build|dist|\.\w+)[/\\]/.test(path) &&
      statSync(join(root, "examples", path)).isFile(),
  )
  .map((path) => readFileSync(join(root, "examples", path), "utf8"))

let workshop: Workshop
let problems: Map<string, string[]>

beforeAll(async () => {
  workshop = await openWorkshop(root, programs)
  problems = await workshop.typeCheck()
})

afterAll(async () => {
  await workshop.remove()
})

function pageAt(path: string): Page {
  const page = pages.find((candidate) => candidate.path === path)
  if (page === undefined) throw new Error(`There is no ${path}.`)
  return page
}

function source(path: string): string {
  return readFileSync(join(root, path), "utf8")
}

/** The rows of every table of a page whose first column has this heading. */
function rowsOf(page: Page, heading: string): (readonly string[])[] {
  return page.tables.filter(({ header }) => header[0] === heading).flatMap(({ rows }) => rows)
}

describe("code blocks", () => {
  test("there are some, of every kind", () => {
    expect(new Set(programs.map(({ mode }) => mode))).toEqual(new Set(["check", "worker", "run", "serve"]))
  })

  test.each(programs)("$name type-checks", (program: Program) => {
    expect(problems.get(program.name) ?? []).toEqual([])
  })

  const upgrades = programs.filter(({ source: text }) => text.includes('.on("upgrade"'))

  test.each(upgrades)(
    "$name outlives connections that are reset while they wait for their upgrade",
    ({ source: text }) => {
      const [, stream = "none"] = /\.on\("upgrade", (?:async )?\(\w+(?:: \w+)?, (\w+)/.exec(text) ?? []
      expect(text).toContain(`${stream}.on("error", () => ${stream}.destroy())`)
    },
  )

  const listeners = programs.filter(({ source: text }) => text.includes(".onRevoked("))

  test.each(listeners)("$name knows that not every revocation is of one session", ({ source: text }) => {
    expect(text).not.toMatch(/\.onRevoked\(\(\{ id \}\)/)
  })

  test.each(runs)("$name runs", async (program: Program) => {
    await import(/* @vite-ignore */ pathToFileURL(workshop.fileOf(program)).href)
  })

  test.each(servers)("$name serves a page and counts its visits", async (program: Program) => {
    const port = await freePort()
    const server = workshop.serve(program, port)
    try {
      const first = await server.fetch(`http://localhost:${port}/`)
      const cookie = first.headers.getSetCookie()[0]?.split(";")[0]
      expect(cookie).toMatch(/^id=/)
      const headers = { Cookie: cookie as string }
      const second = await fetch(`http://localhost:${port}/`, { headers })
      expect(await first.text()).toContain("1")
      expect(await second.text()).toContain("2")
    } finally {
      await server.stop()
    }
  })

  test.each(pages.flatMap(({ path, blocks }) => blocks.map((block) => ({ ...block, path }))))(
    "$path:$line is of a kind that is checked",
    ({ info, code }) => {
      if (info.endsWith(" example"))
        return expect(examples.some((text) => text.includes(code.trim()))).toBe(true)
      // SQL is run by `test/stores/docs-sql.test.ts`, that for D1 by `test/runtimes/workerd.test.ts`.
      expect(isTypeScript(info) || ["sh", "sql", "mermaid", "jsonc"].includes(info)).toBe(true)
      // JSON with comments and trailing commas is an expression of JavaScript.
      if (info === "jsonc") expect(() => new Script(`(${code}\n)`)).not.toThrow()
      // In a diagram, where it would end a statement in the middle of a text.
      if (info === "mermaid") expect(code).not.toContain(";")
    },
  )
})

describe("commands", () => {
  const commands = pages.flatMap(({ path, blocks }) =>
    blocks
      .filter(({ info }) => info === "sh")
      .flatMap(({ code, line }) =>
        code
          .split("\n")
          .map((text, index) => ({ at: `${path}:${line + index}`, command: uncommented(text) })),
      ),
  )

  test.each(commands.filter(({ command }) => command !== ""))("$at: $command", ({ command }) => {
    expect(problemOf(command)).toBeUndefined()
  })

  test("in the text exist as well", () => {
    const inline = pages.flatMap(({ prose }) => codeIn(prose)).filter((code) => /^(?:npm|npx) /.test(code))
    expect(inline.map(problemOf).filter((problem) => problem !== undefined)).toEqual([])
  })
})

describe("links", () => {
  const links = pages.flatMap((page) =>
    page.links.map((link) => ({ ...link, page, at: `${page.path}:${link.line}` })),
  )
  const own = links.filter(({ target }) => !/^[a-z]+:/.test(target))

  test.each(own)("$at leads to $target", ({ page, target }) => {
    const [path = "", anchor] = target.split("#")
    const linked = path === "" ? page.path : join(dirname(page.path), path).replaceAll("\\", "/")
    expect(existsSync(join(root, linked))).toBe(true)
    if (anchor !== undefined) expect(pageAt(linked).anchors).toContain(anchor)
  })

  // A test that is named is one that can be found; a file may be named as well.
  test.each(links.filter(({ target, text }) => target.endsWith(".test.ts") && !text.startsWith("`")))(
    "$at names a test of $target",
    ({ page, target, text }) => {
      expect(titlesIn(source(join(dirname(page.path), target)))).toContain(text)
    },
  )
})

describe("README.md", () => {
  const guarantees = rowsOf(pageAt("README.md"), "")

  test("names a test for each of the twelve guarantees", () => {
    const numbers = guarantees.map(([number]) => number)
    expect(numbers).toEqual(Array.from({ length: 12 }, (_, index) => `G${index + 1}`))
  })

  test.each(guarantees)("%s is proven by tests of its name", (number, ...cells) => {
    const tests = cells.join(" ").match(/\[G\d+: /g) ?? []
    expect(tests.length).toBeGreaterThan(0)
    expect(new Set(tests)).toEqual(new Set([`[${number}: `]))
  })
})

describe("docs/options.md", () => {
  const page = pageAt("docs/options.md")
  const options = rowsOf(page, "Option").map(([name, , fallback]) => ({
    name: codeIn(name ?? "")[0] as string,
    fallback: codeIn(fallback ?? "")[0],
  }))
  /** Those whose default is no value that could be written down. */
  const open = [
    "store",
    "keys",
    "cookie",
    "schema",
    "onEvent",
    "onWarning",
    "clock",
    "cookie.domain",
    "cookie.priority",
  ]

  test("has a row for every option, and for nothing else", () => {
    const all = [
      ...membersOf(source("src/config.ts"), "SessionsOptions"),
      ...membersOf(source("src/cookie/attributes.ts"), "CookieOptions").map((name) => `cookie.${name}`),
    ]
    expect(options.map(({ name }) => name).toSorted()).toEqual(all.toSorted())
  })

  test.each(options.filter(({ name }) => !open.includes(name)))(
    "$name: its default is $fallback",
    (option) => {
      const value = JSON.parse(option.fallback ?? "") as unknown
      expect(comparable(given(option.name, value))).toEqual(comparable({}))
    },
  )

  describe.each([
    ["memoryStore", "src/stores/memory.ts", "MemoryStoreOptions"],
    ["sqliteStore", "src/stores/sqlite.ts", "SqliteStoreOptions"],
    ["postgresStore", "src/stores/postgres.ts", "PostgresStoreOptions"],
    ["mysqlStore", "src/stores/mysql.ts", "MysqlStoreOptions"],
    ["redisStore", "src/stores/redis.ts", "RedisStoreOptions"],
    ["kvStore", "src/stores/kv.ts", "KvStoreOptions"],
    ["kvCache", "src/stores/kv-cache.ts", "KvCacheOptions"],
    ["cachedStore", "src/stores/cached.ts", "CachedStoreOptions"],
    ["memoryCache", "src/stores/cached-memory.ts", "MemoryCacheOptions"],
    ["redisCache", "src/stores/redis-cache.ts", "RedisCacheOptions"],
    ["redisInvalidation", "src/stores/redis-cache.ts", "RedisInvalidationOptions"],
    ["d1Store", "src/stores/d1.ts", "D1StoreOptions"],
    ["unstorageStore", "src/stores/unstorage.ts", "UnstorageStoreOptions"],
  ])("%s", (factory, file, type) => {
    const rows = rowsOf(page, `${factory} option`).map(([name = "", , fallback = ""]) => ({
      name: codeIn(name)[0] as string,
      fallback: codeIn(fallback)[0],
    }))

    test("has a row for every option", () => {
      expect(rows.map(({ name }) => name).toSorted()).toEqual(membersOf(source(file), type).toSorted())
    })

    test.each(rows.filter(({ fallback }) => fallback !== undefined))(
      "$name: $fallback",
      ({ name, fallback }) => {
        expect(source(file)).toContain(`${name} = ${fallback}`)
      },
    )
  })
})

describe("docs/names.md", () => {
  const known = new Set(
    pageAt("docs/names.md").tables.flatMap(({ rows }) => rows.flatMap(([first]) => codeIn(first ?? ""))),
  )
  const api = source("src/api.ts")

  test.each([
    ...membersOf(api, "Session"),
    ...membersOf(api, "StateView").map((name) => `client.${name}`),
    ...membersOf(api, "Sessions").map((name) => `sessions.${name}`),
    ...membersOf(source("src/config.ts"), "SessionsOptions"),
    ...membersOf(source("src/cookie/attributes.ts"), "CookieOptions").map((name) => `cookie.${name}`),
  ])("%s has a row", (name) => {
    expect(known).toContain(name)
  })
})

describe("docs/errors.md", () => {
  const page = pageAt("docs/errors.md")

  test("has a row for every error with its code", () => {
    const rows = rowsOf(page, "Error").map(([name, code]) => [codeIn(name ?? "")[0], codeIn(code ?? "")[0]])
    const codes = [...source("src/errors.ts").matchAll(/export class (\w+) [^}]*? code: [^=]*= "(\w+)"/g)]
    expect(codes.length).toBe(Object.keys(core).filter((name) => /^[A-Z]\w*Error$/.test(name)).length)
    expect(rows.toSorted()).toEqual(codes.map(([, name, code]) => [name, code]).toSorted())
  })

  test("has a row for every event", () => {
    const rows = rowsOf(page, "Event").map(([name]) => codeIn(name ?? "")[0])
    const types = [...source("src/diagnostics.ts").matchAll(/readonly type: "([\w-]+)"/g)]
    expect(rows.toSorted()).toEqual(types.map(([, type]) => type).toSorted())
  })

  test("has a row for every warning", () => {
    const rows = rowsOf(page, "Warning").map(([name]) => codeIn(name ?? "")[0])
    const files = ["src/config.ts", "src/diagnostics.ts", "src/response.ts", "src/adapters/shared-node.ts"]
    const codes = files.flatMap((file) => source(file).match(/COATCHECK_\w+/g) ?? [])
    expect(rows.toSorted()).toEqual([...new Set(codes)].toSorted())
  })
})

describe.each([
  ["docs/stores/postgresql.md", "src/stores/postgres-failures.ts", "src/stores/shared-sql.ts"],
  ["docs/stores/mysql.md", "src/stores/mysql-failures.ts", "src/stores/shared-sql.ts"],
  ["docs/stores/redis.md", "src/stores/redis-failures.ts", "src/stores/redis-cluster.ts"],
  ["docs/stores/d1.md", "src/stores/d1-failures.ts", "src/stores/shared-sql.ts"],
])("%s", (path, file, other) => {
  const rows = rowsOf(pageAt(path), "You see").map(([first = ""]) => first)
  const all = [file, "src/stores/shared-advice.ts", other, "src/gateway.ts"].map(source).join("\n")
  /** What stands for names and numbers is left out. */
  const isIn = (text: string, row: string): boolean =>
    row.split("…").every((part) => text.includes(part.trim()))

  test.each(rows)("an error says: %s", (row) => {
    expect(isIn(all, row)).toBe(true)
  })

  test("has a row for every advice", () => {
    const shared = source("src/stores/shared-advice.ts").split("export const ").slice(1)
    const used = shared.filter((each) => source(file).includes(each.split(":")[0] as string))
    const texts = source(file) + used.join("\n")
    const advice = [...texts.matchAll(/"((?:the|there|this|another|a|too) [^"]{20,})"/g)].map(
      ([, text]) => text as string,
    )
    expect(advice.length).toBeGreaterThan(12)
    expect(advice.filter((text) => !rows.some((row) => isIn(text, row)))).toEqual([])
  })
})

test("SQL stands on the stores' pages alone, where it is run", () => {
  const places = pages
    .filter(({ blocks }) => blocks.some(({ info }) => info === "sql"))
    .map(({ path }) => path)
  expect(places.toSorted()).toEqual([
    "docs/stores/d1.md",
    "docs/stores/mysql.md",
    "docs/stores/postgresql.md",
  ])
})

test("docs/testing.md names everything the testing kit exports", () => {
  const named = new Set(codeIn(pageAt("docs/testing.md").prose).flatMap((code) => code.match(/\w+/g) ?? []))
  const lists = [...source("src/testing/index.ts").matchAll(/^export (?:type )?\{([^}]*)\}/gm)]
  const exported = lists.flatMap(([, list = ""]) => list.match(/\w+(?=\s*(?:,|$))/g) ?? [])
  expect(exported.length).toBeGreaterThan(3)
  for (const name of exported) expect(named).toContain(name)
})

test("docs/stores.md names every operation and capability of a store", () => {
  const named = new Set(
    codeIn(pageAt("docs/stores.md").prose).flatMap((code) => code.match(/^\w+/)?.[0] ?? []),
  )
  const contract = source("src/store.ts")
  for (const name of [...membersOf(contract, "SessionStore"), ...membersOf(contract, "StoreCapabilities")]) {
    expect(named).toContain(name)
  }
})

/** The options with one given, by its name in the tables. */
function given(name: string, value: unknown): SessionsOptions {
  const member = name.split(".")[1]
  return member === undefined ? { [name]: value } : { cookie: { [member]: value } }
}

/** What a configuration comes down to, without what differs each time. */
function comparable(options: SessionsOptions): object {
  const keys = ["a key for the tests, which has enough bytes"]
  const {
    ring: _,
    diagnostics: __,
    clock: ___,
    ...config
  } = resolveConfig({ store: memoryStore(), keys, ...options }, () => memoryStore())
  return { ...config, store: undefined, server: undefined, client: undefined }
}

/** What the tests of a file are called, but for those that are not expected to pass. */
function titlesIn(text: string): string[] {
  const titles = text.matchAll(/(?<!\.(?:fails|skip|todo))\(\s*(["'`])((?:\\.|(?!\1).)+)\1,/g)
  return [...titles].map(([, , title]) => (title as string).replaceAll(/\\(.)/g, "$1"))
}

function uncommented(line: string): string {
  return line.replace(/(?:^|\s+)#.*$/, "").trim()
}

/** The commands of Cloudflare's tool that the pages name; it is not installed here. */
const WRANGLER = ["dev", "deploy", "types", "secret put", "d1 create", "d1 migrations apply"]

/** Why a reader could not type this command, if so. */
function problemOf(command: string): string | undefined {
  const { scripts } = JSON.parse(source("package.json")) as { scripts: Record<string, string> }
  const [program, verb = "", ...rest] = command.replace(/^(?:\w+=\S+ )+/, "").split(" ")
  if (program === "npm" && (verb === "start" || verb === "test" || verb === "run")) {
    const script = verb === "run" ? (rest.shift() ?? "") : verb
    if (!(script in scripts)) return `There is no script ${script}.`
    const missing = rest.filter((word) => word.endsWith(".ts") && !existsSync(join(root, word)))
    return missing.length === 0 ? undefined : `There is no ${missing.join(", ")}.`
  }
  if (program === "npm" && ["install", "create"].includes(verb)) return undefined
  if (program === "npx" && verb === "coatcheck") {
    const nowhere = { write: () => undefined }
    return runCommand(rest, nowhere, nowhere) === 0 ? undefined : `There is no ${command}.`
  }
  if (program === "npx" && verb === "wrangler") {
    const known = WRANGLER.some((words) => rest.join(" ").startsWith(words))
    return known ? undefined : `There is no ${command}.`
  }
  if (program === "node" && !verb.startsWith("-")) return undefined
  return `Nobody checks ${command}.`
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
