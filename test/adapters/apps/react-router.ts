import { execFile } from "node:child_process"
import { cp, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
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

/** Builds and starts the shortest program of the documentation. */
export async function startCounter(env: Readonly<Record<string, string>>): Promise<AdapterApp> {
  const copy = await mkdtemp(join(tmpdir(), "react-router-"))
  const example = join(root, "examples/react-router")
  await cp(join(example, "counter"), copy, { recursive: true })
  // React Router's own entry.server would have its build ask npm for another package.
  for (const name of ["vite.config.ts", "server.ts", "app/entry.server.tsx"]) {
    await cp(join(example, name), join(copy, name))
  }
  await writeFile(join(copy, "package.json"), JSON.stringify({ private: true, type: "module" }))
  await symlink(join(root, "node_modules"), join(copy, "node_modules"), "junction")
  const remove = (): Promise<void> => rm(copy, { recursive: true, force: true })
  try {
    await buildReactRouter(copy)
    const app = await startProcess(process.execPath, ["--import", sources, join(copy, "server.ts")], {
      env: { NODE_ENV: "production", PORT: "0", ...env },
    })
    return { url: app.url, close: () => app.close().then(remove) }
  } catch (error) {
    await remove()
    throw error
  }
}
