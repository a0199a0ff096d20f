import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig, type ViteUserConfig } from "vitest/config"

interface Manifest {
  exports: Record<string, string | { default: string }>
}

const manifest = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as Manifest

/** The tests run the sources: every public subpath of the package leads to the file it is built from. */
function sourceAliases(): { find: RegExp; replacement: string }[] {
  const aliases = [{ find: /^#crypto$/, replacement: sourceOf("./dist/crypto/node.js") }]
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    if (typeof target === "string") continue
    const specifier = `coatcheck${subpath.slice(1)}`
    aliases.push({ find: new RegExp(`^${specifier}$`), replacement: sourceOf(target.default) })
  }
  return aliases
}

function sourceOf(built: string): string {
  const source = built.replace(/^\.\/dist\//, "./src/").replace(/\.js$/, ".ts")
  return fileURLToPath(new URL(source, import.meta.url))
}

/** What takes long and seldom breaks by itself: CI runs it, and `npm run test:stores` with `CI=true`. */
const thorough = [
  "test/stores/{processes,sweeps,faults-*,environments-*}.test.ts",
  "test/stores/{redis-faults*,redis-outages,redis-sentinel,conformance-redis-protocols}.test.ts",
  "test/support/servers/*.test.ts",
]

/** What builds an application first. CI runs it, and `npm run test:built`. */
const built = [
  "test/adapters/{astro,nest,next,react-router,sveltekit}.test.ts",
  "test/adapters/examples/nest.test.ts",
  "test/browser/{astro,next,react-router,sveltekit}.test.ts",
]

const onServers = {
  globalSetup: "test/support/servers/global-setup.ts",
  testTimeout: 120_000,
  hookTimeout: 120_000,
}

const config: ViteUserConfig = defineConfig({
  resolve: { alias: sourceAliases() },
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Laws about time mostly wait, and so wait together.
    maxConcurrency: 40,
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      exclude: ["src/**/*.test*.ts"],
      reporter: ["text-summary", "json", "json-summary", "html"],
      reportsDirectory: "coverage",
      thresholds: { branches: 95, lines: 95 },
    },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "test/*.test.ts", "test/guarantees/**/*.test.ts"],
        },
      },
      {
        extends: true,
        test: {
          name: "stores",
          include: ["test/stores/**/*.test.ts"],
          exclude: thorough,
          ...onServers,
        },
      },
      { extends: true, test: { name: "thorough", include: thorough, ...onServers } },
      {
        extends: true,
        test: {
          name: "browser",
          include: ["test/browser/**/*.test.ts", "examples/**/*.test.ts"],
          exclude: built,
          testTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: "adapters",
          include: ["test/adapters/**/*.test.ts"],
          exclude: built,
          testTimeout: 60_000,
          hookTimeout: 180_000,
        },
      },
      {
        extends: true,
        test: { name: "built", include: built, testTimeout: 120_000, hookTimeout: 300_000 },
      },
      {
        extends: true,
        test: { name: "runtimes", include: ["test/runtimes/**/*.test.ts"], testTimeout: 120_000 },
      },
      {
        extends: true,
        test: { name: "package", include: ["test/package/**/*.test.ts"], testTimeout: 300_000 },
      },
    ],
  },
})

export default config
