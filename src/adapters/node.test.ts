import { once } from "node:events"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2"
import { type Duplex, Readable } from "node:stream"
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { createGzip, gunzipSync } from "node:zlib"
import { describe, expect, test, vi } from "vitest"
import {
  attach,
  cookie,
  fakeSessions,
  type FakeSessions,
  type Handler,
  listen,
  nothing,
  oneServer,
  slowly,
  storeDown,
  withHeaders,
} from "../../test/support/fake-sessions.ts"
import { isHttp2, openHttp2, type Protocol, protocols, sendRaw } from "../../test/support/node-servers.ts"
import type { Finalized, RequestFacts, Sessions } from "../api.ts"
import { CsrfError, SessionError, SessionReadOnlyError } from "../errors.ts"
import { createSessions } from "../sessions.ts"
import { memoryStore } from "../stores/memory.ts"
import { signedInCookie } from "../testing/signed-in.ts"
import {
  errorResponse,
  getSession,
  readSession,
  type ReadSessionOptions,
  requestFacts,
  type RequestFactsOptions,
  withSession,
} from "./node.ts"

const start = oneServer()

describe.each(protocols)("over %s", (protocol) => {
  test("headers of the handler and of the session are merged, however the handler gave them", async () => {
    const heads: Handler[] = [
      (_, response) =>
        withHeaders(response, { "Set-Cookie": "a=1", Vary: "Accept", "Cache-Control": "public" }).end(),
      (_, response) =>
        response
          .writeHead(200, { "set-cookie": ["a=1", "id=old"], vary: "Accept", "cache-control": "public" })
          .end(),
      (_, response) =>
        response.writeHead(200, ["Set-Cookie", "id=old", "Set-Cookie", "a=1", "Vary", "Accept"]).end(),
    ]
    const server = await start(protocol, (request: IncomingMessage, response: ServerResponse) =>
      listen(
        fakeSessions(() => cookie),
        heads[Number(request.url?.slice(1))] as Handler,
      )(request, response),
    )
    for (const index of heads.keys()) {
      const answer = await server.get(`/${index}`)
      expect(answer?.headers).toMatchObject({
        "set-cookie": ["a=1", "id=new; Path=/"],
        vary: "Accept, Cookie",
        "cache-control": "no-store",
      })
    }
  })

  test("while it is saved, the response looks sent to the handler", async () => {
    const { promise, resolve } = Promise.withResolvers<Finalized>()
    const seen: Record<string, unknown> = {}
    const sent = isHttp2(protocol) ? "ERR_HTTP2_HEADERS_SENT" : "ERR_HTTP_HEADERS_SENT"
    const server = await start(
      protocol,
      listen(
        fakeSessions(() => promise),
        async (_, response) => {
          const events: string[] = []
          for (const event of ["drain", "finish", "prefinish", "close"])
            response.on(event, () => events.push(event))
          withHeaders(response, { "X-A": "1" })
          seen["before"] = [response.headersSent, response.writableEnded, response.writableNeedDrain]
          const room = response.write("one,")
          seen["write"] = [room, response.headersSent, response.writableEnded, response.writableNeedDrain]
          seen["length"] = response.writableLength
          const codes: unknown[] = []
          const calls = [
            () => response.setHeader("X-A", "2"),
            () => response.appendHeader("X-A", "2"),
            () => response.removeHeader("X-A"),
            () => response.writeHead(500),
            ...(isHttp2(protocol) ? [] : [() => response.setHeaders(new Headers())]),
          ]
          for (const call of calls) {
            try {
              call()
              codes.push("none")
            } catch (error) {
              codes.push((error as { code: string }).code)
            }
          }
          seen["codes"] = new Set(codes)
          seen["header"] = response.getHeader("x-a")
          response.statusCode = 500
          response.flushHeaders()
          implicitHeader(response)
          const drained = once(response, "drain")
          resolve(nothing)
          await drained
          seen["drained"] = [response.headersSent, response.writableNeedDrain]
          response.end("two", () => events.push("callback"))
          seen["ended"] = [response.writableEnded, response.finished]
          await once(response, "finish")
          seen["events"] = events.filter((event) => event !== "close" && event !== "prefinish")
        },
      ),
    )
    expect(await server.get()).toMatchObject({ status: 200, body: "one,two", headers: { "x-a": "1" } })
    expect(seen).toMatchObject({
      before: [false, false, false],
      write: [false, true, false, true],
      length: 4,
      codes: new Set([sent]),
      header: "1",
      drained: [true, false],
      ended: [true, true],
    })
    expect(seen["events"]).toContain("callback")
    expect(seen["events"]).toContain("finish")
  })

  test("an end while it is saved is seen at once, and finishes when all is sent", async () => {
    const { promise, resolve } = Promise.withResolvers<Finalized>()
    const seen: unknown[] = []
    const done = Promise.withResolvers<void>()
    const server = await start(
      protocol,
      listen(
        fakeSessions(() => promise),
        async (_, response) => {
          const order: string[] = []
          response.on("finish", () => order.push("finish"))
          response.on("drain", () => order.push("drain"))
          response.write("one,", () => order.push("written"))
          const result = response.end("two", () => order.push("ended"))
          seen.push(result === response, response.writableEnded, response.finished, response.writableFinished)
          seen.push(response.writableNeedDrain, response.writableLength)
          await sleep(5)
          seen.push([...order])
          resolve(nothing)
          await once(response, "finish")
          await nextTurn()
          seen.push(response.writableEnded, response.writableFinished, [...order].toSorted())
          done.resolve()
        },
      ),
    )
    expect((await server.get()).body).toBe("one,two")
    await done.promise
    expect(seen).toEqual([true, true, true, false, false, 7, [], true, true, ["ended", "finish", "written"]])
  })

  test("G3: the status is decided when the head begins, and a change of it afterwards is too late", async () => {
    const sessions = fakeSessions(slowly(nothing))
    const server = await start(
      protocol,
      listen(sessions, (_, response) => {
        response.statusCode = 201
        response.end("body")
        response.statusCode = 500
        if (!isHttp2(protocol)) response.statusMessage = "Late"
      }),
    )
    expect(await server.get()).toMatchObject({ status: 201, statusText: isHttp2(protocol) ? "" : "Created" })
    expect(sessions.opened[0]?.outcomes).toEqual([{ status: 201, headersLost: false }])
  })

  test("what Node would refuse at once is refused at once, and the handler can still answer", async () => {
    const sessions = fakeSessions(() => cookie)
    const codes: unknown[] = []
    const server = await start(
      protocol,
      listen(sessions, (_, response) => {
        const wrong = [
          () => response.write(5),
          () => response.write(null),
          () => response.end({} as never),
          () => response.writeHead(42),
          () => response.writeHead("no" as never),
          () => response.writeHead(200, { "x-a": undefined }),
          () => response.writeHead(200, ["x-a"]),
          ...(isHttp2(protocol)
            ? []
            : [() => response.writeHead(200, "a\nb"), () => ((response.statusCode = 1000), response.end())]),
        ]
        for (const call of wrong) {
          try {
            call()
            codes.push("none")
          } catch (error) {
            codes.push((error as { code: string }).code)
          }
        }
        response.statusCode = 200
        if (!isHttp2(protocol)) response.statusMessage = "OK"
        response.end("body")
      }),
    )
    expect(await server.get()).toMatchObject({ status: 200, body: "body" })
    const status = isHttp2(protocol) ? "ERR_HTTP2_STATUS_INVALID" : "ERR_HTTP_INVALID_STATUS_CODE"
    const http1 = ["ERR_INVALID_CHAR", "ERR_HTTP_INVALID_STATUS_CODE"]
    expect(codes).toEqual([
      "ERR_INVALID_ARG_TYPE",
      "ERR_STREAM_NULL_VALUES",
      "ERR_INVALID_ARG_TYPE",
      status,
      status,
      isHttp2(protocol) ? "ERR_HTTP2_INVALID_HEADER_VALUE" : "ERR_HTTP_INVALID_HEADER_VALUE",
      "ERR_INVALID_ARG_VALUE",
      ...(isHttp2(protocol) ? [] : http1),
    ])
    expect(sessions.opened[0]?.outcomes).toHaveLength(1)
  })

  test("two session managers on one response do not interfere", async () => {
    const order: string[] = []
    const named = (name: string, isTouched = true): FakeSessions =>
      fakeSessions(() => {
        order.push(name)
        return { headers: [{ name: "Set-Cookie", value: `${name}=1`, mode: "append" }] }
      }, isTouched)
    const [admin, customer, idle] = [named("admin"), named("customer"), fakeSessions(() => nothing, false)]
    const server = await start(
      protocol,
      listen(admin, (request, response) =>
        listen(customer, () => void (attach(idle, request, response), response.end("body")))(
          request,
          response,
        ),
      ),
    )
    const answer = await server.get()
    expect(answer?.headers["set-cookie"]).toEqual(["admin=1", "customer=1"])
    expect(order).toEqual(["admin", "customer"])
    expect(idle.opened[0]?.outcomes).toHaveLength(1)
  })

  test("when one of two session managers cannot save, the other's cookie arrives with the error", async () => {
    const errors: unknown[] = []
    const failing = fakeSessions(() => Promise.reject(storeDown()))
    const working = fakeSessions(slowly(cookie))
    const note = { onError: (error: unknown) => void errors.push(error) }
    const server = await start(
      protocol,
      listen(
        failing,
        (request, response) => listen(working, () => response.end("body"), note)(request, response),
        note,
      ),
    )
    const answer = await server.get()
    expect(answer).toMatchObject({
      status: 503,
      headers: { "set-cookie": ["id=new; Path=/"], vary: "Cookie" },
    })
    expect(errors).toHaveLength(1)
  })
})

