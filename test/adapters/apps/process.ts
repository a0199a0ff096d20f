import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { AdapterApp } from "../conformance.ts"

const root = fileURLToPath(new URL("../../../", import.meta.url))
const URL_IN_OUTPUT = /https?:\/\/(?:127\.0\.0\.1|localhost|\[::1\]):\d+/

export interface ProcessOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Starts an application in a process of its own, and waits until it has printed where it listens. */
export async function startProcess(
  program: string,
  args: readonly string[],
  { cwd = root, env = {} }: ProcessOptions = {},
): Promise<AdapterApp> {
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  const url = await urlOf(child)
  return {
    url,
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, "exit")
      child.kill()
      await ended
    },
  }
}

function urlOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = ""
    const read = (chunk: Buffer): void => {
      output += chunk.toString()
      const url = URL_IN_OUTPUT.exec(output)?.[0]
      if (url !== undefined) resolve(url)
    }
    child.stdout?.on("data", read)
    child.stderr?.on("data", read)
    child.once("error", reject)
    child.once("exit", (code) => reject(new Error(`It ended with ${code} before it listened: ${output}`)))
  })
}
