import { once } from "node:events"
import type { IncomingMessage, ServerResponse } from "node:http"
import { connect } from "node:net"
import type { Duplex } from "node:stream"
import { createSessions, errorResponse, isRevoked, type Session, type Sessions } from "coatcheck"
import { memoryStore } from "coatcheck/memory"
import { readSession, withSession } from "coatcheck/node"
import { signedInCookie, type SpyStore, spyStore } from "coatcheck/testing"
import { describe, expect, onTestFinished, test, vi } from "vitest"
import { type ClientOptions, WebSocket, WebSocketServer } from "ws"
import { serve } from "../support/node-servers.ts"

/** WebSockets of `ws` on a server of `node:http`, as an application would have them. */

interface Socket {
  readonly id: string
  readonly userId: string
  readonly request: IncomingMessage
  readonly ws: WebSocket
}

interface Chat {
  readonly sessions: Sessions
  readonly store: SpyStore
  readonly sockets: Set<Socket>
  readonly upgrades: Session[]
  /** What came for an upgrade. */
  readonly streams: Duplex[]
  readonly host: string
  /** Signs a user in, and gives the `Cookie` header. */
  signIn(user: string): Promise<string>
  /** Sends a request with this cookie. @returns the cookie that the browser has then. */
  visit(path: string, cookie: string): Promise<string>
  /** Looks whether the sessions of all WebSockets live, and closes those whose do not. */
  look(): Promise<void>
  /** Opens a WebSocket. @returns it, or the status it was refused with. */
  connect(headers: Record<string, string>): Promise<WebSocket | number>
}

async function startChat({ csrf }: { csrf?: boolean } = {}): Promise<Chat> {
  const store = spyStore(memoryStore())
  const sessions = createSessions({ store, keys: ["k".repeat(32)], cookie: { secure: "auto" } })
  const routes: Record<string, (session: Session) => unknown> = {
    "/sign-out": (session) => session.signOut(),
    "/forget": (session) => session.delete(),
    "/end": (session) => session.invalidate(),
    "/another-ticket": (session) => session.cycleId(),
    "/change-password": (session) => session.revokeOthers(),
  }
  const server = await serve(
    "http",
    withSession(sessions, async (request: IncomingMessage, response: ServerResponse, session) => {
      await routes[request.url ?? ""]?.(session)
      response.end()
    }),
  )
  const webSockets = new WebSocketServer({ noServer: true })
  const sockets = new Set<Socket>()
  const upgrades: Session[] = []
  const streams: Duplex[] = []

  async function accept(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const session = readSession(sessions, request, { csrf })
    upgrades.push(session)
    const userId = await session.userId()
    const { id } = session
    if (userId === null || id === undefined) {
      refuse(socket, 401)
      return
    }
    webSockets.handleUpgrade(request, socket, head, (ws) => {
      const own = { id, userId, request, ws }
      sockets.add(own)
      ws.on("close", () => sockets.delete(own))
      ws.on("message", (data: Buffer) => ws.send(`${userId}: ${data.toString()}`))
    })
  }

  server.server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    streams.push(socket)
    socket.on("error", () => socket.destroy())
    accept(request, socket, head).catch((error: unknown) => refuse(socket, errorResponse(error).status))
  })
  const stop = sessions.onRevoked((revocation) => {
    for (const socket of sockets) if (isRevoked(revocation, socket)) socket.ws.close(4401, "Signed out")
  })
  onTestFinished(async () => {
    stop()
    for (const { ws } of sockets) ws.terminate()
    await server[Symbol.asyncDispose]()
  })
  const host = `127.0.0.1:${server.port}`
  return {
    sessions,
    store,
    sockets,
    upgrades,
    streams,
    host,
    signIn: async (user) => (await signedInCookie(sessions, user, { url: "http://127.0.0.1" })).header,
    async visit(path, cookie) {
      const { headers } = await server.get(path, { headers: { cookie } })
      const [setCookie] = headers["set-cookie"] ?? []
      return setCookie === undefined ? cookie : (setCookie.split(";")[0] as string)
    },
    async look() {
      for (const { ws, request } of sockets) {
        try {
          if ((await readSession(sessions, request).userId()) === null) ws.close(4401, "Signed out")
        } catch {
          // The store says nothing, so nothing is known. The next look will tell.
        }
      }
    },
    async connect(headers) {
      const { origin, ...others } = headers
      const options: ClientOptions = { headers: others, ...(origin === undefined ? undefined : { origin }) }
      const ws = new WebSocket(`ws://${host}/`, options)
      onTestFinished(() => ws.terminate())
      const refused = once(ws, "unexpected-response") as Promise<[unknown, IncomingMessage]>
      const opened = once(ws, "open")
      // Whichever comes second, or never, is nobody's business.
      refused.catch(() => undefined)
      opened.catch(() => undefined)
      return Promise.race([
        opened.then(() => ws),
        refused.then(([, response]) => Number(response.statusCode)),
      ])
    },
  }
}

