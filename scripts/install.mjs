import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

/**
 * Installs the locked dependencies of a folder unless they are already there. Two runs at once share one
 * installation: the second waits for the first.
 * @returns {Promise<void>}
 */
export async function ensureInstalled(folder) {
  if (isInstalled(folder)) return
  const release = await lock(folder)
  try {
    if (isInstalled(folder)) return
    console.log(`Installing the dependencies of ${folder} (npm ci) ...`)
    const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: folder,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, PATH: pathOutsideModules() },
      shell: process.platform === "win32",
    })
    if (npm.error) throw new Error(`npm could not be started: ${npm.error.message}`)
    if (npm.status !== 0) throw new Error(`"npm ci" in ${folder} failed; what it printed is above.`)
    writeFileSync(stampOf(folder), lockHash(folder))
  } finally {
    release()
  }
}

/** Up to date by our own stamp, or because somebody ran npm by hand after the lock file last changed. */
function isInstalled(folder) {
  const installed = join(folder, "node_modules", ".package-lock.json")
  if (!existsSync(installed)) return false
  if (existsSync(stampOf(folder)) && readFileSync(stampOf(folder), "utf8") === lockHash(folder)) return true
  return statSync(installed).mtimeMs >= statSync(join(folder, "package-lock.json")).mtimeMs
}

function stampOf(folder) {
  return join(folder, "node_modules", ".installed-lock-hash")
}

function lockHash(folder) {
  return createHash("sha256")
    .update(readFileSync(join(folder, "package-lock.json")))
    .digest("hex")
}

/** `npm ci` removes node_modules first, so the npm and the Node.js that run it must live elsewhere. */
function pathOutsideModules() {
  const parts = (process.env.PATH ?? "").split(delimiter)
  return parts.filter((part) => !part.includes("node_modules")).join(delimiter)
}

async function lock(folder) {
  const name = createHash("sha256").update(folder).digest("hex").slice(0, 16)
  const held = join(tmpdir(), `npm-ci-${name}.lock`)
  const owner = join(held, "pid")
  for (let announced = false; ; announced = true) {
    try {
      mkdirSync(held)
      writeFileSync(owner, String(process.pid))
      return () => rmSync(held, { recursive: true, force: true })
    } catch (error) {
      if (error.code !== "EEXIST") throw error
    }
    if (isAbandoned(held, owner)) rmSync(held, { recursive: true, force: true })
    else if (!announced) console.log("Another run is installing the dependencies; waiting for it ...")
    await sleep(300)
  }
}

function isAbandoned(held, owner) {
  try {
    process.kill(Number(readFileSync(owner, "utf8")), 0)
    return false
  } catch (error) {
    if (error.code === "EPERM") return false
    if (error.code === "ESRCH") return true
    // No pid yet: the owner is about to write it, unless it died first.
    const made = statSync(held, { throwIfNoEntry: false })?.mtimeMs
    return made !== undefined && Date.now() - made > 10_000
  }
}
