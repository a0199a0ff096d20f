import { afterEach, describe, expect, test, vi } from "vitest"
import { type Config, resolveConfig, type SessionsOptions } from "./config.ts"
import { ConfigError } from "./errors.ts"
import type { StandardSchema } from "./schema.ts"
import type { SessionStore } from "./store.ts"
import { memoryStore } from "./stores/memory.ts"

const KEY = "a key for tests, long enough: 32 bytes"
const HOUR = 3_600_000
const DAY = 24 * HOUR

afterEach(() => {
  vi.unstubAllGlobals()
  vi.unstubAllEnvs()
})

function resolve(options: object): Config {
  return resolveConfig({ keys: [KEY], ...options }, (clock) => memoryStore({ clock }))
}

function wrong(options: unknown): ConfigError {
  try {
    resolveConfig(options as SessionsOptions, (clock) => memoryStore({ clock }))
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return error as ConfigError
  }
  throw new Error("It was accepted.")
}

const any: StandardSchema = {
  "~standard": { version: 1, vendor: "tests", validate: (value) => ({ value }) },
}

function storeWithout(...members: (keyof SessionStore)[]): object {
  const store: Record<string, unknown> = {
    name: "mine",
    capabilities: {},
    create: stub,
    load: stub,
    update: stub,
    updateTtl: stub,
    changeId: stub,
    delete: stub,
    deleteExpired: stub,
    listByUser: stub,
    deleteByUser: stub,
  }
  for (const member of members) delete store[member]
  return store
}
function stub(): void {}

const DURATION = /expected a duration such as "30s", "15m", "24h", "30d" or whole milliseconds above 0, got /
const BYTES = /expected a whole number of bytes above 0, got /

test("the defaults", () => {
  const config = resolve({ onWarning: stub })
  expect(config).toMatchObject({
    ttl: DAY,
    absoluteTtl: 30 * DAY,
    extendOnLoads: true,
    threshold: 0.8,
    serverStateCreation: "never-skip",
    missingServerState: "renew",
    saveOnServerError: false,
    denyCrossSiteCreation: true,
    throwOnLostWrite: false,
    storeTimeout: 2000,
    transactTimeout: 10_000,
    tombstoneTtl: 600_000,
    maxValueBytes: 262_144,
    maxStateBytes: 1_048_576,
  })
  expect(config.cookie).toMatchObject({ kind: "persistent", sameSite: "lax", plainLocal: undefined })
  expect(config.cookie.standard).toMatchObject({ name: "__Host-id", secure: true })
  expect(config.store.name).toBe("memory")
  expect(config.clock).toBe(Date.now)
})

test("an option that is undefined is one that was not given", () => {
  const names = Object.keys(resolve({})).length
  const none: Record<string, undefined> = {}
  for (const option of OPTIONS) if (option !== "keys") none[option] = undefined
  expect(Object.keys(resolve(none))).toHaveLength(names)
  expect(resolve(none)).toMatchObject({ ttl: DAY, threshold: 0.8, extendOnLoads: true })
})

const OPTIONS = [
  "store",
  "keys",
  "cookie",
  "ttl",
  "absoluteTtl",
  "extendTtl",
  "ttlExtensionThreshold",
  "serverStateCreation",
  "missingServerState",
  "saveOnServerError",
  "crossSiteCreation",
  "onLostWrite",
  "storeTimeout",
  "transactTimeout",
  "tombstoneTtl",
  "maxValueBytes",
  "maxStateBytes",
  "schema",
  "onInvalidStored",
  "onEvent",
  "onWarning",
  "clock",
] as const satisfies readonly (keyof SessionsOptions)[]

