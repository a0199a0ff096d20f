import { execFile } from "node:child_process"
import { copyFile, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, test } from "vitest"

// A linter whose configuration has gone wrong is silent, so these tests show it code that it must refuse.

const root = fileURLToPath(new URL("..", import.meta.url))

interface Snippet {
  file: string
  code: string
  /** The rule that must refuse it, or undefined if the rules about imports must allow it. */
  refusedBy: string | undefined
}

const refusedImports: [file: string, specifier: string][] = [
  ["src/errors.ts", "./id.ts"],
  ["src/id.ts", "./state.ts"],
  ["src/expiry.ts", "./session.ts"],
  ["src/diagnostics.ts", "./config.ts"],
  ["src/crypto/index.ts", "../cookie/seal.ts"],
  ["src/store.ts", "./plan.ts"],
  ["src/state.ts", "./plan.ts"],
  ["src/headers.ts", "./session.ts"],
  ["src/cookie/seal.ts", "../plan.ts"],
  ["src/plan.ts", "./session.ts"],
  ["src/config.ts", "./session.ts"],
  ["src/session.ts", "./sessions.ts"],
  ["src/sessions.ts", "./index.ts"],

  // Nothing in the core imports a store, an adapter, the testing kit or the command line.
  ["src/sessions.ts", "./stores/sqlite.ts"],
  ["src/session.ts", "./stores/memory.ts"],
  ["src/index.ts", "./stores/memory.ts"],
  ["src/sessions.ts", "./adapters/node.ts"],
  ["src/plan.ts", "./testing/index.ts"],
  ["src/index.ts", "./cli/main.ts"],
  ["src/cookie/seal.ts", "../stores/memory.ts"],

  // A store knows the contract, not the library.
  ["src/stores/memory.ts", "../id.ts"],
  ["src/stores/memory.ts", "../sessions.ts"],
  ["src/stores/sqlite.ts", "./memory.ts"],
  ["src/stores/sqlite.ts", "better-sqlite3"],

  // One folder does not reach into its neighbours.
  ["src/adapters/node.ts", "../testing/index.ts"],
  ["src/adapters/node.ts", "../stores/memory.ts"],
  ["src/testing/index.ts", "../stores/memory.ts"],
  ["src/cli/main.ts", "../adapters/node.ts"],

  // The core runs anywhere, and cryptography has one home.
  ["src/session.ts", "node:util"],
  ["src/id.ts", "node:crypto"],
  ["src/cookie/seal.ts", "node:crypto"],
  ["src/cookie/seal.ts", "@noble/hashes/sha2.js"],
  ["src/stores/memory.ts", "node:timers"],
  ["src/adapters/fetch.ts", "node:http"],
  ["src/crypto/noble.ts", "node:fs"],

  // A new module of the core must be given a layer first.
  ["src/newcomer.ts", "./errors.ts"],
]

const allowedImports: [file: string, specifier: string][] = [
  ["src/id.ts", "./errors.ts"],
  ["src/id.ts", "./crypto/index.ts"],
  ["src/crypto/index.ts", "#crypto"],
  ["src/crypto/node.ts", "node:crypto"],
  ["src/crypto/noble.ts", "@noble/hashes/sha2.js"],
  ["src/cookie/seal.ts", "../crypto/index.ts"],
  ["src/cookie/seal.ts", "./attributes.ts"],
  ["src/plan.ts", "./state.ts"],
  ["src/session.ts", "./plan.ts"],
  ["src/sessions.ts", "./session.ts"],
  ["src/sessions.ts", "./stores/memory.ts"],
  ["src/index.ts", "./sessions.ts"],
  ["src/stores/memory.ts", "../store.ts"],
  ["src/stores/memory.ts", "./shared.ts"],
  ["src/stores/sqlite.ts", "./shared-sql.ts"],
  ["src/adapters/node.ts", "node:http"],
  ["src/adapters/node.ts", "../headers.ts"],
  ["src/testing/index.ts", "../store.ts"],
  ["src/testing/index.ts", "./spy.ts"],
  ["src/cli/main.ts", "../crypto/index.ts"],
  ["src/plan.test.ts", "./testing/index.ts"],
]

