import { ConfigError } from "../errors.ts"

const NAME = /^[!-~]{1,64}$/

/** What an option names, if it needs no escaping anywhere. @throws {ConfigError} */
export function nameOption(option: string, name: unknown, example: string): string {
  if (typeof name === "string" && NAME.test(name)) return name
  throw new ConfigError(
    `${option}: expected 1 to 64 printable ASCII characters without spaces, such as "${example}".`,
    { option },
  )
}
