import { createRequire } from "node:module"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { build, type Rolldown } from "vite"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** One module of a Worker and of all it imports, made as the tools for Workers make it. The package must have been built. */
export async function bundleWorker(entry: string): Promise<string> {
  const made = await build({
    configFile: false,
    root,
    logLevel: "error",
    resolve: { conditions: ["workerd", "worker", "browser"] },
    build: {
      write: false,
      minify: false,
      target: "es2023",
      lib: { entry, formats: ["es"], fileName: "worker" },
      rolldownOptions: { external: [/^(?:node|cloudflare):/] },
    },
  })
  const [bundle] = (Array.isArray(made) ? made : [made]) as Rolldown.RolldownOutput[]
  const chunk = bundle?.output[0]
  if (chunk === undefined) throw new Error(`Nothing was made of ${entry}.`)
  return chunk.code
}

export interface WorkerOptions {
  /** What `bundleWorker` has made. */
  readonly code: string
  readonly compatibilityDate: string
  readonly compatibilityFlags: readonly string[]
  /** Variables and secrets. */
  readonly bindings: Readonly<Record<string, string>>
  /** Databases, the name of the binding to their id. Each starts empty. */
  readonly d1Databases?: Readonly<Record<string, string>> | undefined
  /** The names of their bindings. */
  readonly kvNamespaces?: readonly string[] | undefined
}

/** A Worker on workerd. */
export interface RunningWorker extends AsyncDisposable {
  /** Leads to the Worker itself, with nothing between that would answer a client that hangs up in its place. */
  readonly url: string
  database(binding: string): Promise<Database>
  /** What a cron trigger does. */
  scheduled(cron: string): Promise<void>
}

/** What is used of Cloudflare's `D1Database`. */
export interface Database {
  prepare(sql: string): {
    bind(...values: unknown[]): ReturnType<Database["prepare"]>
    all(): Promise<{ results: Record<string, unknown>[] }>
  }
  batch(statements: ReturnType<Database["prepare"]>[]): Promise<{ results: Record<string, unknown>[] }[]>
}

/** What is used of Miniflare, whose own types do not compile. */
interface Miniflare {
  readonly ready: Promise<URL>
  unsafeGetDirectURL(): Promise<URL>
  getD1Database(binding: string): Promise<Database>
  getWorker(): Promise<{ scheduled(event: { cron: string }): Promise<unknown> }>
  dispose(): Promise<void>
}

export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { Miniflare } = createRequire(import.meta.url)("miniflare") as {
    Miniflare: new (options: object) => Miniflare
  }
  const { code, ...rest } = options
  const miniflare = new Miniflare({
    ...rest,
    modules: true,
    script: code,
    scriptPath: "worker.js",
    // Else it asks Cloudflare where this machine is.
    cf: false,
    unsafeDirectSockets: [{}],
    // workerd tells of each client that hangs up.
    handleRuntimeStdio: (...outputs: Readable[]) => outputs.forEach((output) => output.resume()),
  })
  await miniflare.ready
  return {
    url: (await miniflare.unsafeGetDirectURL()).href,
    database: (binding) => miniflare.getD1Database(binding),
    async scheduled(cron) {
      await (await miniflare.getWorker()).scheduled({ cron })
    },
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  }
}
