import { once } from "node:events"
import * as https from "node:https"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises"
import { describe, expect, test, vi } from "vitest"
import type { ErrorResponse, NodeSessionOptions } from "coatcheck/node"
import {
  attach,
  cookie,
  fakeSessions,
  type Handler,
  listen,
  nothing,
  oneServer,
  slowly,
  storeDown,
  withHeaders,
} from "../support/fake-sessions.ts"
import { isHttp2, openHttp2, protocols, type Running, sendRaw } from "../support/node-servers.ts"

const start = oneServer()

const CUT_OFF = /cut off|hang up|aborted|stream closed/i

describe.each(protocols)("over %s", (protocol) => {
  describe("G11: a session that cannot be saved", () => {
    test("is answered with 503 when the store is unavailable, with nothing of what the handler wrote", async () => {
      const errors: unknown[] = []
      const calls: unknown[] = []
      const failure = storeDown()
      const finish = Promise.withResolvers<void>()
      const server = await start(
        protocol,
        listen(
          fakeSessions(() => Promise.reject(failure)),
          async (_, response) => {
            if (!isHttp2(protocol)) response.statusMessage = "Secret"
            withHeaders(response, { "X-Secret": "1", Date: "now", "Content-Length": 6 })
            withHeaders(response, { "Set-Cookie": "secret=1" })
            response.write("secret", (error) => calls.push(error))
            await sleep(10)
            calls.push(
              response.write("more", (error) => calls.push((error as { code?: string } | null)?.code)),
            )
            response.end("more", () => calls.push("ended"))
            response.flushHeaders()
            await nextTurn()
            finish.resolve()
          },
          { onError: (error) => void errors.push(error) },
        ),
      )
      const answer = await server.get()
      expect(answer).toMatchObject({
        status: 503,
        statusText: isHttp2(protocol) ? "" : "Service Unavailable",
        body: "Service Unavailable\n",
        headers: { "retry-after": "5", "cache-control": "no-store", "content-length": "20" },
      })
      expect(answer?.headers).not.toHaveProperty("x-secret")
      expect(answer?.headers).not.toHaveProperty("set-cookie")
      await finish.promise
      expect(errors).toEqual([failure])
      expect(calls).toEqual([failure, false, "ERR_STREAM_DESTROYED", "ended"])
    })

    test("is answered with 500 for any other reason, and the connection goes on", async () => {
      let failing = true
      const sessions = fakeSessions(() => (failing ? Promise.reject(new Error("no")) : nothing))
      const server = await start(
        protocol,
        listen(sessions, (_, response) => response.end("body"), { onError: () => undefined }),
      )
      expect(await server.get()).toMatchObject({ status: 500, body: "Internal Server Error\n" })
      failing = false
      expect(await server.get()).toMatchObject({ status: 200, body: "body" })
    })

    test("is answered in the manner of onError: by what it returns", async () => {
      const reply: ErrorResponse = { status: 418, headers: { "X-Tea": "pot" }, body: "short" }
      const answers = [() => reply, async () => reply, async () => (await sleep(2), reply)]
      for (const onError of answers) {
        const server = await start(
          protocol,
          listen(
            fakeSessions(() => Promise.reject(new Error("no"))),
            (_, response) => response.end("body"),
            { onError },
          ),
        )
        expect(await server.get()).toMatchObject({ status: 418, body: "short", headers: { "x-tea": "pot" } })
      }
    })

    test("takes no more sessions, and gets the cookies of those that were saved, when onError answers", async () => {
      const caught: unknown[] = []
      const server = await start(
        protocol,
        listen(
          fakeSessions(() => cookie),
          (_, response) => {
            response.write("begun")
            throw new Error("oops")
          },
          {
            onError(_, request, response) {
              try {
                attach(fakeSessions(), request, response)
              } catch (error) {
                caught.push(error)
              }
              response.end("own")
            },
          },
        ),
      )
      const answer = await server.get()
      expect(answer).toMatchObject({
        body: "own",
        headers: { "set-cookie": ["id=new; Path=/"], vary: "Cookie" },
      })
      expect(caught).toMatchObject([{ code: "ERR_SESSION" }])
    })

    test("is answered in the manner of onError: on the response, at once or later", async () => {
      const answers: NodeSessionOptions["onError"][] = [
        (_, __, response) => void response.writeHead(500, { "X-Own": "1" }).end("own"),
        (_, __, response) => {
          withHeaders(response, { "X-Own": "1" }).write("o")
          setTimeout(() => response.end("wn"), 2)
        },
        async (_, __, response) => {
          response.statusCode = 500
          await sleep(2)
          withHeaders(response, { "X-Own": "1" }).end("own")
        },
      ]
      for (const onError of answers) {
        const server = await start(
          protocol,
          listen(
            fakeSessions(() => Promise.reject(new Error("no"))),
            (_, response) => response.end("body"),
            { onError },
          ),
        )
        expect(await server.get()).toMatchObject({ body: "own", headers: { "x-own": "1" } })
      }
    })

    test("is not answered by a handler that goes on writing while onError takes its time", async () => {
      const begun = Promise.withResolvers<void>()
      const { promise, resolve } = Promise.withResolvers<void>()
      const server = await start(
        protocol,
        listen(
          fakeSessions(() => Promise.reject(new Error("no"))),
          async (_, response) => {
            response.write("secret")
            await begun.promise
            response.write("secret")
            response.end("secret")
            resolve()
          },
          {
            async onError() {
              begun.resolve()
              await promise
              return { status: 500, body: "own" }
            },
          },
        ),
      )
      expect(await server.get()).toMatchObject({ status: 500, body: "own" })
    })

    test("is answered and warned of when onError fails itself", async () => {
      const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined)
      const failing: NodeSessionOptions["onError"][] = [
        () => {
          throw new Error("mine")
        },
        () => Promise.reject(new Error("mine")),
      ]
      for (const onError of failing) {
        const server = await start(
          protocol,
          listen(
            fakeSessions(() => Promise.reject(new Error("no"))),
            (_, response) => response.end("body"),
            { onError },
          ),
        )
        expect(await server.get()).toMatchObject({ status: 500, body: "Internal Server Error\n" })
        expect(warn).toHaveBeenCalledOnce()
        expect(warn.mock.lastCall).toMatchObject([
          expect.any(String),
          { detail: expect.stringContaining("mine") },
        ])
        warn.mockClear()
      }
    })

    test("is answered with 500 when the answer of onError makes no sense", async () => {
      for (const reply of [{ status: 42 }, { status: 500, headers: { "x-a": undefined } }]) {
        const errors: unknown[] = []
        const server = await start(
          protocol,
          listen(
            fakeSessions(() => Promise.reject(new Error("no"))),
            (_, response) => response.end("body"),
            {
              onError: (error) => (errors.push(error), reply),
            },
          ),
        )
        expect(await server.get()).toMatchObject({ status: 500, body: "Internal Server Error\n" })
        expect(errors).toHaveLength(2)
      }
    })

    test("is told of in a process warning unless there is an onError", async () => {
      const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined)
      const failure = new Error("no", { cause: new Error("a driver tells too much") })
      for (const reason of [failure, "text", Object.assign(new Error("x"), { stack: undefined })]) {
        const server = await start(
          protocol,
          listen(
            fakeSessions(() => {
              throw reason as Error
            }),
            (_, response) => response.end("body"),
          ),
        )
        expect((await server.get())?.status).toBe(500)
      }
      expect(warn.mock.calls.map(([, options]) => options)).toMatchObject([
        { type: "CoatcheckWarning", detail: failure.stack },
        { detail: "text" },
        {},
      ])
      expect(JSON.stringify(warn.mock.calls)).not.toContain("a driver tells too much")
    })
  })

  describe("a handler that fails", () => {
    const failing: Record<string, Handler> = {
      "by a throw": () => {
        throw new Error("oops")
      },
      "by a rejection": () => Promise.reject(new Error("oops")),
      "after it had set headers": async (_, response) => {
        withHeaders(response, { "X-Secret": "1", "Content-Length": 3 })
        response.statusCode = 200
        await sleep(1)
        throw new Error("oops")
      },
    }

    test.each(Object.entries(failing))(
      "%s is answered with 500 and the headers of the session",
      async (_, handler) => {
        for (const isTouched of [true, false]) {
          const errors: unknown[] = []
          const sessions = fakeSessions(() => (isTouched ? cookie : nothing), isTouched)
          const server = await start(
            protocol,
            listen(sessions, handler, { onError: (error) => void errors.push(error) }),
          )
          const answer = await server.get()
          expect(answer).toMatchObject({ status: 500, body: "Internal Server Error\n" })
          expect(answer?.headers["x-secret"]).toBeUndefined()
          expect(answer?.headers["set-cookie"]).toEqual(isTouched ? ["id=new; Path=/"] : undefined)
          expect(sessions.opened[0]?.outcomes.map(({ status }) => status)).toEqual([500])
          expect(errors).toMatchObject([{ message: "oops" }])
        }
      },
    )

    test("because the store is unavailable is answered with 503", async () => {
      const sessions = fakeSessions(() => nothing)
      const server = await start(
        protocol,
        listen(sessions, () => Promise.reject(storeDown()), { onError: () => undefined }),
      )
      expect(await server.get()).toMatchObject({ status: 503, headers: { "retry-after": "5" } })
      expect(sessions.opened[0]?.outcomes).toEqual([{ status: 503, headersLost: false }])
    })

    test("and whose session cannot be saved either is answered once; both errors are told", async () => {
      const errors: unknown[] = []
      const server = await start(
        protocol,
        listen(
          fakeSessions(() => Promise.reject(storeDown())),
          () => Promise.reject(new Error("oops")),
          {
            onError: (error) => void errors.push(error),
          },
        ),
      )
      expect(await server.get()).toMatchObject({ status: 503 })
      expect(errors).toMatchObject([{ message: "oops" }, { message: "The store failed." }])
    })

    test("is answered by onError, and the session is finalized with that status", async () => {
      const sessions = fakeSessions(slowly(cookie))
      const server = await start(
        protocol,
        listen(sessions, () => Promise.reject(new Error("oops")), {
          onError: (_, __, response) => void response.writeHead(404, { "X-Own": "1" }).end("own"),
        }),
      )
      const answer = await server.get()
      expect(answer).toMatchObject({
        status: 404,
        body: "own",
        headers: { "x-own": "1", "set-cookie": ["id=new; Path=/"] },
      })
      expect(sessions.opened[0]?.outcomes).toEqual([{ status: 404, headersLost: false }])
    })

    test("while its session is saved is answered with 500 and the new cookie, in place of what it had begun", async () => {
      const server = await start(
        protocol,
        listen(
          fakeSessions(slowly(cookie)),
          (_, response) => {
            response.writeHead(200, { "X-Secret": "1" }).write("begun")
            throw new Error("oops")
          },
          { onError: () => undefined },
        ),
      )
      const answer = await server.get()
      expect(answer).toMatchObject({ status: 500, body: "Internal Server Error\n" })
      expect(answer?.headers["set-cookie"]).toEqual(["id=new; Path=/"])
      expect(answer?.headers["x-secret"]).toBeUndefined()
    })

    test("after it has ended its answer changes nothing", async () => {
      for (const isTouched of [true, false]) {
        const errors: unknown[] = []
        const server = await start(
          protocol,
          listen(
            fakeSessions(slowly(nothing), isTouched),
            (_, response) => {
              response.end("body")
              throw new Error("oops")
            },
            { onError: (error) => void errors.push(error) },
          ),
        )
        expect(await server.get()).toMatchObject({ status: 200, body: "body" })
        expect(errors).toMatchObject([{ message: "oops" }])
      }
    })

    test("in the middle of its answer is cut off", async () => {
      const errors: unknown[] = []
      const server = await start(
        protocol,
        listen(
          fakeSessions(slowly(nothing)),
          async (_, response) => {
            response.write("begun")
            await once(response, "drain")
            await sleep(5)
            throw new Error("oops")
          },
          { onError: (error) => void errors.push(error) },
        ),
      )
      await expect(server.get()).rejects.toThrow(CUT_OFF)
      expect(errors).toMatchObject([{ message: "oops" }])
    })

    test("and goes on writing later harms nobody", async () => {
      const { promise, resolve } = Promise.withResolvers<unknown>()
      const server = await start(
        protocol,
        listen(
          fakeSessions(slowly(nothing)),
          (_, response) => {
            setTimeout(() => {
              response.write("late", resolve)
              response.end("late")
            }, 15)
            throw new Error("oops")
          },
          { onError: () => undefined },
        ),
      )
      expect(await server.get()).toMatchObject({ status: 500, body: "Internal Server Error\n" })
      expect(await promise).toMatchObject({ code: "ERR_STREAM_DESTROYED" })
    })

    test("because of what it gave writeHead is answered with 500", async () => {
      const sessions = fakeSessions(() => nothing, false)
      const server = await start(
        protocol,
        listen(sessions, (_, response) => response.writeHead(200, { "x-a": undefined }).end(), {
          onError: () => undefined,
        }),
      )
      expect(await server.get()).toMatchObject({ status: 500, body: "Internal Server Error\n" })
    })
  })

  describe("a client that hangs up", () => {
    async function hangUp({ port }: Running, when: Promise<unknown>): Promise<void> {
      if (isHttp2(protocol)) {
        const session = openHttp2(protocol, port)
        const stream = session.request({ ":path": "/" })
        stream.on("error", () => undefined)
        await when
        stream.close(8)
        await once(stream, "close")
        session.destroy()
      } else if (protocol === "http") {
        const { socket } = sendRaw(port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await when
        socket.destroy()
      } else {
        const sent = https.request({ host: "127.0.0.1", port, rejectUnauthorized: false }).end()
        sent.on("error", () => undefined)
        await when
        sent.destroy()
      }
    }

    test("before the answer: the session is saved once, and nothing is thrown", async () => {
      const errors: unknown[] = []
      const called = Promise.withResolvers<void>()
      const done = Promise.withResolvers<void>()
      const sessions = fakeSessions(slowly(cookie))
      const server = await start(
        protocol,
        listen(
          sessions,
          async (_, response) => {
            called.resolve()
            await once(response, "close")
            withHeaders(response, { "X-A": "1" }).write("body", () => undefined)
            response.end("body", () => undefined)
            await sleep(10)
            done.resolve()
          },
          { onError: (error) => void errors.push(error) },
        ),
      )
      await hangUp(server, called.promise)
      await done.promise
      expect(sessions.opened[0]?.outcomes).toEqual([{ status: 200, headersLost: false }])
      expect(errors).toEqual([])
    })

    test("while the session is saved: nothing is thrown, and a failing store is told", async () => {
      for (const isDown of [false, true]) {
        const errors: unknown[] = []
        const called = Promise.withResolvers<void>()
        const done = Promise.withResolvers<void>()
        const gone = Promise.withResolvers<void>()
        const sessions = fakeSessions(async () => {
          await gone.promise
          if (isDown) throw storeDown()
          return cookie
        })
        const server = await start(
          protocol,
          listen(
            sessions,
            async (_, response) => {
              response.on("close", () => gone.resolve())
              response.write("body", () => undefined)
              response.end(() => undefined)
              called.resolve()
              await gone.promise
              await sleep(10)
              done.resolve()
            },
            { onError: (error) => void errors.push(error) },
          ),
        )
        await hangUp(server, called.promise)
        await done.promise
        expect(sessions.opened[0]?.outcomes).toHaveLength(1)
        expect(errors).toHaveLength(isDown ? 1 : 0)
      }
    })

    test("in the middle of the answer: the handler's rejection is not reported as a failure of ours", async () => {
      const errors: unknown[] = []
      const called = Promise.withResolvers<void>()
      const failed = Promise.withResolvers<unknown>()
      const server = await start(
        protocol,
        listen(
          fakeSessions(() => nothing),
          async (_, response) => {
            const endless = new Readable({
              read() {
                setTimeout(() => this.push("x".repeat(1000)), 1)
              },
            })
            setTimeout(called.resolve, 20)
            try {
              await pipeline(endless, response)
            } catch (error) {
              setTimeout(() => failed.resolve(error), 5)
              throw error
            }
          },
          { onError: (error) => void errors.push(error) },
        ),
      )
      await hangUp(server, called.promise)
      expect(await failed.promise).toMatchObject({ code: "ERR_STREAM_PREMATURE_CLOSE" })
      expect(errors).toEqual([])
    })

    test("before the answer: a handler that stops for that reason is not reported either", async () => {
      const reasons = [
        new DOMException("The client left.", "AbortError"),
        Object.assign(new Error("aborted"), { code: "ECONNRESET" }),
      ]
      for (const reason of reasons) {
        const errors: unknown[] = []
        const called = Promise.withResolvers<void>()
        const done = Promise.withResolvers<void>()
        const server = await start(
          protocol,
          listen(
            fakeSessions(() => cookie),
            async (_, response) => {
              called.resolve()
              await once(response, "close")
              setTimeout(done.resolve, 5)
              throw reason
            },
            { onError: (error) => void errors.push(error) },
          ),
        )
        await hangUp(server, called.promise)
        await done.promise
        expect(errors).toEqual([])
      }
    })

    test("on a handler that then fails for a reason of its own: it is reported, and the session finalized", async () => {
      const errors: unknown[] = []
      const called = Promise.withResolvers<void>()
      const sessions = fakeSessions(slowly(cookie))
      const server = await start(
        protocol,
        listen(
          sessions,
          async (_, response) => {
            called.resolve()
            await once(response, "close")
            throw new Error("oops")
          },
          { onError: (error) => void errors.push(error) },
        ),
      )
      await hangUp(server, called.promise)
      await vi.waitFor(() => expect(errors).toMatchObject([{ message: "oops" }]))
      await sleep(10)
      expect(sessions.opened[0]?.outcomes.map(({ status }) => status)).toEqual([500])
    })

    test("on a handler that never answers: nothing is saved, and nothing is thrown", async () => {
      const errors: unknown[] = []
      const called = Promise.withResolvers<void>()
      const closed = Promise.withResolvers<void>()
      const sessions = fakeSessions(() => cookie)
      const server = await start(
        protocol,
        listen(
          sessions,
          (_, response) => {
            response.on("close", () => closed.resolve())
            called.resolve()
          },
          { onError: (error) => void errors.push(error) },
        ),
      )
      await hangUp(server, called.promise)
      await closed.promise
      await sleep(5)
      expect(sessions.opened[0]?.outcomes).toEqual([])
      expect(errors).toEqual([])
    })
  })

  test("a source that fails upstream is reported, though the answer is closed", async () => {
    const errors: unknown[] = []
    const server = await start(
      protocol,
      listen(
        fakeSessions(() => nothing),
        async (_, response) => {
          const source = new Readable({ read: () => undefined })
          source.push("begun")
          setTimeout(() => source.destroy(Object.assign(new Error("upstream"), { code: "ECONNRESET" })), 10)
          await pipeline(source, response)
        },
        { onError: (error) => void errors.push(error) },
      ),
    )
    await expect(server.get()).rejects.toThrow(CUT_OFF)
    await vi.waitFor(() => expect(errors).toMatchObject([{ message: "upstream" }]))
  })
})

