import { ConfigError } from "../errors.ts"

/** A misspelt option must not be a silent default. @throws {ConfigError} that names it */
export function assertKnownOptions(factory: string, options: object, known: readonly string[]): void {
  for (const option of Object.keys(options)) {
    if (known.includes(option)) continue
    throw new ConfigError(`${factory}: there is no option ${option}; there are ${known.join(", ")}.`, {
      option,
    })
  }
}
