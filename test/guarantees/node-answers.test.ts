import type { IncomingMessage, ServerResponse } from "node:http"
import { Readable } from "node:stream"
import { finished, pipeline } from "node:stream/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { describe, expect, test } from "vitest"
import {
  cookie,
  fakeSessions,
  type Handler,
  listen,
  nothing,
  oneServer,
  slowly,
  withHeaders,
} from "../support/fake-sessions.ts"
import { bytesOf, isHttp2, type Protocol, protocols } from "../support/node-servers.ts"

const start = oneServer()

/** Every way to answer. Under HTTP/2 those that it does not know are left out. */
const ways: { name: string; http1Only?: boolean; method?: string; answer: Handler }[] = [
  { name: "end()", answer: (_, response) => response.end() },
  { name: "end(body)", answer: (_, response) => response.end("body") },
  { name: "end(callback)", answer: (_, response) => response.end(() => undefined) },
  {
    name: "end(body, encoding, callback)",
    answer: (_, response) => response.end("626f6479", "hex", () => undefined),
  },
  {
    name: "end(buffer, callback)",
    answer: (_, response) => response.end(Buffer.from("body"), () => undefined),
  },
  {
    name: "statusCode and end(body)",
    answer: (_, response) => ((response.statusCode = 201), response.end("body")),
  },
  {
    name: "statusMessage",
    http1Only: true,
    answer: (_, response) => ((response.statusMessage = "Fine"), response.end("body")),
  },
  {
    name: "setHeader and end(body)",
    answer: (_, response) => withHeaders(response, { "X-A": "1" }).end("body"),
  },
  {
    name: "setHeader of several values",
    answer: (_, response) =>
      withHeaders(response, { "X-A": ["1", "2"], "Set-Cookie": ["a=1", "b=2"] }).end("x"),
  },
  {
    name: "appendHeader",
    answer(_, response) {
      response.appendHeader("X-A", "1")
      response.appendHeader("X-A", ["2", "3"])
      response.end("body")
    },
  },
  {
    name: "setHeaders",
    http1Only: true,
    answer: (_, response) =>
      response
        .setHeaders(
          new Headers([
            ["x-a", "1"],
            ["set-cookie", "a=1"],
            ["set-cookie", "b=2"],
          ]),
        )
        .end("x"),
  },
  {
    name: "a Content-Length",
    answer: (_, response) => withHeaders(response, { "Content-Length": 4 }).end("body"),
  },
  { name: "no Date", answer: (_, response) => ((response.sendDate = false), response.end("body")) },
  {
    name: "Connection: close",
    http1Only: true,
    answer: (_, response) => withHeaders(response, { Connection: "close" }).end("x"),
  },
  { name: "writeHead(status)", answer: (_, response) => response.writeHead(202).end("body") },
  {
    name: "writeHead(status, object)",
    answer: (_, response) => response.writeHead(200, { "X-A": "1", "X-B": ["2", "3"] }).end("body"),
  },
  {
    name: "writeHead(status, undefined, object)",
    answer: (_, response) => response.writeHead(200, undefined, { "X-A": "1" }).end("body"),
  },
  {
    name: "writeHead(status, message, object)",
    http1Only: true,
    answer: (_, response) => response.writeHead(200, "Fine", { "X-A": "1", "Content-Length": 4 }).end("body"),
  },
  {
    name: "writeHead(status, message)",
    http1Only: true,
    answer: (_, response) => response.writeHead(404, "Gone astray").end(),
  },
  {
    name: "writeHeader, as writeHead was once called",
    http1Only: true,
    answer(_, response) {
      const { writeHeader } = response as unknown as { writeHeader: ServerResponse["writeHead"] }
      Reflect.apply(writeHeader, response, [200, { "X-A": "1" }])
      response.end("body")
    },
  },
  {
    name: "writeHead(status, flat array)",
    answer: (_, response) =>
      response.writeHead(200, ["X-A", "1", "X-A", "2", "Set-Cookie", "a=1", "Set-Cookie", "b=2"]).end("x"),
  },
  {
    name: "writeHead(status, array of pairs)",
    answer: (_, response) =>
      response
        .writeHead(200, [
          ["X-A", "1"],
          ["X-A", "2"],
        ] as unknown as string[])
        .end("body"),
  },
  {
    name: "writeHead(status, empty array)",
    answer: (_, response) => response.writeHead(200, []).end("body"),
  },
  {
    name: "setHeader, then writeHead over it",
    answer: (_, response) =>
      withHeaders(response, { "X-A": "old", "X-B": "kept" }).writeHead(200, { "X-A": "new" }).end("x"),
  },
  {
    name: "setHeader, then writeHead with an array over it",
    answer: (_, response) =>
      withHeaders(response, { "X-A": "old" }).writeHead(200, ["x-a", "1", "X-A", "2"]).end("x"),
  },
  {
    name: "writeHead, and end much later",
    async answer(_, response) {
      response.writeHead(200, { "X-A": "1" })
      await sleep(15)
      response.end("body")
    },
  },
  {
    name: "write and end",
    answer(_, response) {
      response.write("one,")
      response.write(Buffer.from("two,"))
      response.end("three")
    },
  },
  {
    name: "write with encodings and callbacks",
    answer(_, response) {
      response.write("b25lLA==", "base64", () => undefined)
      response.write("two,", () => response.end("three"))
    },
  },
  {
    name: "write with a Content-Length",
    answer(_, response) {
      withHeaders(response, { "Content-Length": 8 })
      response.write("one,")
      response.end("two!")
    },
  },
  {
    name: "writes over time",
    async answer(_, response) {
      for (const chunk of ["one,", "two,", "three"]) {
        response.write(chunk)
        await sleep(5)
      }
      response.end()
    },
  },
  {
    name: "cork and uncork",
    answer(_, response) {
      response.cork()
      response.write("one,")
      response.write("two")
      response.uncork()
      response.end()
    },
  },
  {
    name: "flushHeaders",
    async answer(_, response) {
      withHeaders(response, { "X-A": "1" })
      response.flushHeaders()
      response.flushHeaders()
      await sleep(5)
      response.end("body")
    },
  },
  {
    name: "flushHeaders and end at once",
    answer: (_, response) => (response.flushHeaders(), response.end("body")),
  },
  { name: "pipe", answer: (_, response) => Readable.from(["one,", "two,", "three"]).pipe(response) },
  { name: "pipeline", answer: (_, response) => pipeline(Readable.from(["one,", "two"]), response) },
  {
    name: "pipeline and finished",
    answer: (_, response) => Promise.all([pipeline(Readable.from(["one"]), response), finished(response)]),
  },
  {
    name: "trailers",
    answer(_, response) {
      withHeaders(response, { Trailer: "X-T" })
      response.write("body")
      response.addTrailers({ "X-T": "end" })
      response.end()
    },
  },
  { name: "204", answer: (_, response) => response.writeHead(204).end() },
  {
    name: "304",
    answer: (_, response) => ((response.statusCode = 304), withHeaders(response, { ETag: '"1"' }).end()),
  },
  {
    name: "HEAD",
    method: "HEAD",
    answer: (_, response) => withHeaders(response, { "X-A": "1" }).end("body"),
  },
  {
    name: "HEAD with a head of its own",
    method: "HEAD",
    answer: (_, response) => response.writeHead(200, { "Content-Length": 4 }).end(),
  },
  {
    name: "a body for a 204 that has none",
    answer: (_, response) => ((response.statusCode = 204), response.end("body")),
  },
  {
    name: "early hints",
    answer(_, response) {
      response.writeEarlyHints({ link: "</a.css>; rel=preload" })
      response.writeEarlyHints({ link: "</b.css>; rel=preload" })
      response.end("body")
    },
  },
  {
    name: "writeContinue and writeProcessing",
    http1Only: true,
    answer: (_, response) => (response.writeContinue(), response.writeProcessing(), response.end("body")),
  },
]