/** What older middleware calls when it finds `_header` empty. */
function implicitHeader(response: ServerResponse): void {
  const call = Reflect.get(response, "_implicitHeader") as (() => void) | undefined
  call?.call(response)
}

describe("middleware that compresses", () => {
  type Wrap = (response: ServerResponse) => void

  /** Takes over `write` and `end`, and the head at the last moment, as the usual middleware does. */
  const compress: Wrap = (response) => {
    const [writeHead, write, end] = [
      response.writeHead.bind(response),
      response.write.bind(response),
      response.end.bind(response),
    ]
    const gzip = createGzip()
    let begun = false
    const begin = (): void => {
      if (!response.headersSent) response.writeHead(response.statusCode)
    }
    response.writeHead = ((...args: Parameters<typeof writeHead>) => {
      if (!begun) {
        begun = true
        response.setHeader("Content-Encoding", "gzip")
        response.removeHeader("Content-Length")
        gzip.on("data", (chunk) => {
          if (!write(chunk, "utf8")) gzip.pause()
        })
        response.on("drain", () => gzip.resume())
        gzip.on("drain", () => response.emit("drain"))
        gzip.on("end", () => end("", "utf8"))
      }
      return writeHead(...args)
    }) as typeof writeHead
    response.write = ((chunk: string) => (begin(), gzip.write(chunk))) as typeof write
    response.end = ((chunk?: string) => (begin(), gzip.end(chunk), response)) as typeof end
  }

  /** The same in the older manner, which looks at `_header`. */
  const compressOldStyle: Wrap = (response) => {
    compress(response)
    const [write, end] = [response.write.bind(response), response.end.bind(response)]
    const begin = (): void => {
      if (!Reflect.get(response, "_header")) implicitHeader(response)
    }
    response.write = ((chunk: string) => (begin(), write(chunk))) as typeof write
    response.end = ((chunk?: string) => (begin(), end(chunk))) as typeof end
  }

  const big = "compressible ".repeat(20_000)
  const handlers: Record<string, Handler> = {
    end: (_, response) => response.end(big),
    writes(_, response) {
      response.setHeader("Content-Length", big.length)
      response.write(big.slice(0, 1000))
      response.end(big.slice(1000))
    },
    "writes over time": async (_, response) => {
      response.write(big.slice(0, 1000))
      await sleep(10)
      response.write(big.slice(1000, 2000))
      response.end(big.slice(2000))
    },
    pipe: (_, response) => Readable.from([big.slice(0, 70_000), big.slice(70_000)]).pipe(response),
  }

  describe.each([compress, compressOldStyle])("%o", (wrap) => {
    test.each(Object.entries(handlers))("works before and after the session: %s", async (_, handler) => {
      for (const order of ["before", "after"]) {
        for (const isTouched of [true, false]) {
          const sessions = fakeSessions(isTouched ? slowly(cookie) : () => nothing, isTouched)
          const server = await start("http", (request: IncomingMessage, response: ServerResponse) => {
            if (order === "before") wrap(response)
            listen(sessions, (...args) => {
              if (order === "after") wrap(response)
              return handler(...args)
            })(request, response)
          })
          const answer = await server.get("/", { encoding: "latin1" })
          expect(answer.headers["content-encoding"]).toBe("gzip")
          expect(answer.headers["set-cookie"]).toEqual(isTouched ? ["id=new; Path=/"] : undefined)
          expect(gunzipSync(Buffer.from(answer.body, "latin1")).toString()).toBe(big)
        }
      }
    })
  })
})

