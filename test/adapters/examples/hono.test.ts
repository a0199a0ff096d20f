import { execFile } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { expect, test } from "vitest"
import { bundleWorker, startWorker } from "../../support/workers.ts"
import { startProcess } from "../apps/process.ts"
import { describeShop } from "./shop.ts"

// As it stands in its folder. The package must have been built.

const root = fileURLToPath(new URL("../../../", import.meta.url))
const folder = join(root, "examples/hono")

describeShop("examples/hono on Node.js", (env) =>
  startProcess(process.execPath, ["server.ts"], { cwd: folder, env: { ...env, PORT: "0" } }),
)

describeShop("examples/hono on Bun", (env) =>
  // As `bun app.ts`, but for this machine alone.
  startProcess(
    join(root, "node_modules/.bin/bun"),
    [
      "-e",
      'import app from "./app.ts"; console.log(Bun.serve({ ...app, fetch: app.fetch, hostname: "127.0.0.1", port: 0 }).url.href)',
    ],
    { cwd: folder, env },
  ),
)

describeShop("examples/hono on Deno", (env) =>
  startProcess(
    join(root, "node_modules/.bin/deno"),
    ["serve", "--allow-env", "--host", "127.0.0.1", "--port", "0", "app.ts"],
    { cwd: folder, env },
  ),
)

describeShop("examples/hono on workerd", async (env) => {
  const worker = await startWorker({
    code: await bundleWorker(join(folder, "app.ts")),
    bindings: { ...env, SESSION_KEY: "a key of these tests, long enough to seal" },
    compatibilityDate: "2026-07-01",
    compatibilityFlags: ["nodejs_compat"],
  })
  return { url: worker.url, close: async () => worker[Symbol.asyncDispose]() }
})

test("examples/hono type-checks as in a project of its own", async () => {
  const tsc = join(root, "node_modules/typescript/bin/tsc")
  await expect(promisify(execFile)(process.execPath, [tsc, "-p", folder])).resolves.toEqual({
    stdout: "",
    stderr: "",
  })
})
