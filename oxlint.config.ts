import { defineConfig, type OxlintConfig, type OxlintOverride } from "oxlint"

/**
 * Imports run one way: a layer may import itself and the layers above it in this list. A new module of the core
 * is refused every import until it is given a layer here.
 */
const layers: Layer[] = [
  { modules: ["errors", "forwarded", "refusal"] },
  { modules: ["json", "store"] },
  { modules: ["id", "expiry", "diagnostics", "schema", "lanes", "crypto/*"] },
  { modules: ["state", "api", "gateway", "cookie/*"] },
  { modules: ["plan", "view", "headers", "user", "sweeper", "csrf", "guards", "revocation"] },
  { modules: ["fetch"] },
  { modules: ["config"] },
  { modules: ["pending"] },
  { modules: ["standing"] },
  { modules: ["loading"] },
  { modules: ["saving"] },
  { modules: ["transaction", "response"] },
  { modules: ["session"] },
  // The default store is the one exception to "nothing in the core imports a store".
  { modules: ["sessions"], also: ["./stores/memory.ts"] },
  { modules: ["index"] },
]

/** What the modules of a folder may import besides the layers; the core imports no `node:` module, so that it runs anywhere. */
const outside: Record<string, string[]> = {
  "crypto/*": ["#crypto", "node:buffer", "node:crypto", "@noble/**"],
}

interface Layer {
  modules: string[]
  also?: string[]
}

function mayImport(files: string, allowed: string[], message: string): OxlintOverride {
  const group = ["**", ...allowed.map((specifier) => `!${specifier}`)]
  return { files: [files], rules: { "no-restricted-imports": ["error", { patterns: [{ group, message }] }] } }
}

function coreOverrides(): OxlintOverride[] {
  const overrides: OxlintOverride[] = []
  const reachable: string[] = []
  for (const { modules, also = [] } of layers) {
    reachable.push(...modules)
    for (const module of modules) {
      const inFolder = module.includes("/")
      const own = reachable.map((name) => `${inFolder ? "../" : "./"}${name}.ts`)
      const allowed = [...own, ...(inFolder ? ["./*.ts"] : []), ...also, ...(outside[module] ?? [])]
      const order = layers.map((layer) => layer.modules.join(", ")).join(" <- ")
      overrides.push(mayImport(`src/${module}.ts`, allowed, `Imports run one way: ${order}.`))
    }
  }
  return overrides
}

const core = layers.flatMap((layer) => layer.modules.map((name) => `../${name}.ts`))
const store = ["./shared*.ts", "../store.ts", "../state.ts", "../json.ts", "../errors.ts"]
const storeRule =
  "A store imports the contract, the state, the errors, its own modules and its folder's shared helpers."
/** The packages whose types, or functions, an adapter uses, if not that of its name. */
const frameworks: Record<string, string[]> = { sveltekit: ["@sveltejs/kit"] }
const outerRule = "Adapters, the testing kit and the command line import the core and their own folder."