test("every option is taken", () => {
  const clock = (): number => 0
  const store = memoryStore()
  const config = resolve({
    store,
    cookie: { name: "s", kind: "browser-session" },
    ttl: "1h",
    absoluteTtl: "2h",
    extendTtl: "on-changes",
    ttlExtensionThreshold: 0,
    serverStateCreation: "skip-if-empty",
    missingServerState: "allow",
    saveOnServerError: true,
    crossSiteCreation: "allow",
    onLostWrite: "throw",
    storeTimeout: 1,
    transactTimeout: 2,
    tombstoneTtl: 3,
    maxValueBytes: 4,
    maxStateBytes: 5,
    schema: { server: { a: any }, client: {} },
    onInvalidStored: "discard",
    onEvent: stub,
    onWarning: stub,
    clock,
  })
  expect(config).toMatchObject({
    store,
    ttl: HOUR,
    absoluteTtl: 2 * HOUR,
    extendOnLoads: false,
    threshold: 0,
    serverStateCreation: "skip-if-empty",
    missingServerState: "allow",
    saveOnServerError: true,
    denyCrossSiteCreation: false,
    throwOnLostWrite: true,
    storeTimeout: 1,
    transactTimeout: 2,
    tombstoneTtl: 3,
    maxValueBytes: 4,
    maxStateBytes: 5,
  })
  expect(config.cookie).toMatchObject({ kind: "browser-session", standard: { name: "__Host-s" } })
  expect(config.server.knows("a")).toBe(true)
  expect(config.server.knows("b")).toBe(false)
  expect(config.client.knows("a")).toBe(false)
})

