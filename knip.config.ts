import { readFileSync } from "node:fs"
import type { KnipConfig } from "knip"

interface Manifest {
  exports: Record<string, string | { default: string }>
  imports: Record<string, Record<string, { default: string }>>
  bin: Record<string, string>
}

const manifest = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as Manifest

/** What users can reach: the source of everything the manifest points to in dist. */
function published(): string[] {
  const built = [
    ...Object.values(manifest.exports).map((target) =>
      typeof target === "string" ? target : target.default,
    ),
    ...Object.values(manifest.imports).flatMap((targets) =>
      Object.values(targets).map((each) => each.default),
    ),
    ...Object.values(manifest.bin),
  ]
  return [...new Set(built)]
    .filter((file) => file.endsWith(".js"))
    .map((file) => file.replace(/^(\.\/)?dist\//, "src/").replace(/\.js$/, ".ts"))
}

const config: KnipConfig = {
  entry: [
    ...published(),
    "src/**/*.test.ts",
    "test/**/*.{test,test-d}.ts",
    "test/adapters/*.types.ts",
    "test/package/smoke.mjs",
    "examples/*/{server,worker}.ts",
    "{examples,test/adapters/built}/react-router/**/*.{ts,tsx}",
    "{examples,test/adapters/built}/next/**/*.{ts,tsx,mjs}",
    "{examples,test/adapters/built}/astro/{*,src/**/*}.{ts,mjs,astro}",
    "{examples,test/adapters/built}/sveltekit/{*,{src,counter}/**/*}.{ts,svelte}",
    "examples/nest/main{,-fastify}.ts",
    "bench/*/{index,sweep,cached}.ts",
    // Bundled by the tests for workerd.
    "test/runtimes/worker/index.ts",
    "scripts/{run,lock-platforms}.mjs",
  ],
  project: [
    "{src,test,examples,bench}/**/*.ts",
    "{examples,test/adapters/built}/*/src/**/*.{astro,svelte}",
    "scripts/**/*.mjs",
    "test/**/*.mjs",
    "*.config.ts",
  ],
  // SvelteKit makes it.
  ignoreUnresolved: [/^\$app\//],
  // Called as programs by scripts/ and the tests, never imported.
  ignoreDependencies: [
    "@arethetypeswrong/cli",
    "@cloudflare/workers-types",
    "bun",
    "deno",
    "miniflare",
    "oxfmt",
    "publint",
  ],
  ignoreExportsUsedInFile: true,
}

export default config
