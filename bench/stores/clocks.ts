import { readdirSync, readFileSync } from "node:fs"

/** Microseconds that have passed since some moment. */
export type Clock = () => number

export const wallClock: Clock = () => performance.now() * 1000

/**
 * What this process and the server have spent of the processors, which other work on the machine hardly changes. Linux only.
 * @param pid of the server; PostgreSQL has a process for each connection besides
 */
export function processorClock(pid: number): Clock {
  return () => {
    const { user, system } = process.cpuUsage()
    let nanoseconds = 0
    for (const each of [pid, ...childrenOf(pid)]) {
      for (const thread of readdirSync(`/proc/${each}/task`)) nanoseconds += spentBy(each, thread)
    }
    return user + system + nanoseconds / 1000
  }
}

function childrenOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean)
}

function spentBy(pid: number | string, thread: string): number {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0])
  } catch {
    // It has ended.
    return 0
  }
}
