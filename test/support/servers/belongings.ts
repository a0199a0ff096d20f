import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Belongings } from "./janitor.ts"
import { removeFolder, sweep } from "./processes.ts"

/**
 * The processes and folders that this process must not leave behind. They go when it exits; the janitor, a process of
 * its own, sees to the cases in which it cannot: a signal, a crash, SIGKILL.
 */

const pids = new Set<number>()
const folders = new Set<string>()
let janitor: ChildProcess | undefined

export function ownProcess(child: ChildProcess): void {
  const { pid } = child
  // It did not start.
  if (pid === undefined) return
  pids.add(pid)
  child.once("exit", () => {
    pids.delete(pid)
    tellJanitor()
  })
  tellJanitor()
}

/** Makes a fresh folder with a name that tells of the server in it. */
export function makeFolder(name: string, parent: string = tmpdir()): string {
  const folder = mkdtempSync(join(parent, `coatcheck-${name}-`))
  folders.add(folder)
  tellJanitor()
  return folder
}

export function dropFolder(folder: string): void {
  removeFolder(folder)
  folders.delete(folder)
  tellJanitor()
}

function tellJanitor(): void {
  janitor ??= startJanitor()
  const belongings: Belongings = { pids: [...pids], folders: [...folders] }
  janitor.stdin?.write(`${JSON.stringify(belongings)}\n`)
}

function startJanitor(): ChildProcess {
  process.once("exit", () => sweep(pids, folders))
  // Detached, so that it survives the interrupt that a terminal sends to every process of the test run.
  const child = spawn(process.execPath, [fileURLToPath(new URL("janitor.ts", import.meta.url))], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    cwd: "/",
    env: {},
  })
  // Nothing waits for it. Whether it lives is of no matter as long as this process exits by itself.
  child.unref()
  child.on("error", () => {})
  child.stdin.on("error", () => {})
  const pipe = child.stdin as typeof child.stdin & { unref?(): void }
  pipe.unref?.()
  return child
}