describe("mounting", () => {
  test("the same sessions twice on one response is an error that says so", async () => {
    const errors: unknown[] = []
    const sessions = fakeSessions()
    const server = await start(
      "http",
      listen(sessions, (request, response) => void attach(sessions, request, response), {
        onError: (error) => void errors.push(error),
      }),
    )
    expect((await server.get()).status).toBe(500)
    expect(errors).toMatchObject([
      { name: "SessionError", message: expect.stringContaining("mount them once") },
    ])
    expect(sessions.opened).toHaveLength(1)
  })

  test.each(["begun", "saving", "done"])(
    "on a response that is %s is an error that says so",
    async (when) => {
      const errors: unknown[] = []
      const server = await start("http", async (request: IncomingMessage, response: ServerResponse) => {
        if (when === "begun") response.flushHeaders()
        else attach(fakeSessions(slowly(nothing)), request, response)
        response.write("x")
        if (when === "done") await once(response, "drain")
        try {
          attach(fakeSessions(), request, response)
        } catch (error) {
          errors.push(error)
        }
        response.end()
      })
      await server.get()
      expect(errors).toMatchObject([
        { name: "SessionError", message: expect.stringContaining("attach it earlier") },
      ])
    },
  )

  test("getSession finds the session of a request, of each session manager its own", async () => {
    const [one, two, three] = [fakeSessions(), fakeSessions(), fakeSessions()]
    const found: unknown[] = []
    const server = await start("http", (request: IncomingMessage, response: ServerResponse) => {
      const find = (sessions: FakeSessions): unknown => getSession(sessions as unknown as Sessions, request)
      expect(() => find(one)).toThrow("no session")
      attach(one, request, response)
      attach(two, request, response)
      found.push(find(one) === one.opened[0], find(two) === two.opened[0])
      expect(() => find(three)).toThrow(SessionError)
      response.end()
    })
    await server.get()
    expect(found).toEqual([true, true])
  })

  test("works for a request that expects 100-continue", async () => {
    const sessions = fakeSessions(slowly(cookie))
    const listener = listen(sessions, async (request, response) => {
      response.writeContinue()
      request.setEncoding("utf8")
      let body = ""
      for await (const chunk of request) body += chunk as string
      response.end(body)
    })
    const server = await start("http", () => undefined)
    server.server.on("checkContinue", listener)
    const answer = await server.get("/", {
      method: "POST",
      body: "hello",
      headers: { Expect: "100-continue" },
    })
    expect(answer).toMatchObject({ status: 200, body: "hello", before: [100] })
    expect(answer.headers["set-cookie"]).toEqual(["id=new; Path=/"])
  })
})

