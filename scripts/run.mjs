/**
 * The one entry behind the npm scripts: `node scripts/run.mjs <task> [arguments]`. It needs nothing but a Node.js
 * from 20 on: it installs what is missing, then does the work with the Node.js release that the project pins.
 */
import { existsSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { ensureInstalled } from "./install.mjs"
import { tasks } from "./tasks.mjs"
import { testEverything } from "./test.mjs"

const root = dirname(dirname(fileURLToPath(import.meta.url)))

function pinnedNode() {
  const pinned = join(root, "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node")
  if (existsSync(pinned)) return pinned
  if (Number.parseInt(process.versions.node, 10) >= 24) return process.execPath
  throw new Error(
    "The pinned Node.js is not in node_modules. Are install scripts switched off? " +
      'Run "npm ci --no-ignore-scripts", or use Node.js 24 or later.',
  )
}

function taskCalled(name, args) {
  // `npm test -- src/plan.test.ts` means that file, not everything.
  if (name === "test") return args.length > 0 ? tasks["test:file"] : testEverything
  return tasks[name]
}

async function main(name, args) {
  const task = taskCalled(name, args)
  if (!task) {
    console.error(`There is no task "${name ?? ""}". Tasks: test, ${Object.keys(tasks).join(", ")}.`)
    return 2
  }
  process.chdir(root)
  await ensureInstalled(root)
  const node = pinnedNode()
  const path = [join(root, "node_modules", ".bin"), dirname(node), process.env.PATH].join(delimiter)
  const { code } = await task({ root, node, args, env: { ...process.env, PATH: path } })
  return code
}

try {
  process.exitCode = await main(process.argv[2], process.argv.slice(3))
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