const config: OxlintConfig = defineConfig({
  options: { typeAware: true, denyWarnings: true, reportUnusedDisableDirectives: "error" },
  plugins: ["eslint", "typescript", "unicorn", "oxc", "import", "promise", "node", "vitest"],
  categories: { correctness: "error", suspicious: "error" },
  ignorePatterns: ["dist/**", "coverage/**", "test/**/fixtures/**"],
  rules: {
    "typescript/no-explicit-any": "error",
    "typescript/no-misused-promises": "error",
    "typescript/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
    "typescript/only-throw-error": "error",
    "typescript/prefer-promise-reject-errors": "error",
    "typescript/consistent-type-imports": "error",
    "import/no-cycle": "error",
    eqeqeq: ["error", "always", { null: "ignore" }],
    "no-var": "error",
    "prefer-const": "error",

    // Literal annotations are what isolated declarations ask for.
    "typescript/prefer-as-const": "off",
    // `as` and `!` state what the surrounding lines have just checked; both are needed under noUncheckedIndexedAccess.
    "typescript/no-unsafe-type-assertion": "off",
    "typescript/no-misused-spread": "off",
    "import/no-named-as-default-member": "off",
    // A conformance case brings its name.
    "vitest/valid-title": ["error", { ignoreTypeOfTestName: true }],
    "vitest/valid-expect": ["error", { maxArgs: 2 }],
    // A case of the conformance suite, a property or a compiler run asserts without the word `expect`.
    "vitest/expect-expect": "off",
    "vitest/no-standalone-expect": "off",
    "vitest/require-mock-type-parameters": "off",
    "vitest/require-to-throw-message": "off",
    "vitest/no-conditional-expect": "off",
    // Both forbid ordinary uses of promises at the border to callback interfaces.
    "promise/always-return": "off",
    "promise/no-promise-in-callback": "off",
    "promise/no-callback-in-promise": "off",
    // Express 5 waits for handlers, and takes what they reject with.
    "oxc/no-async-endpoint-handlers": "off",
    "no-underscore-dangle": "off",
    "typescript/require-array-sort-compare": "off",
    // The compiler's noImplicitReturns knows which switches are exhaustive; this rule does not.
    "consistent-return": "off",
    "typescript/consistent-return": "off",
    "typescript/no-meaningless-void-operator": "off",
    "typescript/no-unnecessary-type-arguments": "off",
    "unicorn/consistent-function-scoping": "off",
    "unicorn/no-array-sort": "off",
  },
  overrides: [
    { files: ["src/**/*.ts"], rules: { "no-console": "error", "import/no-default-export": "error" } },
    mayImport("src/**/*.ts", [], "This module has no layer yet: give it one in oxlint.config.ts."),
    ...coreOverrides(),
    mayImport("src/stores/*.ts", store, storeRule),
    mayImport("src/stores/sqlite.ts", [...store, "node:sqlite", "node:module"], storeRule),
    mayImport("src/stores/mysql*.ts", [...store, "./mysql-*.ts"], storeRule),
    mayImport("src/stores/postgres*.ts", [...store, "./postgres-*.ts"], storeRule),
    mayImport("src/stores/redis*.ts", [...store, "./redis-*.ts"], storeRule),
    mayImport("src/stores/d1*.ts", [...store, "./d1-*.ts"], storeRule),
    mayImport("src/stores/kv*.ts", [...store, "./kv-*.ts"], storeRule),
    mayImport("src/stores/cached*.ts", [...store, "./cached-*.ts"], storeRule),
    mayImport("src/stores/shared-cache-options.ts", [...store, "../expiry.ts"], storeRule),
    mayImport("src/adapters/*.ts", ["./shared*.ts", ...core], outerRule),
    ...["express", "fastify", "hono", "koa", "h3", "sveltekit", "react-router", "astro"].map((name) =>
      mayImport(
        `src/adapters/${name}.ts`,
        ["./shared*.ts", "node:http", ...(frameworks[name] ?? [name]), ...core],
        outerRule,
      ),
    ),
    mayImport("src/adapters/next.ts", ["./shared*.ts", "next/**", "next", ...core], outerRule),
    mayImport("src/adapters/shared-node.ts", ["./shared*.ts", "node:*", ...core], outerRule),
    mayImport("src/adapters/node.ts", ["./shared*.ts", "node:*", ...core], outerRule),
    mayImport("src/adapters/context.ts", ["node:async_hooks", ...core], outerRule),
    mayImport("src/adapters/cloudflare.ts", ["./context.ts", "./shared*.ts", ...core], outerRule),
    mayImport("src/testing/*.ts", ["./*.ts", "./conformance/*.ts", ...core], outerRule),
    mayImport("src/testing/conformance/*.ts", ["./*.ts", ...core.map((module) => `../${module}`)], outerRule),
    mayImport("src/cli/*.ts", ["./*.ts", "node:*", ...core], outerRule),
    // It makes suites, and is none.
    {
      files: ["test/support/**", "test/stores/redis-engines.ts", "test/adapters/describe.ts"],
      rules: { "vitest/valid-describe-callback": "off", "vitest/valid-title": "off" },
    },
    {
      // Nest asks for decorated classes, and finds out what to inject by the types of their constructors, which must be imported as values.
      files: ["examples/nest/**"],
      rules: {
        "typescript/consistent-type-imports": "off",
        "typescript/no-extraneous-class": ["error", { allowWithDecorator: true }],
      },
    },
    { files: ["test/types/**"], rules: { "typescript/no-unnecessary-type-parameters": "off" } },
    { files: ["scripts/**"], rules: { "typescript/prefer-promise-reject-errors": "off" } },
    // A loader of React Router answers with what it throws.
    {
      files: ["examples/react-router/**", "test/adapters/built/react-router/**"],
      rules: { "typescript/only-throw-error": "off" },
    },
    // Tests do on purpose what the library must survive.
    {
      files: ["**/*.test*.ts", "test/**/*.ts"],
      rules: {
        "no-restricted-imports": "off",
        "typescript/no-extraneous-class": "off",
        "typescript/prefer-promise-reject-errors": "off",
        "typescript/unbound-method": "off",
        "unicorn/no-new-array": "off",
      },
    },
  ],
})

export default config