const otherRules: Snippet[] = [
  {
    file: "src/session.ts",
    code: `import type { A } from "./sessions.ts"`,
    refusedBy: "no-restricted-imports",
  },
  { file: "src/session.ts", code: `export * from "./sessions.ts"`, refusedBy: "no-restricted-imports" },
  { file: "src/session.ts", code: `void import("./sessions.ts")`, refusedBy: "no-restricted-imports" },
  { file: "src/session.ts", code: `console.log("hello")`, refusedBy: "no-console" },
  { file: "src/session.ts", code: `export const value: any = 1`, refusedBy: "no-explicit-any" },
  { file: "src/session.ts", code: `export default 1`, refusedBy: "no-default-export" },
  { file: "src/session.ts", code: `Promise.resolve()`, refusedBy: "no-floating-promises" },
  { file: "test/session.test.ts", code: `Promise.resolve()`, refusedBy: "no-floating-promises" },
]

const snippets: Snippet[] = [
  ...refusedImports.map((pair) => importing(pair, "no-restricted-imports")),
  ...allowedImports.map((pair) => importing(pair, undefined)),
  ...otherRules,
]

function importing([file, specifier]: [string, string], refusedBy: string | undefined): Snippet {
  return { file, code: `import ${JSON.stringify(specifier)}`, refusedBy }
}

describe("the linter", () => {
  let folder: string
  let findings: Finding[]

  beforeAll(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), "lint-")))
    await writeProject(folder)
    findings = await lint(folder)
  })

  afterAll(() => rm(folder, { recursive: true, force: true }))

  test.each(snippets.filter(({ refusedBy }) => refusedBy !== undefined))(
    "refuses $code in $file",
    (snippet) => {
      expect(rulesFor(snippet)).toContain(snippet.refusedBy)
    },
  )

  test.each(snippets.filter(({ refusedBy }) => refusedBy === undefined))(
    "allows $code in $file",
    (snippet) => {
      expect(rulesFor(snippet)).not.toContain("no-restricted-imports")
    },
  )

  function rulesFor(snippet: Snippet): string[] {
    const line = linesOf(snippet.file).indexOf(snippet.code) + 1
    const here = findings.filter((finding) => finding.file === snippet.file && finding.line === line)
    return here.map(({ rule }) => rule)
  }
})

/** All snippets of a file become one file, a line each. */
function linesOf(file: string): string[] {
  return snippets.filter((snippet) => snippet.file === file).map(({ code }) => code)
}

/** A project beside this one, because what the linter makes of a file depends on where it lies. */
async function writeProject(folder: string): Promise<void> {
  await symlink(join(root, "node_modules"), join(folder, "node_modules"))
  for (const config of ["oxlint.config.ts", "tsconfig.json"]) {
    await copyFile(join(root, config), join(folder, config))
  }
  for (const file of new Set(snippets.map((snippet) => snippet.file))) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), `${linesOf(file).join("\n")}\n`)
  }
}

interface Finding {
  file: string
  line: number
  rule: string
}

async function lint(folder: string): Promise<Finding[]> {
  const output = await new Promise<string>((resolve, reject) => {
    const oxlint = join(root, "node_modules", "oxlint", "bin", "oxlint")
    const options = { cwd: folder, maxBuffer: 64 * 1024 * 1024 }
    // A linter that finds something fails; only one that prints nothing is broken.
    execFile(process.execPath, [oxlint, "--format=unix", "src", "test"], options, (error, stdout, stderr) => {
      if (stdout === "") reject(error ?? new Error(stderr))
      else resolve(stdout)
    })
  })
  const matches = output.matchAll(/^(?<file>[^:\n]+):(?<line>\d+):.*\[\w+\/[\w-]+\((?<rule>[\w-]+)\)\]$/gm)
  return Array.from(matches, ({ groups = {} }) => ({
    file: groups["file"] ?? "",
    line: Number(groups["line"]),
    rule: groups["rule"] ?? "",
  }))
}
