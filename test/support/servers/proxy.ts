import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"

/** Stands between clients and servers of this machine, passes on what they say, and can fall silent or hang up. */
export interface Proxy {
  /** Where to connect to in the place of the first server. */
  readonly port: number
  /** From the port of each server to the one to connect to in its place. */
  readonly by: ReadonlyMap<number, number>
  /**
   * The next time that a client sends bytes with this text in them, they reach the server, but of what the server then says only the first
   * `bytes` come back, and the connection ends. New ones are made only after `admit`.
   * @returns once the connection has ended
   */
  loseReply(text: string, bytes?: number): Promise<void>
  /** Lets connections be made again. */
  admit(): void
  /** Ends all connections. New ones are made only after `admit`. */
  cut(): void
  stop(): Promise<void>
}

interface Trap {
  readonly text: string
  readonly bytes: number
  readonly sprung: () => void
}

export async function startProxy(...servers: readonly number[]): Promise<Proxy> {
  const sockets = new Set<Socket>()
  const waiting: (() => void)[] = []
  let isOpen = true
  let next: Trap | undefined

  function own(socket: Socket): void {
    sockets.add(socket)
    socket.on("error", () => undefined)
    socket.on("close", () => sockets.delete(socket))
  }
  function join(near: Socket, to: number): void {
    if (near.destroyed) return
    const far = connect(to, "127.0.0.1")
    own(far)
    let trap: Trap | undefined
    near.on("data", (data) => {
      if (next !== undefined && data.includes(next.text)) {
        trap = next
        next = undefined
        isOpen = false
      }
      far.write(data)
    })
    far.on("data", (data) => {
      if (trap === undefined) near.write(data)
      else if (!near.writableEnded) {
        near.end(data.subarray(0, trap.bytes), () => near.destroy())
        // What has been said before may be what has come first: the server hears out the rest.
        far.end()
      }
    })
    near.on("close", () => trap ?? far.destroy())
    far.on("close", () => {
      near.destroy()
      trap?.sprung()
    })
    near.resume()
  }
  const listeners = await Promise.all(
    servers.map((to) =>
      listen((near) => {
        own(near)
        near.pause()
        if (isOpen) join(near, to)
        else waiting.push(() => join(near, to))
      }),
    ),
  )
  const ports = listeners.map((listener) => (listener.address() as AddressInfo).port)
  return {
    port: ports[0] as number,
    by: new Map(servers.map((to, index) => [to, ports[index] as number])),
    loseReply: (text, bytes = 0) =>
      new Promise((resolve) => {
        next = { text, bytes, sprung: resolve }
      }),
    admit: () => {
      isOpen = true
      for (const enter of waiting.splice(0)) enter()
    },
    cut: () => {
      isOpen = false
      for (const socket of sockets) socket.destroy()
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      await Promise.all(
        listeners.map(async (listener) => {
          listener.close()
          await once(listener, "close")
        }),
      )
    },
  }
}

async function listen(meet: (socket: Socket) => void): Promise<Server> {
  const server = createServer(meet)
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return server
}