function refuse(socket: Duplex, status: number): void {
  socket.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

async function open(chat: Chat, cookie: string): Promise<WebSocket> {
  const ws = await chat.connect({ cookie })
  if (typeof ws === "number") throw new Error(`The WebSocket was refused with ${ws}.`)
  return ws
}

type State = () => Promise<number | "open">

/** @returns a function that tells the code a WebSocket is closed with, or "open" if it still answers when that is called. */
function watch(ws: WebSocket): State {
  const closed = once(ws, "close").then(([code]) => code as number)
  return async () => {
    const answered = once(ws, "message").then((): "open" => "open")
    answered.catch(() => undefined)
    if (ws.readyState === WebSocket.OPEN) ws.send("still there?")
    return Promise.race([closed, answered])
  }
}

const statesOf = (states: readonly State[]): Promise<(number | "open")[]> =>
  Promise.all(states.map((state) => state()))

describe("a WebSocket", () => {
  test("is opened by whom the cookie says, for one load and no write", async () => {
    const chat = await startChat()
    const cookie = await chat.signIn("ada")
    chat.store.reset()
    const ws = await open(chat, cookie)
    ws.send("hello")
    const [text] = (await once(ws, "message")) as [Buffer]
    expect(text.toString()).toBe("ada: hello")
    expect(chat.store.operations()).toEqual(["load"])
  })

  test("is refused to nobody and to who was signed out, before the handshake", async () => {
    const chat = await startChat()
    expect(await chat.connect({})).toBe(401)
    expect(await chat.connect({ cookie: "id=forged" })).toBe(401)
    const cookie = await chat.signIn("ada")
    await chat.sessions.revokeByUser("ada")
    expect(await chat.connect({ cookie })).toBe(401)
    expect(chat.sockets.size).toBe(0)
  })

  test("is refused with 503 while the store is down", async () => {
    const chat = await startChat()
    const cookie = await chat.signIn("ada")
    chat.store.failNext("load")
    expect(await chat.connect({ cookie })).toBe(503)
  })

  test("whose client hangs up while it is looked whose it is ends nothing but itself", async () => {
    const chat = await startChat()
    const cookie = await chat.signIn("ada")
    const held = chat.store.hold("load")
    const [hostname, port] = chat.host.split(":")
    const client = connect(Number(port), hostname)
    client.write(
      `GET / HTTP/1.1\r\nHost: ${chat.host}\r\nCookie: ${cookie}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    await held.reached
    const [stream] = chat.streams as [Duplex]
    // Not `once`, which hears errors as well.
    const closed = new Promise((resolve) => void stream.on("close", resolve))
    client.resetAndDestroy()
    await closed
    held.release()
    expect(await chat.connect({ cookie })).toBeInstanceOf(WebSocket)
  })

  test("has a session that can only be read, at the handshake and for as long as it is open", async () => {
    const chat = await startChat()
    await open(chat, await chat.signIn("ada"))
    chat.store.reset()
    const [session] = chat.upgrades as [Session]
    expect(() => session.set("seen", true)).toThrow(
      expect.objectContaining({ code: "ERR_SESSION_READ_ONLY" }),
    )
    expect(() => session.client.set("seen", true)).toThrow("This session can only be read")
    await expect(session.save()).rejects.toThrow("This session can only be read")
    expect(chat.store.operations()).toEqual([])
  })

  test("of another site's page is refused with csrf before the handshake, without a store call; its own page's and programs' are not", async () => {
    const chat = await startChat({ csrf: true })
    const cookie = await chat.signIn("ada")
    chat.store.reset()
    for (const headers of [
      { origin: "https://evil.example" },
      { origin: `https://${chat.host}.evil.example` },
      { origin: "null" },
      { origin: `http://${chat.host}`, "Sec-Fetch-Site": "same-site" },
      { origin: "https://evil.example", "Sec-Fetch-Site": "cross-site" },
    ] as Record<string, string>[])
      expect(await chat.connect({ cookie, ...headers })).toBe(403)
    expect(chat.store.operations()).toEqual([])
    expect(chat.sockets.size).toBe(0)
    for (const headers of [{ origin: `http://${chat.host}` }, {}] as Record<string, string>[])
      expect(await chat.connect({ cookie, ...headers })).toBeInstanceOf(WebSocket)
  })

  test("without csrf is opened to any page that has the cookie: that is what the option is for", async () => {
    const chat = await startChat()
    const cookie = await chat.signIn("ada")
    expect(await chat.connect({ cookie, origin: "https://evil.example" })).toBeInstanceOf(WebSocket)
  })
})

