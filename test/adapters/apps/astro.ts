import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { AdapterApp } from "../conformance.ts"
import { startProcess } from "./process.ts"

const root = fileURLToPath(new URL("../../../", import.meta.url))

type Environment = Readonly<Record<string, string>>

/** Builds an Astro project into its own `dist`. */
export async function buildAstro(project: string, env: Environment = {}): Promise<void> {
  const program = join(root, "node_modules/astro/bin/astro.mjs")
  const child = spawn(process.execPath, [program, "build", "--root", project], {
    env: { ...process.env, ...env, ASTRO_TELEMETRY_DISABLED: "1", NODE_ENV: undefined },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text))
  }
  const [code] = (await once(child, "close")) as [number | null]
  if (code !== 0) throw new Error(`astro build ended with ${code}:\n${output}`)
}

/** Starts what was built, on a free port. */
export function startAstro(
  project: string,
  program: readonly string[],
  env: Environment = {},
): Promise<AdapterApp> {
  return startProcess(process.execPath, program, {
    cwd: project,
    env: { NODE_ENV: "production", HOST: "localhost", PORT: "0", ...env },
  })
}
