import { once } from "node:events"
import { get, type IncomingMessage, type ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { CookieJar } from "tough-cookie"
import { describe, expect, test } from "vitest"
import { createSessions, type Sessions, StoreError } from "coatcheck"
import { memoryStore } from "coatcheck/memory"
import { getSession, requestFacts, withSession } from "coatcheck/node"
import { cookieAgent, type SpyStore, spyStore } from "coatcheck/testing"
import { sendRaw, serve } from "../support/node-servers.ts"

interface State {
  views: number
  cart: string[]
}

const SAVE_TIME = 300

function setUp(): { store: SpyStore; sessions: Sessions<State> } {
  const store = spyStore(memoryStore())
  const sessions = createSessions<State>({ store, keys: ["k".repeat(32)], cookie: { secure: "auto" } })
  return { store, sessions }
}

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown

const request = (path = "/"): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`

describe.concurrent("G3: with a store that takes 300 ms to save", () => {
  const ways: Record<string, Handler> = {
    end: (_, response) => response.end("body"),
    writeHead: (_, response) => void response.writeHead(303, { Location: "/" }).end(),
    write: (_, response) => (response.write("body"), response.end()),
    flushHeaders: (_, response) => (response.flushHeaders(), response.end("body")),
    pipeline: (_, response) => pipeline(Readable.from(["a", "b"]), response),
    "a failing handler": () => Promise.reject(new Error("oops")),
  }

  test.each(Object.entries(ways))(
    "no byte of the head leaves before the save is done: %s",
    async (name, answer) => {
      const { store, sessions } = setUp()
      store.delay("create", SAVE_TIME)
      const fails = name === "a failing handler"
      await using server = await serve(
        "http",
        withSession(
          sessions,
          async (incoming, response, session) => {
            session.set("views", 1)
            // A failed request saves only what it has asked to save.
            if (fails) await session.save()
            return answer(incoming, response)
          },
          { onError: () => undefined },
        ),
      )
      const connection = sendRaw(server.port, request())
      await connection.until(/\r\n\r\n/)
      connection.socket.destroy()
      expect(connection.pieces[0]?.at).toBeGreaterThan(SAVE_TIME - 5)
      expect(connection.text()).toMatch(/\r\nSet-Cookie: id=[\w.-]+; /i)
      expect(store.log).toMatchObject([{ operation: "create", outcome: "resolved" }])
    },
  )

  test("a redirect never overtakes what its request has saved", async () => {
    const { store, sessions } = setUp()
    await using server = await serve(
      "http",
      withSession(sessions, async (incoming, response, session) => {
        if (incoming.method === "GET") return void response.end(String(await session.get("views")))
        session.set("views", Number(incoming.url?.slice(1)))
        return void response.writeHead(303, { Location: "/" }).end()
      }),
    )
    const agent = cookieAgent(`http://localhost:${server.port}`, { jar: new CookieJar() })
    await agent.post("/1")
    store.delay("update", SAVE_TIME)
    expect(await (await agent.post("/2")).text()).toBe("2")
  })

  test("early hints go ahead of it", async () => {
    const { store, sessions } = setUp()
    store.delay("create", SAVE_TIME)
    await using server = await serve(
      "http",
      withSession(sessions, (_, response, session) => {
        session.set("views", 1)
        response.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" })
        response.writeProcessing()
        response.end("body")
        response.writeEarlyHints({ link: "</late.css>; rel=preload; as=style" })
      }),
    )
    const connection = sendRaw(server.port, request())
    await connection.until(/\r\n\r\nbody/)
    connection.socket.destroy()
    const statuses = [...connection.text().matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status)
    expect(statuses).toEqual(["103", "102", "103", "200"])
    expect(connection.pieces[0]?.at).toBeLessThan(SAVE_TIME / 2)
    const head = connection.pieces.find(({ text }) => text.includes("HTTP/1.1 200"))
    expect(head?.at).toBeGreaterThan(SAVE_TIME - 5)
  })

  test("a session that is only read, or not touched at all, waits for nobody", async () => {
    const { store, sessions } = setUp()
    for (const operation of ["create", "update", "updateTtl"] as const) store.delay(operation, SAVE_TIME)
    await using server = await serve(
      "http",
      withSession(sessions, async (incoming, response, session) => {
        if (incoming.url === "/read") await session.get("views")
        response.end("body")
      }),
    )
    for (const path of ["/", "/read"]) {
      const connection = sendRaw(server.port, request(path))
      await connection.until(/body$/)
      connection.socket.destroy()
      expect(connection.pieces[0]?.at).toBeLessThan(SAVE_TIME / 2)
      expect(/^Vary: Cookie/im.test(connection.text())).toBe(path === "/read")
      expect(connection.text()).not.toMatch(/set-cookie/i)
    }
    expect(store.operations()).toEqual([])
  })
})