describe("what a session is told of its request", () => {
  async function facts(
    protocol: Protocol,
    headers: Record<string, string>,
    options?: RequestFactsOptions,
    method?: string,
  ): Promise<RequestFacts & { port: number }> {
    const found: RequestFacts[] = []
    const server = await start(protocol, (request: IncomingMessage, response: ServerResponse) => {
      const { method: verb, secFetchSite, secure, host } = requestFacts(request, options)
      found.push({ method: verb, secFetchSite, secure, host })
      response.end()
    })
    await server.get("/", { headers, method })
    return { ...found[0], port: server.port }
  }

  test.each(protocols)("over %s", async (protocol) => {
    const { port, ...rest } = await facts(protocol, { "sec-fetch-site": "cross-site" }, {}, "POST")
    expect(rest).toEqual({
      method: "POST",
      secFetchSite: "cross-site",
      secure: protocol === "https" || protocol === "h2",
      host: `127.0.0.1:${port}`,
    })
    expect((await facts(protocol, {})).secFetchSite).toBeUndefined()
  })

  const forwarded = { "x-forwarded-proto": "https, http", "x-forwarded-host": "shop.example, inner" }
  // What the proxy does not say is not known, and counts as secure.
  test.each<[Record<string, string>, boolean | undefined, string | undefined]>([
    [forwarded, true, "shop.example"],
    [{ "x-forwarded-proto": "http" }, false, undefined],
    [{ "x-forwarded-proto": "WSS" }, true, undefined],
    [{ "x-forwarded-proto": " " }, undefined, undefined],
    [
      { forwarded: "for=1.2.3.4;proto=https;host=shop.example, for=5.6.7.8;proto=http" },
      true,
      "shop.example",
    ],
    [{ forwarded: 'for="[::1]:1";Host="shop.\\example:8080";PROTO=HTTPS' }, true, "shop.example:8080"],
    [{ forwarded: 'for="a,proto=http";proto=https' }, true, undefined],
    [{ forwarded: "for=1.2.3.4" }, undefined, undefined],
    [{ forwarded: "proto=http", "x-forwarded-proto": "https" }, true, undefined],
    [{}, false, undefined],
  ])("behind a trusted proxy that says %j", async (headers, secure, host) => {
    const found = await facts("http", headers, { trustProxy: true })
    expect([found.secure, found.host]).toEqual([secure, host ?? `127.0.0.1:${found.port}`])
  })

  test("of proxies nothing is believed unless they are trusted, but that there is one", async () => {
    const found = await facts("http", { ...forwarded, forwarded: "proto=https;host=shop.example" })
    expect([found.secure, found.host]).toEqual([undefined, `127.0.0.1:${found.port}`])
  })

  test("its cookies, and trustProxy through the options", async () => {
    for (const protocol of ["http", "h2c"] as const) {
      const sessions = fakeSessions()
      const server = await start(
        protocol,
        listen(sessions, (_, response) => response.end(), { trustProxy: true }),
      )
      await server.get("/", { headers: { cookie: "a=1; b=2", ...forwarded } })
      expect(sessions.opened[0]?.cookieHeader).toBe("a=1; b=2")
      expect(sessions.opened[0]?.facts.secure).toBe(true)
    }
  })

  test("several Cookie lines of HTTP/2 arrive as one", async () => {
    const sessions = fakeSessions()
    const server = await start(
      "h2c",
      listen(sessions, (_, response) => response.end()),
    )
    const client = openHttp2("h2c", server.port)
    const stream = client.request({ ":path": "/", cookie: ["a=1", "b=2"] })
    await once(stream.resume(), "end")
    client.destroy()
    expect(sessions.opened[0]?.cookieHeader).toBe("a=1; b=2")
  })

  test("for an upgrade, which has no response, the session is opened by hand", async () => {
    const sessions = fakeSessions()
    const server = await start("https", () => undefined)
    server.server.on("upgrade", (request: IncomingMessage, socket: Duplex) => {
      sessions.open(request.headers.cookie, requestFacts(request))
      socket.end("HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\n\r\n")
    })
    const upgrade = { Connection: "Upgrade", Upgrade: "websocket", Cookie: "a=1" }
    expect((await server.get("/", { headers: upgrade })).status).toBe(426)
    expect(sessions.opened[0]).toMatchObject({ cookieHeader: "a=1", facts: { secure: true, method: "GET" } })
  })

  test("after the client of an HTTP/2 request has left, as before", async () => {
    const found = Promise.withResolvers<RequestFacts>()
    const server = await start("h2", (request: Http2ServerRequest, response: Http2ServerResponse) => {
      const late = requestFacts(request)
      response.on("close", () => found.resolve(late))
      request.stream.close(8)
    })
    const client = openHttp2("h2", server.port)
    client.request({ ":path": "/" }).on("error", () => undefined)
    expect((await found.promise).secure).toBe(true)
    client.destroy()
  })
})