function waysOf(protocol: Protocol): typeof ways {
  return ways.filter(({ http1Only }) => http1Only !== true || !isHttp2(protocol))
}

describe("the adapter changes nothing but the headers of the session", () => {
  const kinds = {
    "untouched session": () => fakeSessions(() => nothing, false),
    "session saved at once": () => fakeSessions(),
    "session saved slowly": () => fakeSessions(slowly(nothing)),
  }

  test.each(waysOf("http"))("G1: byte for byte, over HTTP/1.1: $name", async ({ method, answer }) => {
    const listeners = [answer, ...Object.values(kinds).map((kind) => listen(kind(), answer))] as Handler[]
    const server = await start("http", (request: IncomingMessage, response: ServerResponse) => {
      void listeners[Number(request.url?.slice(1))]?.(request, response, undefined as never)
    })
    const { port } = server
    const [plain, ...ours] = await Promise.all(
      listeners.map((_, index) => bytesOf(port, `/${index}`, method)),
    )
    expect(plain).toMatch(/^HTTP\/1\.1 /)
    expect(ours).toEqual([plain, plain, plain])
  })

  test.each(waysOf("h2c"))("G1: over HTTP/2: $name", async ({ method, answer }) => {
    const listeners = [answer, ...Object.values(kinds).map((kind) => listen(kind(), answer))] as Handler[]
    const server = await start("h2c", (request: IncomingMessage, response: ServerResponse) => {
      void listeners[Number(request.url?.slice(1))]?.(request, response, undefined as never)
    })
    const [plain, ...ours] = await Promise.all(
      listeners.map((_, index) => server.get(`/${index}`, { method })),
    )
    expect(plain?.status).toBeGreaterThan(199)
    expect(ours).toEqual([plain, plain, plain])
  })
})

describe.each(protocols)("G3 over %s: the session is saved and announced before the head", (protocol) => {
  test.each(waysOf(protocol))("$name", async ({ method, answer }) => {
    let saved = false
    const sessions = fakeSessions(async () => {
      await sleep(3)
      saved = true
      return cookie
    })
    const server = await start(protocol, listen(sessions, answer))
    let savedByThen: boolean | undefined
    const received = await server.get("/", { method, onHead: () => (savedByThen = saved) })
    expect(savedByThen).toBe(true)
    expect(received.headers["set-cookie"]).toContain("id=new; Path=/")
    expect(received.headers["vary"]).toBe("Cookie")
    expect(received.headers["cache-control"]).toBe("no-store")
    expect(sessions.opened.map(({ outcomes }) => outcomes)).toEqual([
      [{ status: received.status, headersLost: false }],
    ])
  })
})
