import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { expect, test } from "vitest"
import { startProcess } from "../apps/process.ts"
import { describeShop } from "./shop.ts"

// As it stands in its folder. The package must have been built.

const folder = fileURLToPath(new URL("../../../examples/fastify", import.meta.url))

describeShop("examples/fastify", (env) =>
  startProcess(process.execPath, ["server.ts"], { cwd: folder, env: { ...env, PORT: "0" } }),
)

test("examples/fastify type-checks as in a project of its own", async () => {
  const tsc = fileURLToPath(new URL("../../../node_modules/typescript/bin/tsc", import.meta.url))
  await expect(promisify(execFile)(process.execPath, [tsc, "-p", folder])).resolves.toEqual({
    stdout: "",
    stderr: "",
  })
})
