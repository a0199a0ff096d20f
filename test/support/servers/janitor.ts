import { createInterface } from "node:readline"
import { sweep } from "./processes.ts"

/**
 * A program that outlives the test process and removes what that has left, however it ended. Every line of its input
 * lists all there is to remove by then; the end of the input is the end of the test process.
 */

export interface Belongings {
  readonly pids: readonly number[]
  readonly folders: readonly string[]
}

let latest: Belongings = { pids: [], folders: [] }

for await (const line of createInterface({ input: process.stdin })) {
  try {
    latest = JSON.parse(line) as Belongings
  } catch {
    // The test process died amid the line.
  }
}
sweep(latest.pids, latest.folders)
