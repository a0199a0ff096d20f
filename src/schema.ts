import { ConfigError, type ValidationIssue, ValueValidationError } from "./errors.ts"
import { type JsonValue, quote } from "./json.ts"

/** A validator of any library that follows Standard Schema (standardschema.dev), version 1. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] }

interface StandardIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** A schema for each key. */
export type SchemaMap = Readonly<Record<string, StandardSchema>>

/** The type a schema takes, or gives. */
export type InputOf<Map extends SchemaMap> = {
  [K in keyof Map]: NonNullable<Map[K]["~standard"]["types"]>["input"]
}
export type OutputOf<Map extends SchemaMap> = {
  [K in keyof Map]: NonNullable<Map[K]["~standard"]["types"]>["output"]
}

/** Checks values against the schema of their key. */
export interface Validator {
  /** @throws {ValueValidationError} if the value does not fit, or there is no such key. */
  check(key: string, value: unknown): void
  /** What the schema makes of a stored value; undefined if it does not fit and such values are discarded. */
  read(key: string, value: JsonValue): unknown
  /** Whether the schema knows the key: others, left by an earlier release, are not shown. */
  knows(key: string): boolean
}

/** Lets everything through. */
export const anyValue: Validator = {
  check() {},
  read: (_key, value) => value,
  knows: () => true,
}

/** @param discarded is told of a stored value that no longer fits and reads as undefined; if undefined, reading it throws. */
export function schemaValidator(
  option: string,
  schema: SchemaMap,
  discarded: ((key: string) => void) | undefined,
): Validator {
  const schemas = new Map(Object.entries(schema))
  return {
    check(key, value) {
      const known = schemas.get(key)
      if (known === undefined) throw invalid(key, false, [{ message: "the schema has no such key" }])
      const result = validate(option, key, known, value)
      if (result.issues !== undefined) throw invalid(key, false, result.issues.map(plainIssue))
    },
    read(key, value) {
      const known = schemas.get(key)
      if (known === undefined) return undefined
      const result = validate(option, key, known, value)
      if (result.issues === undefined) return result.value
      if (discarded === undefined) throw invalid(key, true, result.issues.map(plainIssue))
      discarded(key)
      return undefined
    },
    knows: (key) => schemas.has(key),
  }
}

function validate(
  option: string,
  key: string,
  schema: StandardSchema,
  value: unknown,
): StandardResult<unknown> {
  const result = schema["~standard"].validate(value)
  if (!("then" in result)) return result
  // Nobody waits for it, so its rejection must not end the process.
  result.then(undefined, () => undefined)
  throw new ConfigError(
    `${option}.${key}: asynchronous validators are not supported; writes are synchronous.`,
    {
      option: `${option}.${key}`,
    },
  )
}

function invalid(key: string, stored: boolean, issues: readonly ValidationIssue[]): ValueValidationError {
  const what = stored ? "The stored value" : "The value"
  return new ValueValidationError(`${what} of ${quote(key)} does not fit its schema; see issues.`, {
    key,
    stored,
    issues,
  })
}

function plainIssue({ message, path }: StandardIssue): ValidationIssue {
  if (path === undefined) return { message }
  return { message, path: path.map((step) => (typeof step === "object" ? step.key : step)) }
}
