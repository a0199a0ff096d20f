import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync, readFileSync } from "node:fs"
import { once } from "node:events"
import type { Account } from "./accounts.ts"
import { ownProcess } from "./belongings.ts"

export interface Command {
  readonly program: string
  readonly args: readonly string[]
  /** The user that runs it. Default: ourselves. */
  readonly account?: Account | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  /** The folder in which it runs. */
  readonly folder: string
  /** The file to which its output is appended. */
  readonly log: string
}

/** Starts a program that must not outlive this process. Its output goes to the log. */
export function launch(command: Command): ChildProcess {
  const { program, args, account, env, folder } = command
  const log = openSync(command.log, "a")
  try {
    const child = spawn(program, args, {
      cwd: folder,
      env: { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/bin:/sbin:/bin`, ...env },
      stdio: ["ignore", log, log],
      // In a group of its own: an interrupt from the terminal is for the tests, which then stop their servers.
      detached: true,
      ...account,
    })
    ownProcess(child)
    return child
  } finally {
    closeSync(log)
  }
}

/** Runs a program to its end, which must be a success. */
export async function run(command: Command): Promise<void> {
  const child = launch(command)
  // A program that cannot be started emits an error instead, and `once` rejects.
  const [code, signal] = (await once(child, "exit")) as [number | null, string | null]
  if (code !== 0) throw new Error(`${command.program} ended with ${code ?? signal}:\n${tailOf(command.log)}`)
}

export function tailOf(log: string): string {
  return readFileSync(log, "utf8").slice(-4_000).trim()
}
