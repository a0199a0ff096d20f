import { freshKey } from "./key.ts"

/** Where a command writes, such as `process.stdout`. */
export interface Output {
  write(text: string): unknown
}

const USAGE = `Usage: npx coatcheck <command>

Commands:
  key         Print a fresh key for the "keys" option of createSessions, and nothing else.

Options:
  -h, --help  Print this help.
`

/** Runs the command these arguments name. Returns the exit code: 0, or 1 when there is no such command. */
export function runCommand(args: readonly string[], output: Output, errors: Output): 0 | 1 {
  const [command, ...rest] = args
  if (command === "key" && rest.length === 0) {
    output.write(`${freshKey()}\n`)
    return 0
  }
  if (args.includes("--help") || args.includes("-h")) {
    output.write(USAGE)
    return 0
  }
  errors.write(command === undefined ? USAGE : `Unknown command: ${args.join(" ")}\n\n${USAGE}`)
  return 1
}
