import { once } from "node:events"
import { Redis } from "ioredis"

/** One command, as the engine's MONITOR tells of it. */
export interface Seen {
  /** In small letters. */
  readonly name: string
  readonly args: readonly string[]
  /** Whether a script has called it. */
  readonly isInner: boolean
}

export interface Monitor {
  /** What the engine has carried out while the task ran. Nobody else may use it meanwhile. */
  during(task: () => Promise<unknown>): Promise<Seen[]>
  close(): void
}

/** Listens to what a server carries out. */
export async function openMonitor(port: number): Promise<Monitor> {
  const client = new Redis({ host: "127.0.0.1", port })
  const listener = await client.monitor()
  const seen: Seen[] = []
  const marks = new Map<string, () => void>()
  listener.on("monitor", (_time: string, [command = "", ...args]: string[], source: string) => {
    const name = command.toLowerCase()
    const passed = name === "echo" ? marks.get(args[0] ?? "") : undefined
    if (passed === undefined) seen.push({ name, args, isInner: source === "lua" })
    else passed()
  })
  let count = 0
  /** Everything that came before has been told. */
  const mark = async (): Promise<void> => {
    const name = `mark ${++count}`
    const passed = new Promise<void>((resolve) => marks.set(name, resolve))
    await client.echo(name)
    await passed
  }
  return {
    during: async (task) => {
      await mark()
      seen.length = 0
      await task()
      await mark()
      return [...seen]
    },
    close: () => {
      listener.disconnect()
      client.disconnect()
    },
  }
}

/** A client that a test gives commands to. */
export async function openAdmin(port: number): Promise<Redis> {
  const client = new Redis({ host: "127.0.0.1", port })
  await once(client, "ready")
  return client
}
