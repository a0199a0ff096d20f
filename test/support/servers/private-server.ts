import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import { dropFolder } from "./belongings.ts"
import { type Command, launch, tailOf } from "./commands.ts"
import { isRunning, killFamilies } from "./processes.ts"
import type { Address, DatabaseServer, Engine, KeyValueEngine } from "./server.ts"

/** What sets one engine apart from another. */
export interface Blueprint<E extends Engine | KeyValueEngine = Engine> {
  readonly engine: E
  readonly address: Address
  readonly folder: string
  /** Writes the data folder. */
  initialize(): Promise<void>
  /** The server in the foreground. */
  readonly command: Command
  /** The signal that asks for an ordinary stop without waiting for clients. */
  readonly stopSignal: NodeJS.Signals
  /** Connects, asks for the version and makes the database if it is not there. Rejects while the server starts. */
  greet(): Promise<string>
}

const patience = 60_000

/** Makes the server of the blueprint and waits until it answers queries. */
export async function startServer<E extends Engine | KeyValueEngine>(
  blueprint: Blueprint<E>,
): Promise<DatabaseServer<E>> {
  try {
    await blueprint.initialize()
    const server = new PrivateServer(blueprint)
    await server.start()
    return server
  } catch (error) {
    dropFolder(blueprint.folder)
    throw error
  }
}

class PrivateServer<E extends Engine | KeyValueEngine> implements DatabaseServer<E> {
  readonly engine: E
  readonly host: "127.0.0.1" = "127.0.0.1"
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  readonly folder: string
  version = ""
  readonly #blueprint: Blueprint<E>
  #child: ChildProcess | undefined
  #pid = 0

  constructor(blueprint: Blueprint<E>) {
    this.#blueprint = blueprint
    this.engine = blueprint.engine
    this.port = blueprint.address.port
    this.user = blueprint.address.user
    this.password = blueprint.address.password
    this.database = blueprint.address.database
    this.folder = blueprint.folder
  }

  get pid(): number {
    return this.#pid
  }

  async start(): Promise<void> {
    if (this.#livingChild() !== undefined) throw new Error(`The ${this.engine} server runs already.`)
    const child = launch(this.#blueprint.command)
    this.#child = child
    this.#pid = child.pid ?? 0
    try {
      this.version = await this.#untilItAnswers(child)
    } catch (error) {
      await this.kill()
      throw error
    }
  }

  async kill(): Promise<void> {
    const child = this.#livingChild()
    if (child?.pid === undefined) return
    const exit = once(child, "exit")
    const killed = killFamilies([child.pid])
    await exit
    // The children of PostgreSQL hold its port and shared memory as long as they live.
    while (killed.some(isRunning)) await sleep(5)
  }

  async shutDown(): Promise<void> {
    const child = this.#livingChild()
    if (child === undefined) return
    const exit = once(child, "exit", { signal: AbortSignal.timeout(patience) })
    child.kill(this.#blueprint.stopSignal)
    try {
      await exit
    } catch (cause) {
      await this.kill()
      throw this.#failure("did not stop", cause)
    }
  }

  async stop(): Promise<void> {
    await this.shutDown()
    dropFolder(this.folder)
  }

  #livingChild(): ChildProcess | undefined {
    const child = this.#child
    if (child === undefined || child.pid === undefined) return undefined
    return child.exitCode === null && child.signalCode === null ? child : undefined
  }

  async #untilItAnswers(child: ChildProcess): Promise<string> {
    let spawnError: Error | undefined
    child.on("error", (error) => (spawnError = error))
    const deadline = Date.now() + patience
    for (;;) {
      await sleep(25)
      if (this.#livingChild() !== child) throw this.#failure("ended while it started", spawnError)
      try {
        return await this.#blueprint.greet()
      } catch (error) {
        if (Date.now() > deadline) throw this.#failure("did not answer", error)
      }
    }
  }

  #failure(what: string, cause: unknown): Error {
    const { log } = this.#blueprint.command
    return new Error(`The ${this.engine} server ${what}:\n${tailOf(log)}`, { cause })
  }
}
