import { type CookieOptions, type ResolvedCookie, resolveCookie } from "./cookie/attributes.ts"
import { KeyRing } from "./cookie/key-ring.ts"
import { primitives } from "./crypto/index.ts"
import { createDiagnostics, type Diagnostics, type SessionEvent } from "./diagnostics.ts"
import { ConfigError } from "./errors.ts"
import { type Duration, durationOption, shown } from "./expiry.ts"
import { kindOf } from "./json.ts"
import type { Policy } from "./plan.ts"
import { anyValue, type SchemaMap, schemaValidator, type Validator } from "./schema.ts"
import type { SessionStore } from "./store.ts"

/** The options of `createSessions`. */
export interface SessionsOptions {
  /** Where server state lives. Default: this process's memory, with one warning in production. */
  readonly store?: SessionStore | undefined
  /**
   * Secrets of at least 32 bytes each, newest first: the first seals, all open. Strings stand for their UTF-8 bytes. `npx coatcheck key` prints one.
   * Default: a key that lives as long as the process, with one warning, if `NODE_ENV` is `development` or `test`; else they are required.
   */
  readonly keys?: readonly (string | Uint8Array | undefined)[] | undefined
  readonly cookie?: CookieOptions | undefined
  /** Idle timeout. Default `"24h"`. */
  readonly ttl?: Duration | undefined
  /** Hard end from creation or sign-in. Default `"30d"`, or `ttl` if that is longer. */
  readonly absoluteTtl?: Duration | undefined
  /** What extends a session: `"on-loads-and-changes"` (default) or `"on-changes"`. */
  readonly extendTtl?: "on-loads-and-changes" | "on-changes" | undefined
  /** Extend when the remaining time is below this share of the idle timeout, 0 to 1. Default 0.8; 1 means whenever used. */
  readonly ttlExtensionThreshold?: number | undefined
  /** Whether a session with only client state gets an empty record, so that it can be revoked. Default `"never-skip"`. */
  readonly serverStateCreation?: "never-skip" | "skip-if-empty" | undefined
  /** What to do with a good cookie whose record is gone without a trace. Default `"renew"`: start afresh. */
  readonly missingServerState?: "renew" | "reject" | "allow" | undefined
  /** Whether what is pending is saved when the response is a 5xx. Default `false`. */
  readonly saveOnServerError?: boolean | undefined
  /** Whether a cross-site request whose cookie `SameSite` withheld may start a session by mere writes. Default `"deny"`. */
  readonly crossSiteCreation?: "deny" | "allow" | undefined
  /** What becomes of changes to a session that another request ended. Default `"discard"`; `"throw"`: `SessionEndedError`. */
  readonly onLostWrite?: "discard" | "throw" | undefined
  /** How long one store operation may take. Default `"2s"`. */
  readonly storeTimeout?: Duration | undefined
  /** How long `transact` goes on trying. Default `"10s"`. */
  readonly transactTimeout?: Duration | undefined
  /** How long word of an ended or moved session is kept. Must outlast your longest request. Default `"10m"`. */
  readonly tombstoneTtl?: Duration | undefined
  /** The largest value, in bytes of JSON. Default 256 KiB. */
  readonly maxValueBytes?: number | undefined
  /** The largest server state, in bytes of JSON: of what a request knows of it. Default 1 MiB. */
  readonly maxStateBytes?: number | undefined
  /** A Standard Schema for each key; the types are inferred from it. */
  readonly schema?:
    | { readonly server?: SchemaMap | undefined; readonly client?: SchemaMap | undefined }
    | undefined
  /** What reading a stored value that no longer fits its schema does. Default `"throw"`; `"discard"`: it reads as undefined. */
  readonly onInvalidStored?: "throw" | "discard" | undefined
  /** Is told what happens, without secrets and values. */
  readonly onEvent?: ((event: SessionEvent) => void) | undefined
  /** Is told each warning once. Default: `process.emitWarning`. */
  readonly onWarning?: ((message: string, code: string) => void) | undefined
  /** Milliseconds since the epoch; for tests. Default `Date.now`. */
  readonly clock?: (() => number) | undefined
}

/** Validated options. */
export interface Config extends Policy {
  readonly store: SessionStore
  readonly ring: KeyRing
  readonly cookie: ResolvedCookie
  readonly ttl: number
  readonly absoluteTtl: number
  readonly extendOnLoads: boolean
  readonly threshold: number
  readonly saveOnServerError: boolean
  readonly denyCrossSiteCreation: boolean
  readonly isProduction: boolean
  readonly throwOnLostWrite: boolean
  readonly storeTimeout: number
  readonly transactTimeout: number
  readonly tombstoneTtl: number
  readonly maxValueBytes: number
  readonly maxStateBytes: number
  readonly server: Validator
  readonly client: Validator
  readonly clock: () => number
  readonly diagnostics: Diagnostics
}

