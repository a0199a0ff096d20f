import { execFile } from "node:child_process"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { AdapterApp } from "../conformance.ts"
import { startProcess } from "./process.ts"

const next = fileURLToPath(new URL("../../../node_modules/next/dist/bin/next", import.meta.url))
/** It may neither report what is built here, nor install what it misses. */
const quiet = { NEXT_TELEMETRY_DISABLED: "1", npm_config_offline: "true" }
const production = { ...quiet, NODE_ENV: "production" } as const

/** Builds an application of Next.js in its folder, which takes some ten seconds. */
export async function buildNext(folder: string): Promise<void> {
  await promisify(execFile)(process.execPath, [next, "build"], {
    cwd: folder,
    env: { ...process.env, ...production },
  })
}

/** Serves what was built, in a process of its own. */
export async function startNext(
  folder: string,
  { host = "127.0.0.1", env = {} }: { host?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<AdapterApp> {
  const args = [next, "start", "--hostname", host, "--port", String(await freePort())]
  return startProcess(process.execPath, args, { cwd: folder, env: { ...production, ...env } })
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
