import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { expect, test } from "vitest"
import { requireProgram } from "../support/programs.ts"

const script = new URL("conformance.ts", import.meta.url).pathname
const root = new URL("../../", import.meta.url).pathname

const runtimes: Record<string, readonly string[]> = {
  bun: ["run"],
  deno: ["run", "--allow-all", "--no-lock", "--quiet"],
}

/** The stores as other runtimes run them: Bun has an SQLite module and a crypto of its own. The package must have been built. */
for (const [runtime, input] of Object.entries(runtimes)) {
  const program = requireProgram(runtime, [`${root}node_modules/.bin/${runtime}`])
  test.skipIf(program === undefined)(
    `the memory and SQLite stores keep the store contract on ${runtime}`,
    async () => {
      const { stdout } = await promisify(execFile)(program as string, [...input, script], {
        cwd: root,
        timeout: 100_000,
      })
      const result = JSON.parse(stdout) as { passed: number; failed: string[] }
      expect(result.failed).toEqual([])
      expect(result.passed).toBeGreaterThan(runtime === "bun" ? 500 : 300)
    },
  )
}