test("a head that was sent past the adapter is told to the session, and loudly", async () => {
  for (const isTouched of [true, false]) {
    const sessions = fakeSessions(() => cookie, isTouched)
    const errors: unknown[] = []
    const server = await start(
      "h2c",
      withSession(
        sessions as unknown as Sessions,
        (_: Http2ServerRequest, response: Http2ServerResponse) => {
          response.stream.respond({ ":status": 200 })
          response.end("body")
        },
        { onError: (error) => errors.push(error) },
      ),
    )
    const answer = await server.get()
    expect(answer).toMatchObject({ status: 200, body: "body" })
    expect(answer.headers["set-cookie"]).toBeUndefined()
    expect(sessions.opened[0]?.outcomes).toEqual([
      isTouched ? { status: 200, headersLost: true } : { status: 200 },
    ])
    expect(errors).toMatchObject(isTouched ? [{ code: "ERR_SESSION" }] : [])
  }
})

test("over HTTP/2, an answer whose head was sent past the session ends without a body if it cannot be saved, and nothing else happens", async () => {
  const errors: unknown[] = []
  const server = await start(
    "h2c",
    withSession(
      fakeSessions(() => Promise.reject(storeDown())) as unknown as Sessions,
      (_: Http2ServerRequest, response: Http2ServerResponse) => {
        response.setHeader("X-A", "1")
        response.stream.respond({ ":status": 200 })
        response.end("body")
      },
      { onError: (error) => errors.push(error) },
    ),
  )
  expect((await server.get()).body).toBe("")
  await nextTurn()
  expect(errors).toMatchObject([{ code: "ERR_SESSION" }, { code: "ERR_SESSION_STORE" }])
})