describe("over HTTP/1.1", () => {
  test("G11: the connection goes on, or not, as the handler wanted", async () => {
    const server = await start(
      "http",
      listen(
        fakeSessions(() => Promise.reject(storeDown())),
        (request, response) => {
          withHeaders(response, { Date: "never", "Transfer-Encoding": "chunked" })
          if (request.url === "/close") response.setHeader("Connection", "close")
          response.end("body")
        },
        { onError: () => undefined },
      ),
    )
    const connection = sendRaw(server.port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await connection.until(/Unavailable\n$/)
    expect(connection.text()).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/)
    expect(connection.text()).toMatch(/\r\nDate: \w{3}, .* GMT\r\n/)
    expect(connection.text()).toMatch(/\r\nConnection: keep-alive\r\n/)
    connection.socket.write("GET /close HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await connection.closed()
    expect(connection.text()).toMatch(/\r\nConnection: close\r\n[^]*Unavailable\n$/)
  })

  test("an answer that Node refuses when it is sent at last is an error like any other", async () => {
    const errors: unknown[] = []
    const server = await start(
      "http",
      listen(
        fakeSessions(() => cookie),
        (request, response) => {
          if (request.url === "/before") {
            withHeaders(response, { Trailer: "X-T", "Content-Length": 4 }).end("body")
            return
          }
          response.strictContentLength = true
          withHeaders(response, { "Content-Length": 1 })
          response.write("0")
          response.write("too long")
          response.end((error?: Error) => errors.push(error))
        },
        { onError: (error) => void errors.push(error) },
      ),
    )
    const before = await server.get("/before")
    expect(before).toMatchObject({ status: 500, body: "Internal Server Error\n" })
    expect(before.headers["set-cookie"]).toEqual(["id=new; Path=/"])
    await expect(server.get("/after")).rejects.toThrow(CUT_OFF)
    expect(errors).toMatchObject([
      { code: "ERR_HTTP_TRAILER_INVALID" },
      { code: "ERR_HTTP_CONTENT_LENGTH_MISMATCH" },
      { code: "ERR_HTTP_CONTENT_LENGTH_MISMATCH" },
    ])
  })
})