describe("a wrong option is a ConfigError that names the option, what it got and what it takes", () => {
  test.each<[option: string, value: unknown, message: RegExp, named?: string]>([
    ["store", null, /^store: expected a session store such as sqliteStore\("sessions\.db"\), got null\.$/],
    ["store", "sessions.db", /^store: expected a session store .*, got "sessions\.db"\.$/],
    ["store", {}, /^store: .*, got an object\.$/],
    [
      "store",
      new Map(),
      /^store: .*, got an object without create, load, update, updateTtl, changeId, deleteExpired, listByUser, deleteByUser\.$/,
    ],
    ["store", () => memoryStore(), /^store: .*, got a function\.$/],
    ["store", storeWithout("load"), /got an object without load\.$/],
    ["store", storeWithout("capabilities"), /got an object without capabilities\.$/],

    ["keys", KEY, /^keys: expected a list of secrets such as \[process\.env\.SESSION_KEY\], got a string\.$/],
    ["keys", null, /^keys: expected a list of secrets/],
    ["keys", new Uint8Array(32), /^keys: expected a list of secrets/],
    ["keys", [null], /^keys\[0\] must be a string or a Uint8Array, got null\.$/, "keys[0]"],
    ["keys", [KEY, 5], /^keys\[1\] must be a string or a Uint8Array, got number\.$/, "keys[1]"],
    ["keys", ["short"], /^keys\[0\] must have at least 32 bytes, got 5\..*npx coatcheck key/, "keys[0]"],
    ["keys", [KEY, new Uint8Array(31)], /^keys\[1\] must have at least 32 bytes, got 31\./, "keys[1]"],
    ["keys", [KEY, KEY], /^keys\[1\] is the same key as keys\[0\]\.$/, "keys[1]"],
    ["keys", [KEY, undefined], /^keys: some entries are undefined; an environment variable/],
    ["keys", [undefined, KEY], /^keys: some entries are undefined/],

    ["cookie", "id", /^cookie must be an object, got "id"\.$/],
    ["cookie", null, /^cookie must be an object, got null\.$/],
    ["cookie", { nme: "id" }, /^cookie\.nme is no option; cookie takes name, .* and kind\.$/, "cookie.nme"],
    ["cookie", { name: "a b" }, /^cookie\.name must be .*, got "a b"\.$/, "cookie.name"],
    ["cookie", { prefix: "yes" }, /^cookie\.prefix must be true or false, got "yes"\.$/, "cookie.prefix"],
    ["cookie", { secure: 1 }, /^cookie\.secure must be true, false or "auto", got 1\.$/, "cookie.secure"],
    ["cookie", { domain: "https://x" }, /^cookie\.domain must be a host name/, "cookie.domain"],
    ["cookie", { path: "x" }, /^cookie\.path must start with "\/"/, "cookie.path"],
    ["cookie", { httpOnly: null }, /^cookie\.httpOnly must be true or false, got null\.$/, "cookie.httpOnly"],
    [
      "cookie",
      { sameSite: "Lax" },
      /^cookie\.sameSite must be "strict", "lax" or "none", got "Lax"\.$/,
      "cookie.sameSite",
    ],
    [
      "cookie",
      { sameSite: "none", secure: false },
      /^cookie\.sameSite "none" needs cookie\.secure/,
      "cookie.sameSite",
    ],
    [
      "cookie",
      { sameSite: "none", secure: "auto" },
      /^cookie\.sameSite "none" needs cookie\.secure/,
      "cookie.sameSite",
    ],
    [
      "cookie",
      { partitioned: true, secure: false },
      /^cookie\.partitioned needs cookie\.secure/,
      "cookie.partitioned",
    ],
    [
      "cookie",
      { partitioned: 1 },
      /^cookie\.partitioned must be true or false, got 1\.$/,
      "cookie.partitioned",
    ],
    [
      "cookie",
      { priority: 1 },
      /^cookie\.priority must be "low", "medium" or "high", got 1\.$/,
      "cookie.priority",
    ],
    [
      "cookie",
      { kind: "session" },
      /^cookie\.kind must be "persistent" or "browser-session", got "session"\.$/,
      "cookie.kind",
    ],

    ["ttl", "soon", new RegExp(`^ttl: ${DURATION.source}"soon"\\.$`)],
    ["ttl", 0, new RegExp(`^ttl: ${DURATION.source}0\\.$`)],
    ["ttl", -5, DURATION],
    ["ttl", Number.NaN, DURATION],
    ["ttl", Infinity, DURATION],
    ["ttl", {}, new RegExp(`^ttl: ${DURATION.source}an object\\.$`)],
    ["absoluteTtl", "30 days", new RegExp(`^absoluteTtl: ${DURATION.source}"30 days"\\.$`)],
    ["storeTimeout", 1.5, new RegExp(`^storeTimeout: ${DURATION.source}1\\.5\\.$`)],
    ["transactTimeout", false, new RegExp(`^transactTimeout: ${DURATION.source}false\\.$`)],
    ["tombstoneTtl", [], new RegExp(`^tombstoneTtl: ${DURATION.source}an array\\.$`)],

    ["extendTtl", "always", /^extendTtl: expected "on-loads-and-changes" or "on-changes", got "always"\.$/],
    ["extendTtl", null, /^extendTtl: .*, got null\.$/],
    ["ttlExtensionThreshold", 1.01, /^ttlExtensionThreshold: expected a number from 0 to 1, got 1\.01\.$/],
    ["ttlExtensionThreshold", -0.1, /got -0\.1\.$/],
    ["ttlExtensionThreshold", Number.NaN, /got NaN\.$/],
    ["ttlExtensionThreshold", "0.5", /got "0\.5"\.$/],
    [
      "serverStateCreation",
      "skip",
      /^serverStateCreation: expected "never-skip" or "skip-if-empty", got "skip"\.$/,
    ],
    ["missingServerState", true, /^missingServerState: expected "renew" or "reject" or "allow", got true\.$/],
    ["saveOnServerError", "yes", /^saveOnServerError: expected true or false, got "yes"\.$/],
    ["saveOnServerError", null, /^saveOnServerError: expected true or false, got null\.$/],
    ["crossSiteCreation", false, /^crossSiteCreation: expected "deny" or "allow", got false\.$/],
    ["onLostWrite", "ignore", /^onLostWrite: expected "discard" or "throw", got "ignore"\.$/],
    ["onInvalidStored", 1, /^onInvalidStored: expected "throw" or "discard", got 1\.$/],
    ["maxValueBytes", 0, new RegExp(`^maxValueBytes: ${BYTES.source}0\\.$`)],
    ["maxValueBytes", "1mb", BYTES],
    ["maxValueBytes", 1.5, BYTES],
    ["maxStateBytes", Infinity, new RegExp(`^maxStateBytes: ${BYTES.source}Infinity\\.$`)],
    ["maxStateBytes", -1, BYTES],

    ["schema", "x", /^schema: expected \{ server\?, client\? \}, got "x"\.$/],
    ["schema", null, /^schema: expected .*, got null\.$/],
    [
      "schema",
      { state: {} },
      /^schema\.state is no option; there are schema\.server and schema\.client\.$/,
      "schema.state",
    ],
    [
      "schema",
      { server: null },
      /^schema\.server: expected one Standard Schema for each key, got null\.$/,
      "schema.server",
    ],
    [
      "schema",
      { client: 5 },
      /^schema\.client: expected one Standard Schema for each key, got 5\.$/,
      "schema.client",
    ],
    [
      "schema",
      { server: any },
      /^schema\.server: expected one Standard Schema for each key, got an object\.$/,
      "schema.server",
    ],
    [
      "schema",
      { server: { cart: {} } },
      /^schema\.server\.cart: expected a Standard Schema, got an object\.$/,
      "schema.server.cart",
    ],
    [
      "schema",
      { client: { a: any, b: null } },
      /^schema\.client\.b: expected a Standard Schema, got null\.$/,
      "schema.client.b",
    ],
    [
      "schema",
      { server: { a: { "~standard": {} } } },
      /^schema\.server\.a: expected a Standard Schema/,
      "schema.server.a",
    ],

    ["onEvent", "log", /^onEvent: expected a function, got "log"\.$/],
    ["onEvent", null, /^onEvent: expected a function, got null\.$/],
    ["onWarning", {}, /^onWarning: expected a function, got an object\.$/],
    ["clock", 0, /^clock: expected a function, got 0\.$/],
    ["clock", new Date(0), /^clock: expected a function, got an object\.$/],

    ["tll", "1h", /^"tll" is no option; the options are store, keys, cookie, ttl, .*, clock\.$/],
    ["__proto_", 1, /^"__proto_" is no option/],
    ["toString", 1, /^"toString" is no option/],
  ])("%s: %o", (option, value, message, named = option) => {
    const error = wrong({ keys: [KEY], [option]: value })
    expect(error.message).toMatch(message)
    expect(error.option).toBe(named)
  })

  test.each([null, "x", 5])("options that are %j", (options) => {
    expect(wrong(options).message).toMatch(/^createSessions takes an object of options, got /)
  })

  // The types allow no null, so it is a wrong option like any other; for these it counts as the default instead.
  test.each(["ttl", "absoluteTtl", "storeTimeout", "transactTimeout", "tombstoneTtl"])(
    "%s: null",
    (option) => {
      expect(wrong({ keys: [KEY], [option]: null }).option).toBe(option)
    },
  )

  // "A wrong option is a ConfigError at start-up": `null` is an object for `typeof`, and fails in the first request.
  test("store: capabilities that are null", () => {
    expect(wrong({ keys: [KEY], store: { ...storeWithout(), capabilities: null } }).option).toBe("store")
  })

  test.each([
    ["schema", []],
    ["schema.server", { server: [] }],
  ])("%s: an array", (option, schema) => {
    expect(wrong({ keys: [KEY], schema }).option).toBe(option)
  })

  // It says "got a object", which is neither what it got nor English.
  test("keys: null is called null", () => {
    expect(wrong({ keys: null }).message).toContain("got null")
  })

  test("and shows no key", () => {
    const secret = "hush!".repeat(6)
    expect(wrong({ keys: [secret] }).message).not.toContain("hush")
    expect(wrong({ keys: [KEY, secret] }).message).not.toContain(KEY)
  })
})