test("HTTP/2 takes every view of bytes", async () => {
  const sessions = fakeSessions(slowly(nothing))
  const listener: unknown = withSession(
    sessions as unknown as Sessions,
    (_: Http2ServerRequest, response: Http2ServerResponse) => {
      response.write(new DataView(new TextEncoder().encode("bo").buffer) as never)
      response.end(new TextEncoder().encode("dy"))
    },
  )
  const server = await start("h2c", listener)
  expect((await server.get()).body).toBe("body")
})

test("a response whose every answer fails is cut off", async () => {
  const errors: unknown[] = []
  const server = await start(
    "http",
    listen(
      fakeSessions(() => Promise.reject(storeDown())),
      (_, response) => {
        response.setHeader = () => {
          throw new Error("broken")
        }
        response.end("body")
      },
      { onError: (error) => (errors.push(error), { status: 42 }) },
    ),
  )
  await expect(server.get()).rejects.toThrow("hang up")
  expect(errors).toMatchObject([{ code: "ERR_SESSION_STORE" }, { code: "ERR_HTTP_INVALID_STATUS_CODE" }])
})

test("a session that is untouched, and cannot even be closed, is reported", async () => {
  const errors: unknown[] = []
  const sessions = fakeSessions(() => Promise.reject(storeDown()), false)
  const server = await start(
    "http",
    listen(sessions, (_, response) => response.end("body"), { onError: (error) => void errors.push(error) }),
  )
  expect(await server.get()).toMatchObject({ status: 200, body: "body" })
  expect(errors).toMatchObject([{ code: "ERR_SESSION_STORE" }])
})

