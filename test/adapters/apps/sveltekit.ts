import { execFile } from "node:child_process"
import { once } from "node:events"
import { cp, mkdir, mkdtemp, symlink, writeFile } from "node:fs/promises"
import { type AddressInfo, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { AdapterApp } from "../conformance.ts"
import { startProcess } from "./process.ts"

const viteBuild = fileURLToPath(new URL("../../support/vite-build.ts", import.meta.url))
const fixture = fileURLToPath(new URL("../built/sveltekit", import.meta.url))
const example = fileURLToPath(new URL("../../../examples/sveltekit", import.meta.url))
const packages = fileURLToPath(new URL("../../../node_modules", import.meta.url))

/** An application that is built. */
export interface SvelteKitBuild {
  /** Where it will be served, for SvelteKit is told when it builds. */
  readonly origin: string
  /** The folder that everything is in. */
  readonly folder: string
  /** The server that `@sveltejs/adapter-node` has made. */
  readonly server: string
}

/** Builds the application of the tests. */
export async function buildFixture(): Promise<SvelteKitBuild> {
  const folder = await mkdtemp(join(tmpdir(), "sveltekit-"))
  const origin = `http://127.0.0.1:${await freePort()}`
  await build(fixture, { ORIGIN: origin, BUILD_FOLDER: folder })
  return { origin, folder, server: join(folder, "app/index.js") }
}

/**
 * Builds a copy of the example, with other files in place of some.
 * @param files by their path in the example
 */
export function buildExample(files: Readonly<Record<string, string>>): Promise<SvelteKitBuild> {
  return buildCopy(["src"], files)
}

/** Builds the shortest program of the documentation. */
export function buildCounter(): Promise<SvelteKitBuild> {
  return buildCopy(
    ["src/app.html", "counter/src"],
    {},
    { SESSION_KEY: "a key of a build, long enough to seal" },
  )
}

/** @param sources files and folders of the example, of which "counter" is another application */
async function buildCopy(
  sources: readonly string[],
  files: Readonly<Record<string, string>>,
  env: Readonly<Record<string, string>> = {},
): Promise<SvelteKitBuild> {
  const folder = await mkdtemp(join(tmpdir(), "sveltekit-"))
  // Not its tsconfig.json: SvelteKit reads it with a library that TypeScript 7 has not.
  for (const name of [...sources, "vite.config.ts"]) {
    await cp(join(example, name), join(folder, name.replace(/^counter\//, "")), { recursive: true })
  }
  await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  // SvelteKit writes into this folder.
  await mkdir(join(folder, "node_modules"))
  for (const name of ["@sveltejs", "svelte", "vite"]) {
    await symlink(join(packages, name), join(folder, "node_modules", name), "junction")
  }
  for (const [path, text] of Object.entries(files)) await writeFile(join(folder, path), text)
  const origin = `http://localhost:${await freePort()}`
  await build(folder, { ORIGIN: origin, ...env })
  return { origin, folder, server: join(folder, "build/index.js") }
}

/** @throws what `vite build` has said, if it failed. */
async function build(cwd: string, env: Readonly<Record<string, string>>): Promise<void> {
  await promisify(execFile)(process.execPath, [viteBuild], {
    cwd,
    // Not the environment of the tests, in which Vite would build for them.
    env: { PATH: process.env["PATH"], NODE_ENV: "production", ...env },
  })
}

export function startSvelteKit(
  { server, origin }: SvelteKitBuild,
  env: Readonly<Record<string, string>> = {},
): Promise<AdapterApp> {
  const { hostname, port } = new URL(origin)
  return startProcess(process.execPath, [server], {
    env: { NODE_ENV: "production", HOST: hostname, PORT: port, ...env },
  })
}

/** A port that nobody listens on, and that a server is told before it does. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}
