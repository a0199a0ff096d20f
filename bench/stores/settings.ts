import { parseArgs } from "node:util"
import type { DatabaseServer, Engine, KeyValueEngine } from "../../test/support/servers/server.ts"
import { type Clock, processorClock, wallClock } from "./clocks.ts"

export type AnyEngine = Engine | KeyValueEngine
export type AnyServer = DatabaseServer<AnyEngine>

const { values } = parseArgs({
  options: {
    engine: { type: "string", multiple: true },
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    cpu: { type: "boolean", default: false },
    floor: { type: "boolean", default: false },
  },
})

/** What the command line asks for. */
interface Settings {
  /** All, if none is named. */
  readonly engines: readonly string[] | undefined
  readonly rounds: number
  readonly roundMs: number
  readonly sessions: number
  /** Whether the time of the processors counts. */
  readonly cpu: boolean
  readonly floor: boolean
}

export const settings: Settings = {
  engines: values.engine,
  rounds: Number(values.rounds ?? (values.quick ? 5 : 15)),
  roundMs: values.quick ? 500 : 1000,
  sessions: values.quick ? 2000 : 10_000,
  cpu: values.cpu,
  floor: values.floor,
}

export function clockFor(server: AnyServer): Clock {
  return settings.cpu ? processorClock(server.pid) : wallClock
}

export function print(text: string): void {
  process.stdout.write(text)
}