describe("the WebSockets of a session are closed", () => {
  test("when it is revoked, and those of others are not", async () => {
    const chat = await startChat()
    const phone = await open(chat, await chat.signIn("ada"))
    const laptop = await open(chat, await chat.signIn("ada"))
    const [first] = chat.sockets
    const states = [phone, laptop].map(watch)
    expect(await chat.sessions.revoke(first?.id ?? "")).toBe(true)
    expect(await statesOf(states)).toEqual([4401, "open"])
  })

  test("when its user's are, all of them or all but one", async () => {
    const chat = await startChat()
    const bob = await open(chat, await chat.signIn("bob"))
    const [phone, laptop] = [
      await open(chat, await chat.signIn("ada")),
      await open(chat, await chat.signIn("ada")),
    ]
    const [, , last] = chat.sockets
    const some = [phone, laptop, bob].map(watch)
    expect(await chat.sessions.revokeByUser("ada", { except: last?.id })).toBe(1)
    expect(await statesOf(some)).toEqual([4401, "open", "open"])
    const all = [laptop, bob].map(watch)
    expect(await chat.sessions.revokeByUser("ada")).toBe(1)
    expect(await statesOf(all)).toEqual([4401, "open"])
  })

  test("when another one of the user's has revoked it (revokeOthers)", async () => {
    const chat = await startChat()
    const phone = await open(chat, await chat.signIn("ada"))
    const cookie = await chat.signIn("ada")
    const laptop = await open(chat, cookie)
    const states = [phone, laptop].map(watch)
    await chat.visit("/change-password", cookie)
    expect(await statesOf(states)).toEqual([4401, "open"])
  })

  test.each(["/sign-out", "/end"])("when it ends in another request of its own: %s", async (path) => {
    const chat = await startChat()
    const cookie = await chat.signIn("ada")
    const own = await open(chat, cookie)
    const sameBrowser = await open(chat, cookie)
    const elsewhere = await open(chat, await chat.signIn("ada"))
    const states = [own, sameBrowser, elsewhere].map(watch)
    await chat.visit(path, cookie)
    expect(await statesOf(states)).toEqual([4401, 4401, "open"])
    expect(await chat.connect({ cookie })).toBe(401)
  })

  test("when its record is dropped, and its user with it (delete)", async () => {
    const chat = await startChat()
    const cookie = await chat.signIn("ada")
    const state = watch(await open(chat, cookie))
    await chat.visit("/forget", cookie)
    expect(await state()).toBe(4401)
  })

  test("but not because the store is down when it is asked now and then", async () => {
    const chat = await startChat()
    const first = await open(chat, await chat.signIn("ada"))
    const cookie = await chat.signIn("bob")
    const states = [first, await open(chat, cookie)].map(watch)
    // Ended by another process, as it were.
    const [, bob] = chat.sockets
    await chat.store.delete(bob?.id ?? "", { tombstone: { ttl: 60_000 } })
    chat.store.failNext("load")
    await chat.look()
    expect(await statesOf(states)).toEqual(["open", 4401])
  })

  test("but not when it only gets another ticket; to look again now and then finds what was missed", async () => {
    const chat = await startChat()
    const cookie = await chat.signIn("ada")
    const ws = await open(chat, cookie)
    const state = watch(ws)
    await chat.look()
    expect(await state()).toBe("open")
    const moved = await chat.visit("/another-ticket", cookie)
    expect(moved).not.toBe(cookie)
    expect(await state()).toBe("open")
    // Its id is the old one, so a revocation of the new one says nothing of it; what the old cookie opens does.
    await chat.look()
    expect(await state()).toBe(4401)
    await vi.waitFor(() => expect(chat.sockets.size).toBe(0))
  })
})