test("handlers that never answer leave nothing behind", async () => {
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as () => void
  const kept: WeakRef<object>[] = []
  const sessions = fakeSessions(() => cookie)
  const server = await start(
    "http",
    listen(sessions, (request, response, session) => {
      for (const one of [request, response, session]) kept.push(new WeakRef(one))
      sessions.opened.length = 0
    }),
  )
  for (let index = 1; index <= 5; index++) {
    const { socket } = sendRaw(server.port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await vi.waitFor(() => expect(kept).toHaveLength(3 * index))
    socket.destroy()
  }
  await vi.waitFor(() => {
    collect()
    expect(kept.filter((reference) => reference.deref() !== undefined)).toHaveLength(0)
  })
})

test("errorResponse tells an unavailable store from everything else, whichever copy of the library threw", () => {
  expect(errorResponse(storeDown())).toMatchObject({ status: 503, headers: { "Retry-After": "5" } })
  expect(errorResponse(Object.assign(new Error("x"), { code: "ERR_SESSION_STORE" })).status).toBe(503)
  for (const other of [new Error("x"), new SessionError("x"), "text", undefined]) {
    expect(errorResponse(other)).toMatchObject({ status: 500, body: "Internal Server Error\n" })
  }
})

const realSessions = (): Sessions =>
  createSessions({ keys: ["k".repeat(32)], store: memoryStore(), cookie: { secure: false } })

describe.each(protocols)("withSession with csrf, over %s", (protocol) => {
  test("answers 403 to another site's unsafe request, tells onError, and leaves the handler alone", async () => {
    const told: unknown[] = []
    const handled: unknown[] = []
    const listener: unknown = withSession(
      realSessions(),
      (request: IncomingMessage, response: ServerResponse) => {
        handled.push(request.method)
        response.end("done")
      },
      { csrf: { trustedOrigins: ["https://admin.example"] }, onError: (error) => void told.push(error) },
    )
    const server = await start(protocol, listener)
    const statusOf = async (headers: Record<string, string>, method = "POST"): Promise<number> =>
      (await server.get("/", { method, headers })).status
    const own = `${protocol === "https" || protocol === "h2" ? "https" : "http"}://127.0.0.1:${server.port}`
    expect(await statusOf({ "sec-fetch-site": "cross-site" })).toBe(403)
    expect(await statusOf({ origin: "https://evil.example" })).toBe(403)
    expect(told).toMatchObject([{ reason: "cross-site" }, { reason: "cross-site" }])
    expect(told[0]).toBeInstanceOf(CsrfError)
    expect(handled).toEqual([])
    expect(await statusOf({ origin: own })).toBe(200)
    expect(await statusOf({ origin: "https://admin.example", "sec-fetch-site": "cross-site" })).toBe(200)
    expect(await statusOf({})).toBe(200)
    expect(await statusOf({ "sec-fetch-site": "cross-site" }, "GET")).toBe(200)
    expect(handled).toEqual(["POST", "POST", "POST", "GET"])
  })

  test("what onError answers takes the place of the 403", async () => {
    const handler = (_: IncomingMessage, response: ServerResponse): unknown => response.end("handled")
    const listener: unknown = withSession(realSessions(), handler, {
      csrf: true,
      onError: (error) => ({ ...errorResponse(error), body: "not from there" }),
    })
    const server = await start(protocol, listener)
    const headers = { "sec-fetch-site": "same-site" }
    expect(await server.get("/", { method: "DELETE", headers })).toMatchObject({
      status: 403,
      body: "not from there",
    })
  })

  test("takes the token of a header from a browser that tells nothing", async () => {
    const sessions = realSessions()
    const listener: unknown = withSession(
      sessions,
      async (request: IncomingMessage, response: ServerResponse) =>
        response.end(await getSession(sessions, request).csrfToken()),
      { csrf: { token: true }, onError: () => undefined },
    )
    const server = await start(protocol, listener)
    const { header } = await signedInCookie(sessions, "ada", { url: "http://localhost" })
    const { body: token } = await server.get("/", { headers: { cookie: header } })
    const statusOf = async (headers: Record<string, string>): Promise<number> =>
      (await server.get("/", { method: "POST", headers })).status
    expect(await statusOf({ cookie: header, "x-csrf-token": token })).toBe(200)
    expect(await statusOf({ cookie: header, "x-csrf-token": `${token}x` })).toBe(403)
    expect(await statusOf({ cookie: header })).toBe(403)
    // Without a cookie there is nothing to ride on, whatever else is sent.
    expect(await statusOf({ "x-csrf-token": token })).toBe(200)
    expect(await statusOf({ cookie: "theme=dark", authorization: "Bearer of a program" })).toBe(200)
    expect(await statusOf({ "sec-fetch-site": "cross-site" })).toBe(403)
  })
})

test("a wrong csrf option is refused when the listener is made", () => {
  expect(() => withSession(realSessions(), () => undefined, { csrf: { trustedOrigins: ["x"] } })).toThrow(
    /csrf\.trustedOrigins\[0\]/,
  )
})

describe("requestFacts", () => {
  test("know the origin, what is asked for, and which setting tells of https", async () => {
    const seen: RequestFacts[] = []
    const server = await start("http", (request: IncomingMessage, response: ServerResponse) => {
      for (const options of [{}, { trustProxy: true, readOnly: "why" }]) {
        const { origin, isUpgrade, readOnly, httpsSetting } = requestFacts(request, options)
        seen.push({ origin, isUpgrade, readOnly, httpsSetting })
      }
      response.end()
    })
    await server.get("/", { headers: { origin: "https://a.example", upgrade: "h2c" } })
    expect(seen).toEqual([
      {
        origin: "https://a.example",
        isUpgrade: false,
        readOnly: undefined,
        httpsSetting: "trustProxy: true",
      },
      {
        origin: "https://a.example",
        isUpgrade: false,
        readOnly: "why",
        httpsSetting: "let it send X-Forwarded-Proto",
      },
    ])
  })
})

describe("readSession", () => {
  /** What becomes of a request for which there is no response, as an `upgrade` event has it. */
  async function reading(
    options: ReadSessionOptions,
    headers: Record<string, string>,
    method = "GET",
    sessions = realSessions(),
  ): Promise<unknown> {
    const { promise, resolve } = Promise.withResolvers<unknown>()
    const server = await start("http", (request: IncomingMessage, response: ServerResponse) => {
      try {
        resolve(readSession(sessions, request, options))
      } catch (error) {
        resolve(error)
      }
      response.end()
    })
    await server.get("/", { method, headers: { host: "shop.example", ...headers } })
    return promise
  }

  const upgrade = { upgrade: "websocket" }
  const evil = { ...upgrade, origin: "https://evil.example" }

  test("gives a session that can only be read, upgrade or not, and says why", async () => {
    const sessions = realSessions()
    const { header } = await signedInCookie(sessions, "ada", { url: "http://localhost" })
    const session = (await reading({}, { cookie: header }, "GET", sessions)) as ReturnType<typeof readSession>
    expect(await session.userId()).toBe("ada")
    expect(() => session.signOut()).toThrow(SessionReadOnlyError)
    expect(() => session.signOut()).toThrow("opened without a response that could carry a cookie")
    const own = (await reading({ readOnly: "of my own" }, {}, "GET", sessions)) as typeof session
    expect(() => own.clear()).toThrow("This session can only be read: of my own.")
    const unsaid = (await reading({ readOnly: undefined }, {}, "GET", sessions)) as typeof session
    expect(() => unsaid.clear()).toThrow(SessionReadOnlyError)
  })

  test("with csrf refuses another site's page, and no program", async () => {
    expect(await reading({ csrf: true }, evil)).toBeInstanceOf(CsrfError)
    expect(await reading({ csrf: true }, { ...upgrade, "sec-fetch-site": "same-site" })).toBeInstanceOf(
      CsrfError,
    )
    for (const [options, headers] of [
      [{}, evil],
      [{ csrf: true }, upgrade],
      [{ csrf: true }, { ...upgrade, origin: "http://shop.example" }],
      [{ csrf: { trustedOrigins: ["https://evil.example"] } }, evil],
      [
        { csrf: true, trustProxy: true },
        { ...evil, "x-forwarded-host": "evil.example" },
      ],
    ] as const)
      expect(await reading(options, headers)).not.toBeInstanceOf(Error)
  })

  test("with a token asked for leaves no rejection behind that would end the process", async () => {
    const sessions = realSessions()
    const { header } = await signedInCookie(sessions, "ada", { url: "http://localhost" })
    const known = { ...upgrade, cookie: header }
    // `oneServer` looks for those.
    const refused = await reading({ csrf: { token: true } }, known, "POST", sessions)
    expect(refused).toMatchObject({ reason: "token" })
    expect(await reading({ csrf: { token: true } }, upgrade)).not.toBeInstanceOf(Error)
  })
})