describe("keys", () => {
  test.each([[undefined], [[]], [[undefined]], [[undefined, undefined]]])(
    "that are absent (%j) are required in production and where no mode is set",
    (keys) => {
      for (const mode of ["production", "staging", "", undefined]) {
        vi.stubEnv("NODE_ENV", mode)
        const error = wrong({ keys })
        expect(error.option).toBe("keys")
        expect(error.message).toMatch(
          /^keys: at least one secret of 32 bytes or more is required; .*NODE_ENV/,
        )
      }
      for (const process of [undefined, {}]) {
        vi.stubGlobal("process", process)
        const error = wrong({ keys })
        vi.unstubAllGlobals()
        expect(error.option).toBe("keys")
      }
    },
  )

  test.each(["development", "test"])(
    "that are absent are made for the time being under NODE_ENV=%s, with one warning",
    (mode) => {
      vi.stubEnv("NODE_ENV", mode)
      const warnings: string[][] = []
      const make = (): Config =>
        resolve({
          keys: undefined,
          onWarning: (message: string, code: string) => warnings.push([code, message]),
        })
      const [one, two] = [make(), make()]
      expect(warnings.map(([code]) => code)).toEqual(["COATCHECK_TEMPORARY_KEY", "COATCHECK_TEMPORARY_KEY"])
      expect(warnings[0]?.[1]).toMatch(/No keys are configured.*npx coatcheck key/)
      expect(one.ring).not.toBe(two.ring)
    },
  )

  test("may be text or bytes, and old ones may follow", () => {
    const bytes = new Uint8Array(32).fill(7)
    expect(() => resolve({ keys: [KEY, bytes, "ü".repeat(16)] })).not.toThrow()
  })
})

