import { readFileSync } from "node:fs"
import * as http from "node:http"
import * as http2 from "node:http2"
import * as https from "node:https"
import { once } from "node:events"
import { connect, type AddressInfo, type Socket } from "node:net"
import type { NodeRequest, NodeServerResponse } from "coatcheck/node"

/** Real servers on loopback and clients that hide nothing, for HTTP/1 and HTTP/2 alike. */

export type Protocol = "http" | "https" | "h2c" | "h2"

export const protocols: readonly Protocol[] = ["http", "https", "h2c", "h2"]

// For loopback only; it ends in a hundred years.
const key = readFileSync(new URL("fixtures/localhost.key.pem", import.meta.url))
const cert = readFileSync(new URL("fixtures/localhost.cert.pem", import.meta.url))

/** What every response of the four protocols can do. */
export interface Running {
  readonly protocol: Protocol
  readonly server: http.Server | http2.Http2Server
  readonly port: number
  /** Requests `path`, and reads the answer to its end. */
  get(path?: string, options?: RequestOptions): Promise<Answer>
  [Symbol.asyncDispose](): Promise<void>
}

export interface RequestOptions {
  readonly method?: string | undefined
  readonly headers?: Record<string, string> | undefined
  readonly body?: string | undefined
  /** How the body is read. Default: as UTF-8. */
  readonly encoding?: BufferEncoding | undefined
  /** Called when the final head has arrived. */
  readonly onHead?: (() => void) | undefined
}

export interface Answer {
  readonly status: number
  readonly statusText: string
  /** Lower-case name to values, `date` left out. */
  readonly headers: Record<string, string | string[] | undefined>
  readonly trailers: Record<string, string | string[] | undefined>
  /** The statuses of the informational responses before the head. */
  readonly before: number[]
  readonly body: string
}

/** Starts a server. The listener of `node:http` is given the same calls under `node:http2`. */
export async function serve(protocol: Protocol, listener: unknown): Promise<Running> {
  const handle = listener as http.RequestListener &
    ((request: NodeRequest, response: NodeServerResponse) => void)
  const server = create(protocol, handle)
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on("session", (session: http2.ServerHttp2Session) => {
    sessions.add(session)
    session.on("close", () => sessions.delete(session))
  })
  return {
    protocol,
    server,
    port,
    get: (path = "/", options = {}) =>
      isHttp2(protocol) ? getHttp2(protocol, port, path, options) : getHttp1(protocol, port, path, options),
    async [Symbol.asyncDispose]() {
      if ("closeAllConnections" in server) server.closeAllConnections()
      for (const session of sessions) session.destroy()
      server.close()
      await once(server, "close")
    },
  }
}

export function isHttp2(protocol: Protocol): boolean {
  return protocol === "h2c" || protocol === "h2"
}

function create(protocol: Protocol, listener: http.RequestListener): http.Server | http2.Http2Server {
  const http2Listener = listener as unknown as (request: unknown, response: unknown) => void
  if (protocol === "http") return http.createServer(listener)
  if (protocol === "https") return https.createServer({ key, cert }, listener)
  if (protocol === "h2c") return http2.createServer(http2Listener)
  return http2.createSecureServer({ key, cert }, http2Listener)
}

async function getHttp1(
  protocol: Protocol,
  port: number,
  path: string,
  options: RequestOptions,
): Promise<Answer> {
  const { method = "GET", headers = {}, body, encoding, onHead } = options
  const client = protocol === "https" ? https : http
  const request = client.request({ host: "127.0.0.1", port, path, method, headers, ca: cert, agent: false })
  const before: number[] = []
  request.on("information", ({ statusCode }) => before.push(statusCode))
  request.on("continue", () => before.push(100))
  request.end(body)
  const [response] = (await once(request, "response")) as [http.IncomingMessage]
  onHead?.()
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  if (!response.complete) throw new Error("The answer was cut off.")
  const { date: _, ...rest } = response.headers
  return {
    status: response.statusCode ?? 0,
    statusText: response.statusMessage ?? "",
    headers: rest,
    trailers: { ...response.trailers },
    before: [...new Set(before)],
    body: Buffer.concat(chunks).toString(encoding),
  }
}

async function getHttp2(
  protocol: Protocol,
  port: number,
  path: string,
  options: RequestOptions,
): Promise<Answer> {
  const { method = "GET", headers = {}, body, encoding, onHead } = options
  const session = openHttp2(protocol, port)
  try {
    const stream = session.request(
      { ":method": method, ":path": path, ...headers },
      { endStream: body === undefined },
    )
    const before: number[] = []
    const trailers: Answer["trailers"] = {}
    stream.on("headers", (informational) => before.push(Number(informational[":status"])))
    stream.on("trailers", (sent) => Object.assign(trailers, sent))
    if (body !== undefined) stream.end(body)
    const [head] = (await once(stream, "response")) as [
      http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader,
    ]
    onHead?.()
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk as Buffer)
    if (stream.rstCode !== 0) throw new Error("The answer was cut off.")
    const { date: _, ":status": status, ...rest } = head
    return {
      status: Number(status),
      statusText: "",
      headers: { ...rest },
      trailers,
      before,
      body: Buffer.concat(chunks).toString(encoding),
    }
  } finally {
    session.destroy()
  }
}

export function openHttp2(protocol: Protocol, port: number): http2.ClientHttp2Session {
  const scheme = protocol === "h2" ? "https" : "http"
  return http2.connect(`${scheme}://127.0.0.1:${port}`, { ca: cert })
}

/** A connection whose every byte is seen, with the time since it was opened. */
export interface RawConnection {
  readonly socket: Socket
  readonly pieces: { readonly at: number; readonly text: string }[]
  text(): string
  /** Resolves when what has arrived matches. */
  until(pattern: RegExp): Promise<void>
  closed(): Promise<unknown>
}

/** Sends `text` over a fresh TCP connection. */
export function sendRaw(port: number, text: string): RawConnection {
  const socket = connect(port, "127.0.0.1")
  const began = performance.now()
  const pieces: { at: number; text: string }[] = []
  const read = (): string => pieces.map((piece) => piece.text).join("")
  const closing = once(socket, "close")
  socket.setNoDelay(true)
  socket.on("data", (chunk) => pieces.push({ at: performance.now() - began, text: chunk.toString("latin1") }))
  socket.on("error", () => undefined)
  socket.write(text)
  return {
    socket,
    pieces,
    text: read,
    async until(pattern) {
      while (!pattern.test(read())) {
        if (socket.closed) throw new Error(`The connection was closed after ${JSON.stringify(read())}.`)
        await Promise.race([once(socket, "data"), closing])
      }
    },
    closed: () => closing,
  }
}

/** Everything a plain HTTP/1.1 server sends for a request before it closes the connection, the `Date` left out. */
export async function bytesOf(port: number, path: string, method = "GET"): Promise<string> {
  const connection = sendRaw(
    port,
    `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
  )
  await connection.closed()
  return connection.text().replace(/^Date: .*\r\n/m, "")
}
