import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { AdapterApp } from "../conformance.ts"
import { startProcess } from "./process.ts"

/** The folder of the application. */
export const folder: string = fileURLToPath(new URL("../built/react-router", import.meta.url))

const root = fileURLToPath(new URL("../../../", import.meta.url))
/** Lets the application have the sources of this library. */
const sources = new URL("../../docs/sources.ts", import.meta.url).href

let built: Promise<unknown> | undefined

/** Builds an application with React Router's own program. */
export function buildReactRouter(cwd: string): Promise<unknown> {
  return promisify(execFile)(
    process.execPath,
    [`${root}node_modules/@react-router/dev/bin.cjs`, "build"],
    // Not the environment of the tests, in which Vite would build for them.
    { cwd, env: { PATH: process.env["PATH"], NODE_OPTIONS: `--import ${sources}`, NODE_ENV: "production" } },
  )
}

/** Starts the application, built once. */
export async function startReactRouter(env: Readonly<Record<string, string>> = {}): Promise<AdapterApp> {
  await (built ??= buildReactRouter(folder))
  return startProcess(process.execPath, ["--import", sources, `${folder}/server.ts`], {
    env: { NODE_ENV: "production", ...env },
  })
}
