import { once } from "node:events"
import { createServer } from "node:net"

/**
 * A port of 127.0.0.1 on which nobody listens. It lies below the range that Linux gives to outgoing connections, so
 * that a server that was down finds it free when it comes back.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (await isFree(port)) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port, "127.0.0.1")
    await once(server, "listening")
  } catch {
    return false
  }
  server.close()
  await once(server, "close")
  return true
}
