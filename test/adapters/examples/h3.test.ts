import { execFile } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { expect, test } from "vitest"
import { startProcess } from "../apps/process.ts"
import { describeShop } from "./shop.ts"

// As it stands in its folder. The package must have been built.

const root = fileURLToPath(new URL("../../../", import.meta.url))
const folder = join(root, "examples/h3")

const runtimes: Record<string, readonly [program: string, ...args: string[]]> = {
  "Node.js": [process.execPath],
  Bun: [join(root, "node_modules/.bin/bun")],
  Deno: [join(root, "node_modules/.bin/deno"), "run", "--allow-env", "--allow-net", "--allow-read"],
}

for (const [runtime, [program, ...args]] of Object.entries(runtimes)) {
  describeShop(`examples/h3 on ${runtime}`, (env) =>
    startProcess(program, [...args, "server.ts"], { cwd: folder, env: { ...env, PORT: "0" } }),
  )
}

test("examples/h3 type-checks as in a project of its own", async () => {
  const tsc = join(root, "node_modules/typescript/bin/tsc")
  await expect(promisify(execFile)(process.execPath, [tsc, "-p", folder])).resolves.toEqual({
    stdout: "",
    stderr: "",
  })
})