describe("the store that is used by default", () => {
  test.each([
    ["production", ["COATCHECK_MEMORY_STORE"]],
    ["development", []],
    ["test", []],
    [undefined, []],
  ])("under NODE_ENV=%s warns %j", (mode, codes) => {
    vi.stubEnv("NODE_ENV", mode)
    const warnings: string[] = []
    const onWarning = (_message: string, code: string): void => void warnings.push(code)
    expect(resolve({ onWarning }).store.name).toBe("memory")
    expect(warnings).toEqual(codes)
    resolve({ onWarning, store: memoryStore() })
    expect(warnings).toEqual(codes)
  })

  test("follows the clock that is configured", () => {
    const clock = (): number => 5.5
    let given: (() => number) | undefined
    resolveConfig({ keys: [KEY], clock }, (own) => {
      given = own
      return memoryStore()
    })
    expect(given?.(), "in whole milliseconds").toBe(5)
  })
})

describe("ttl and absoluteTtl", () => {
  test.each<[options: SessionsOptions, ttl: number, absoluteTtl: number]>([
    [{ ttl: "1h", absoluteTtl: "1h" }, HOUR, HOUR],
    [{ ttl: "60d" }, 60 * DAY, 60 * DAY],
    [{ absoluteTtl: "1h" }, HOUR, HOUR],
    [{ ttl: "30d" }, 30 * DAY, 30 * DAY],
    [{ ttl: 1 }, 1, 30 * DAY],
  ])("%j", (options, ttl, absoluteTtl) => {
    expect(resolve(options)).toMatchObject({ ttl, absoluteTtl })
  })

  test("a ttl above an absoluteTtl, both given, is refused", () => {
    const error = wrong({ keys: [KEY], ttl: "2h", absoluteTtl: HOUR })
    expect(error.option).toBe("ttl")
    expect(error.message).toBe(
      'ttl: the idle timeout "2h" is longer than absoluteTtl 3600000, which would cut it; raise absoluteTtl or lower ttl.',
    )
  })
})
