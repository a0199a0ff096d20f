import { execFile } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { beforeAll } from "vitest"
import { startProcess } from "../apps/process.ts"
import { describeShop } from "./shop.ts"

// As it stands in its folder, where its own compiler settings build it. The package must have been built.

const root = fileURLToPath(new URL("../../../", import.meta.url))
const folder = join(root, "examples/nest")

beforeAll(async () => {
  await promisify(execFile)(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder])
})

for (const [platform, main] of [
  ["Express", "dist/nest/main.js"],
  ["Fastify", "dist/nest/main-fastify.js"],
] as const) {
  describeShop(`examples/nest on ${platform}`, (env) =>
    startProcess(process.execPath, [main], { cwd: folder, env: { ...env, PORT: "0" } }),
  )
}