const OPTIONS: Readonly<Record<keyof SessionsOptions, true>> = {
  store: true,
  keys: true,
  cookie: true,
  ttl: true,
  absoluteTtl: true,
  extendTtl: true,
  ttlExtensionThreshold: true,
  serverStateCreation: true,
  missingServerState: true,
  saveOnServerError: true,
  crossSiteCreation: true,
  onLostWrite: true,
  storeTimeout: true,
  transactTimeout: true,
  tombstoneTtl: true,
  maxValueBytes: true,
  maxStateBytes: true,
  schema: true,
  onInvalidStored: true,
  onEvent: true,
  onWarning: true,
  clock: true,
}

const OPERATIONS = [
  "create",
  "load",
  "update",
  "updateTtl",
  "changeId",
  "delete",
  "deleteExpired",
  "listByUser",
  "deleteByUser",
] as const satisfies readonly (keyof SessionStore)[]

/** Validates the options. @throws {ConfigError} that names the option, what it got and what it takes. */
export function resolveConfig(
  options: SessionsOptions,
  defaultStore: (clock: () => number) => SessionStore,
): Config {
  if (typeof options !== "object" || options === null) {
    throw new ConfigError(`createSessions takes an object of options, got ${shown(options)}.`)
  }
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(OPTIONS, name)) {
      throw new ConfigError(
        `${shown(name)} is no option; the options are ${Object.keys(OPTIONS).join(", ")}.`,
        {
          option: name,
        },
      )
    }
  }
  const onEvent = callback("onEvent", options.onEvent)
  const onWarning = callback("onWarning", options.onWarning)
  const given = callback("clock", options.clock)
  // Sealed times are whole milliseconds.
  const clock = given === undefined ? Date.now : () => Math.floor(given())
  const diagnostics = createDiagnostics({ onEvent, onWarning })
  const discards = choice("onInvalidStored", options.onInvalidStored, ["throw", "discard"]) === "discard"
  return {
    ...resolveLifetimes(options),
    serverStateCreation: choice("serverStateCreation", options.serverStateCreation, [
      "never-skip",
      "skip-if-empty",
    ]),
    missingServerState: choice("missingServerState", options.missingServerState, [
      "renew",
      "reject",
      "allow",
    ]),
    extendOnLoads:
      choice("extendTtl", options.extendTtl, ["on-loads-and-changes", "on-changes"]) !== "on-changes",
    threshold: threshold(options.ttlExtensionThreshold),
    saveOnServerError: flag("saveOnServerError", options.saveOnServerError),
    denyCrossSiteCreation:
      choice("crossSiteCreation", options.crossSiteCreation, ["deny", "allow"]) === "deny",
    isProduction: environment() === "production",
    throwOnLostWrite: choice("onLostWrite", options.onLostWrite, ["discard", "throw"]) === "throw",
    storeTimeout: duration("storeTimeout", options.storeTimeout, "2s"),
    transactTimeout: duration("transactTimeout", options.transactTimeout, "10s"),
    tombstoneTtl: duration("tombstoneTtl", options.tombstoneTtl, "10m"),
    maxValueBytes: bytes("maxValueBytes", options.maxValueBytes, 256 * 1024),
    maxStateBytes: bytes("maxStateBytes", options.maxStateBytes, 1024 * 1024),
    ...resolveSchema(options.schema, discards, diagnostics),
    clock,
    diagnostics,
    cookie: resolveCookie(options.cookie),
    ring: resolveKeys(options.keys, diagnostics),
    store: resolveStore(options.store, diagnostics, () => defaultStore(clock)),
  }
}

function resolveLifetimes(options: SessionsOptions): { ttl: number; absoluteTtl: number } {
  const ttl = duration("ttl", options.ttl, "24h")
  const absoluteTtl = duration("absoluteTtl", options.absoluteTtl, "30d")
  if (ttl <= absoluteTtl) return { ttl, absoluteTtl }
  if (options.ttl !== undefined && options.absoluteTtl !== undefined) {
    throw new ConfigError(
      `ttl: the idle timeout ${shown(options.ttl)} is longer than absoluteTtl ${shown(options.absoluteTtl)}, which would cut it; raise absoluteTtl or lower ttl.`,
      { option: "ttl" },
    )
  }
  // The one that was given wins over the other's default.
  return options.ttl === undefined ? { ttl: absoluteTtl, absoluteTtl } : { ttl, absoluteTtl: ttl }
}

function resolveKeys(keys: SessionsOptions["keys"], diagnostics: Diagnostics): KeyRing {
  if (keys !== undefined && !Array.isArray(keys)) {
    throw new ConfigError(
      `keys: expected a list of secrets such as [process.env.SESSION_KEY], got ${kindOf(keys)}.`,
      { option: "keys" },
    )
  }
  const given = (keys ?? []).filter((key) => key !== undefined)
  if (given.length > 0 && given.length < (keys ?? []).length) {
    throw new ConfigError(
      "keys: some entries are undefined; an environment variable is probably not set. Leave out what you do not have.",
      { option: "keys" },
    )
  }
  if (given.length > 0) return KeyRing.create(given)
  const mode = environment()
  if (mode !== "development" && mode !== "test") {
    throw new ConfigError(
      "keys: at least one secret of 32 bytes or more is required; `npx coatcheck key` prints one. (With NODE_ENV=development or test a temporary one is made.)",
      { option: "keys" },
    )
  }
  diagnostics.warn(
    "COATCHECK_TEMPORARY_KEY",
    "No keys are configured: sessions end when this process does. Set keys; `npx coatcheck key` prints one.",
  )
  return KeyRing.create([primitives().randomBytes(32)])
}

