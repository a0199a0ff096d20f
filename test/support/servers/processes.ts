import { readdirSync, readFileSync, rmSync } from "node:fs"

/** What Linux tells of processes, and their end. All of it is synchronous, so that it works while a process exits. */

interface Status {
  readonly state: string
  readonly parent: number
}

/** Whether the process runs. One that has ended and only waits for its parent to notice does not. */
export function isRunning(pid: number): boolean {
  const state = statusOf(pid)?.state
  return state !== undefined && state !== "Z" && state !== "X"
}

/** Ends the processes and all that descend from them (PostgreSQL has one for every connection), and says which. */
export function killFamilies(pids: Iterable<number>): number[] {
  const ancestors = [...pids]
  // A stopped process starts no more children while they are counted.
  for (const pid of ancestors) signal(pid, "SIGSTOP")
  const families = familiesOf(ancestors)
  for (const pid of families) signal(pid, "SIGKILL")
  return families
}

/** Ends the processes, waits for that, and removes the folders. */
export function sweep(pids: Iterable<number>, folders: Iterable<string>): void {
  const killed = killFamilies(pids)
  const deadline = Date.now() + 5_000
  while (killed.some(isRunning) && Date.now() < deadline) pause(5)
  for (const folder of folders) removeFolder(folder)
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
}

function familiesOf(ancestors: readonly number[]): number[] {
  const families = new Set(ancestors.filter(isRunning))
  const parents = parentsOfAll()
  let before: number
  do {
    before = families.size
    for (const [pid, parent] of parents) if (families.has(parent)) families.add(pid)
  } while (families.size > before)
  return [...families]
}

function parentsOfAll(): Map<number, number> {
  const parents = new Map<number, number>()
  for (const name of readdirSync("/proc")) {
    const pid = Number(name)
    const status = Number.isInteger(pid) ? statusOf(pid) : undefined
    if (status !== undefined) parents.set(pid, status.parent)
  }
  return parents
}

function statusOf(pid: number): Status | undefined {
  let line: string
  try {
    line = readFileSync(`/proc/${pid}/stat`, "utf8")
  } catch {
    return undefined
  }
  // The name of the program, in parentheses, may itself hold spaces and parentheses.
  const [state = "", parent = ""] = line.slice(line.lastIndexOf(")") + 2).split(" ")
  return { state, parent: Number(parent) }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended already.
  }
}

function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}