test.each(["writeHead", "write", "end", "flushHeaders"] as const)(
  "G3: a change after %s has begun throws, and the answer goes out",
  async (step) => {
    for (const isTouched of [true, false]) {
      const { sessions } = setUp()
      const caught: unknown[] = []
      await using server = await serve(
        "http",
        withSession(sessions, (incoming, response) => {
          const session = getSession(sessions, incoming)
          if (isTouched) session.set("views", 1)
          if (step === "writeHead") response.writeHead(200)
          else if (step === "flushHeaders") response.flushHeaders()
          else response[step]("body")
          for (const change of [() => session.set("views", 2), () => session.invalidate()]) {
            try {
              change()
            } catch (error) {
              caught.push((error as { code: string }).code)
            }
          }
          if (step !== "end") response.end()
        }),
      )
      const response = await fetch(`http://127.0.0.1:${server.port}/`)
      await response.text()
      expect(response.status).toBe(200)
      expect(caught).toEqual(["ERR_SESSION_FINALIZED", "ERR_SESSION_FINALIZED"])
    }
  },
)

test("G1: a request that does not touch its session costs no store call and no header", async () => {
  const { store, sessions } = setUp()
  await using server = await serve(
    "http",
    withSession(sessions, (_, response) => void response.end("body")),
  )
  const response = await fetch(`http://127.0.0.1:${server.port}/`, { headers: { Cookie: "id=whatever" } })
  expect([...response.headers.keys()].toSorted()).toEqual([
    "connection",
    "content-length",
    "date",
    "keep-alive",
  ])
  expect(store.operations()).toEqual([])
})

test("G11: a store that is down is answered with 503, and the session is as before", async () => {
  const { store, sessions } = setUp()
  const errors: unknown[] = []
  await using server = await serve(
    "http",
    withSession(
      sessions,
      async (incoming, response, session) => {
        if (incoming.method === "POST") session.set("views", Number(incoming.url?.slice(1)))
        response.end(incoming.method === "GET" ? String(await session.get("views")) : "done")
      },
      { onError: (error) => void errors.push(error) },
    ),
  )
  const agent = cookieAgent(`http://localhost:${server.port}`, { jar: new CookieJar() })
  await agent.post("/1")
  store.failNext("update", new Error("ECONNREFUSED"))
  const refused = await agent.post("/2")
  expect([refused.status, refused.headers.get("Retry-After"), await refused.text()]).toEqual([
    503,
    "5",
    "Service Unavailable\n",
  ])
  expect(errors).toMatchObject([{ code: "ERR_SESSION_STORE", operation: "update" }])
  expect(errors[0]).toBeInstanceOf(StoreError)
  expect(await (await agent.get("/")).text()).toBe("1")
})

test("a client that hangs up before the answer does not keep its request from being saved", async () => {
  const { store, sessions } = setUp()
  const called = Promise.withResolvers<void>()
  await using server = await serve(
    "http",
    withSession(sessions, async (_, response, session) => {
      session.set("views", 1)
      called.resolve()
      await once(response, "close")
      response.end("nobody reads this")
    }),
  )
  const { socket } = sendRaw(server.port, request())
  await called.promise
  socket.destroy()
  while (store.log.length === 0) await sleep(5)
  expect(store.log).toMatchObject([{ operation: "create" }])
})