function resolveStore(
  store: SessionStore | undefined,
  diagnostics: Diagnostics,
  defaultStore: () => SessionStore,
): SessionStore {
  if (store === undefined) {
    if (environment() === "production") {
      diagnostics.warn(
        "COATCHECK_MEMORY_STORE",
        "Sessions are kept in this process's memory: they end with it, and no other process sees them. Set store.",
      )
    }
    return defaultStore()
  }
  const missing =
    typeof store !== "object" || store === null
      ? OPERATIONS
      : OPERATIONS.filter((operation) => typeof store[operation] !== "function")
  if (missing.length > 0 || typeof store.capabilities !== "object" || store.capabilities === null) {
    throw new ConfigError(
      `store: expected a session store such as sqliteStore("sessions.db"), got ${shown(store)}${missing.length < OPERATIONS.length ? ` without ${missing.join(", ") || "capabilities"}` : ""}.`,
      { option: "store" },
    )
  }
  return store
}

function resolveSchema(
  schema: SessionsOptions["schema"],
  discards: boolean,
  diagnostics: Diagnostics,
): { server: Validator; client: Validator } {
  if (schema === undefined) return { server: anyValue, client: anyValue }
  if (!isPlain(schema)) {
    throw new ConfigError(`schema: expected { server?, client? }, got ${shown(schema)}.`, {
      option: "schema",
    })
  }
  for (const name of Object.keys(schema)) {
    if (name !== "server" && name !== "client") {
      throw new ConfigError(`schema.${name} is no option; there are schema.server and schema.client.`, {
        option: `schema.${name}`,
      })
    }
  }
  const validator = (state: "server" | "client"): Validator => {
    const map = schema[state]
    if (map === undefined) return anyValue
    const option = `schema.${state}`
    assertSchemaMap(option, map)
    const discarded = (key: string): void => diagnostics.emit({ type: "stored-value-invalid", key, state })
    return schemaValidator(option, map, discards ? discarded : undefined)
  }
  return { server: validator("server"), client: validator("client") }
}

function assertSchemaMap(option: string, map: SchemaMap): void {
  if (!isPlain(map) || "~standard" in map) {
    throw new ConfigError(`${option}: expected one Standard Schema for each key, got ${shown(map)}.`, {
      option,
    })
  }
  for (const [key, schema] of Object.entries(map)) {
    if (typeof schema?.["~standard"]?.validate !== "function") {
      throw new ConfigError(`${option}.${key}: expected a Standard Schema, got ${shown(schema)}.`, {
        option: `${option}.${key}`,
      })
    }
  }
}

function isPlain(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** The first choice is the default. */
function choice<const T extends string>(
  option: string,
  value: T | undefined,
  choices: readonly [T, ...T[]],
): T {
  if (value === undefined) return choices[0]
  if (choices.includes(value)) return value
  throw new ConfigError(
    `${option}: expected ${choices.map((text) => JSON.stringify(text)).join(" or ")}, got ${shown(value)}.`,
    { option },
  )
}

function flag(option: string, value: boolean | undefined): boolean {
  if (value === undefined || typeof value === "boolean") return value ?? false
  throw new ConfigError(`${option}: expected true or false, got ${shown(value)}.`, { option })
}

function duration(option: string, value: Duration | undefined, fallback: Duration): number {
  return durationOption(option, value === undefined ? fallback : value)
}

function threshold(value: number | undefined): number {
  if (value === undefined) return 0.8
  if (typeof value === "number" && value >= 0 && value <= 1) return value
  throw new ConfigError(`ttlExtensionThreshold: expected a number from 0 to 1, got ${shown(value)}.`, {
    option: "ttlExtensionThreshold",
  })
}

function bytes(option: string, value: number | undefined, fallback: number): number {
  if (value === undefined) return fallback
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new ConfigError(`${option}: expected a whole number of bytes above 0, got ${shown(value)}.`, {
    option,
  })
}

function callback<T extends (...input: never[]) => unknown>(
  option: string,
  value: T | undefined,
): T | undefined {
  if (value === undefined || typeof value === "function") return value
  throw new ConfigError(`${option}: expected a function, got ${shown(value)}.`, { option })
}

interface ProcessLike {
  readonly process?: { readonly env?: Readonly<Record<string, string | undefined>> | undefined } | undefined
}

function environment(): string | undefined {
  return (globalThis as ProcessLike).process?.env?.["NODE_ENV"]
}
