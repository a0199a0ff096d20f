import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ensureInstalled } from "./install.mjs"
import { run } from "./process.mjs"

/** A task that runs one program of node_modules/.bin; the arguments of the command line come last. */
function tool(command, ...fixed) {
  return ({ args, env, capture }) => run(command, [...fixed, ...args], { env, capture })
}

/** A task made of others: the first that fails ends it. */
function inOrder(...tasks) {
  return async (context) => {
    let output = ""
    for (const task of tasks) {
      const result = await task(context)
      output += result.output
      if (result.code !== 0) return { code: result.code, output }
    }
    return { code: 0, output }
  }
}

/** A task whose work needs dist; `npm test` builds once and then calls `afterBuild` alone. */
function built(...tasks) {
  const afterBuild = inOrder(...tasks)
  return Object.assign(inOrder(build, afterBuild), { afterBuild })
}

async function build({ env, capture }) {
  const result = await run("tsc", ["-p", "tsconfig.build.json"], { env, capture })
  if (result.code === 0) removeLeftovers()
  return result
}

/** Removes from dist what no source file makes any more, so that it is never published. */
function removeLeftovers() {
  for (const entry of readdirSync("dist", { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = join(entry.parentPath ?? entry.path, entry.name)
    const source = file.replace(/^dist/, "src").replace(/\.(d\.ts|js)$/, ".ts")
    if (!existsSync(source) || source.includes(".test")) rmSync(file)
  }
}

async function start({ node, env, args }) {
  const result = await build({ env })
  if (result.code !== 0) return result
  return run(node, ["examples/demo/server.ts", ...args], { env })
}

/** Checks the package as it would be published, not the working tree. */
async function checkTarball({ env, capture }) {
  const folder = mkdtempSync(join(tmpdir(), "package-"))
  try {
    const pack = await run("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], {
      env,
      capture,
    })
    if (pack.code !== 0) return pack
    const tarball = join(folder, readdirSync(folder)[0])
    const publint = await run("publint", ["run", tarball, "--strict"], { env, capture })
    const attw = await run("attw", [tarball, "--profile", "esm-only"], { env, capture })
    return { code: publint.code || attw.code, output: publint.output + attw.output }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The examples import the package by its name, as their readers will. */
async function checkExamples({ root, env, capture }) {
  const examples = readdirSync(join(root, "examples")).filter((name) =>
    existsSync(join(root, "examples", name, "tsconfig.json")),
  )
  const checks = examples.map((name) => tool("tsc", "-p", `examples/${name}`))
  return inOrder(
    tool("react-router", "typegen", "examples/react-router"),
    ...checks,
  )({ args: [], env, capture })
}

async function otherNodeVersions({ root }) {
  await ensureInstalled(join(root, "test", "node-versions"))
  return { code: 0, output: "" }
}

const vitest = (...fixed) => tool("vitest", "run", ...fixed)

/** What only a database server can put to the test. */
const onServers = ["src/stores/mysql*.ts", "src/stores/postgres-failures.ts", "src/stores/redis*.ts"]

export function isContinuousIntegration() {
  return !["", "0", "false"].includes(process.env.CI ?? "")
}

/** CI runs what takes long as well. A machine without the servers has nothing to measure; CI has them all. */
function onContinuousIntegration() {
  if (!isContinuousIntegration()) return []
  return [
    "--project",
    "thorough",
    "--coverage",
    "--coverage.reportsDirectory=coverage/stores",
    // The rest is what unit tests see: clients of other shapes, statements of every kind.
    "--coverage.thresholds.branches=85",
    ...onServers.map((file) => `--coverage.include=${file}`),
  ]
}

/** What only its framework can put to the test: in the tests' own process, and in those of applications that are built. */
const mounted = ["express", "fastify", "h3", "hono", "koa"].map((name) => `src/adapters/${name}.ts`)
const builtIn = ["astro", "next", "react-router", "sveltekit"].map((name) => `src/adapters/${name}.ts`)

/**
 * What `npm run <name>` does.
 * @type {Record<string, (context) => Promise<{ code: number, output: string }>>}
 */
export const tasks = {
  start,
  build,
  "check:types": inOrder(
    tool("tsc", "-p", "tsconfig.json"),
    tool("tsc", "-p", "tsconfig.core.json"),
    tool("tsc", "-p", "test/browser/tsconfig.json"),
    tool("tsc", "-p", "test/adapters/tsconfig.json"),
  ),
  "check:examples": built(checkExamples),
  lint: inOrder(tool("oxlint"), tool("node", "scripts/lock-platforms.mjs", "--check")),
  format: tool("oxfmt"),
  "format:check": tool("oxfmt", "--check"),
  "check:unused": tool("knip"),
  "check:package": built(checkTarball),
  "test:types": inOrder(
    tool("tsc", "-p", "test/types/tsconfig.json"),
    ...["pglite", "unstorage", "cloudflare", "cloudflare-kv"].map((name) =>
      tool("tsc", "-p", `test/types/${name}/tsconfig.json`),
    ),
  ),
  "test:file": vitest(),
  "test:unit": vitest(
    "--project",
    "unit",
    "--maxWorkers=2",
    "--coverage",
    ...[...onServers, ...mounted, ...builtIn].map((file) => `--coverage.exclude=${file}`),
  ),
  "test:stores": vitest("--project", "stores", "--maxWorkers=2", ...onContinuousIntegration()),
  "test:browser": built(vitest("--project", "browser")),
  "test:built": built(vitest("--project", "built", "--maxWorkers=2")),
  "test:adapters": built(
    vitest(
      "--project",
      "adapters",
      "--maxWorkers=2",
      "--coverage",
      "--coverage.reportsDirectory=coverage/adapters",
      "--coverage.thresholds.branches=90",
      ...mounted.map((file) => `--coverage.include=${file}`),
    ),
  ),
  "test:runtimes": built(otherNodeVersions, vitest("--project", "runtimes", "--passWithNoTests")),
  "test:package": built(otherNodeVersions, vitest("--project", "package")),
  bench: built(tool("node", "bench/micro/index.ts")),
  "bench:stores": built(tool("node", "bench/stores/index.ts")),
  "bench:sweep": built(tool("node", "bench/stores/sweep.ts")),
}