describe("streams", () => {
  const CHUNK = Buffer.alloc(64 * 1024, "x")
  const CHUNKS = 800

  test("keep their back-pressure: a slow reader bounds what is read from the source", async () => {
    const { store, sessions } = setUp()
    store.delay("create", 50)
    let produced = 0
    const atMost: number[] = []
    await using server = await serve(
      "http",
      withSession(sessions, async (_, response, session) => {
        session.set("views", 1)
        const source = new Readable({
          highWaterMark: CHUNK.length,
          read() {
            atMost.push(response.writableLength)
            this.push(produced++ < CHUNKS ? CHUNK : null)
          },
        })
        await pipeline(source, response)
      }),
    )
    const [incoming] = (await once(get({ port: server.port, host: "127.0.0.1" }), "response")) as [
      IncomingMessage,
    ]
    let received = 0
    incoming.pause()
    await sleep(100)
    // What fits into the buffers of the kernel has been read ahead, and no more.
    const readAhead = produced
    await sleep(50)
    expect(produced).toBe(readAhead)
    expect(readAhead).toBeLessThan(CHUNKS / 2)
    for await (const chunk of incoming) received += (chunk as Buffer).length
    expect(received).toBe(CHUNK.length * CHUNKS)
    expect(Math.max(...atMost)).toBeLessThan(8 * CHUNK.length)
  })

  test("while the session is saved, one chunk is read and no more", async () => {
    const { store, sessions } = setUp()
    const hold = store.hold("create")
    let produced = 0
    await using server = await serve(
      "http",
      withSession(sessions, async (_, response, session) => {
        session.set("views", 1)
        const source = new Readable({
          highWaterMark: CHUNK.length,
          read() {
            this.push(produced++ < 20 ? CHUNK : null)
          },
        })
        source.pipe(response)
      }),
    )
    const answer = fetch(`http://127.0.0.1:${server.port}/`)
    await hold.reached
    await sleep(30)
    expect(produced).toBeLessThan(4)
    hold.release()
    expect((await (await answer).arrayBuffer()).byteLength).toBe(20 * CHUNK.length)
  })

  test("of server-sent events flow one by one after the head", async () => {
    const { store, sessions } = setUp()
    store.delay("create", 50)
    const next = [0, 1, 2].map(() => Promise.withResolvers<void>())
    await using server = await serve(
      "http",
      withSession(sessions, async (_, response, session) => {
        session.set("views", 1)
        response.writeHead(200, { "Content-Type": "text/event-stream" })
        response.flushHeaders()
        for (const [index, { promise }] of next.entries()) {
          await promise
          response.write(`data: ${index}\n\n`)
        }
        response.end()
      }),
    )
    const connection = sendRaw(server.port, request())
    await connection.until(/\r\n\r\n/)
    expect(connection.text()).toMatch(/Set-Cookie: id=/i)
    expect(connection.text()).not.toContain("data:")
    for (const [index, { resolve }] of next.entries()) {
      resolve()
      await connection.until(new RegExp(`data: ${index}\n\n`))
      expect(connection.text()).not.toContain(`data: ${index + 1}`)
    }
    await connection.until(/\r\n0\r\n\r\n$/)
    connection.socket.destroy()
  })
})

test("on an upgrade the session can be read, and a revocation closes the socket", async () => {
  const { sessions } = setUp()
  await using server = await serve(
    "http",
    withSession(sessions, (_, response, session) => {
      session.signIn("ada")
      session.set("views", 7)
      response.end()
    }),
  )
  server.server.on("upgrade", (incoming: IncomingMessage, socket: Socket) => {
    void (async () => {
      const session = sessions.open(incoming.headers.cookie, requestFacts(incoming))
      const { id } = session
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n`)
      socket.write(`views: ${await session.get("views")}\n`)
      sessions.onRevoked((revocation) => {
        if (revocation.id === id) socket.end("bye\n")
      })
    })()
  })
  const jar = new CookieJar()
  await cookieAgent(`http://localhost:${server.port}`, { jar }).get("/")
  const cookie = await jar.getCookieString(`http://localhost:${server.port}/`)
  const connection = sendRaw(
    server.port,
    `GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: test\r\nCookie: ${cookie}\r\n\r\n`,
  )
  await connection.until(/views: 7\n/)
  for (const { id } of await sessions.listByUser("ada")) await sessions.revoke(id)
  await connection.closed()
  expect(connection.text()).toMatch(/bye\n$/)
})
