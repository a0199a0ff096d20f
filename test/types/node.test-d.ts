import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import {
  createSecureServer,
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2"
import { createServer as createHttpsServer } from "node:https"
import type { Session, Sessions } from "coatcheck"
import { attachSession, getSession, withSession } from "coatcheck/node"
import { expectType, type Same } from "./expect-type.ts"

interface State {
  cart: string[]
}

interface ClientState {
  theme: "light" | "dark"
}

declare const sessions: Sessions<State, ClientState>

// A handler knows its session, and the request and response of the server it is given to.

createServer(
  withSession(sessions, async (request, response, session) => {
    expectType<Same<typeof session, Session<State, ClientState>>>()
    expectType<Same<typeof request, IncomingMessage>>()
    response.writeHead(200, { Allow: "GET" }).end(await session.userId())
  }),
)

createServer(
  { keepAlive: true },
  withSession(sessions, (request, response: ServerResponse) => response.end(request.url), {
    onError: (error, request, response) => void [error, request.socket, response.writeProcessing],
  }),
)

createHttpsServer(
  {},
  withSession(sessions, (_, response, session) => response.end(session.client.get("theme"))),
)

createHttp2Server(
  withSession(sessions, (request, response) => {
    expectType<Same<typeof request, Http2ServerRequest>>()
    response.stream.close()
  }),
)

// With options TypeScript cannot tell which request a server of HTTP/2 hands over, so the handler says it, or `on` is used.

createSecureServer(
  {},
  withSession(sessions, (request: Http2ServerRequest, response: Http2ServerResponse, session) => {
    expectType<Same<typeof session, Session<State, ClientState>>>()
    response.end(request.authority)
  }),
)

createSecureServer({}).on(
  "request",
  withSession(sessions, (request, response) => response.end(request.authority)),
)

// The same listener serves several events.

const listener = withSession(sessions, (_, response) => response.end())
createServer(listener).on("checkContinue", listener)

createServer((request, response) => {
  const session = attachSession(sessions, request, response)
  session.set("cart", [])
  // @ts-expect-error -- there is no such key
  session.set("kart", [])
  expectType<Same<typeof session, Session<State, ClientState>>>()
  const found = getSession(sessions, request)
  expectType<Same<typeof found, Session<State, ClientState>>>()
})

createHttp2Server((request, response) => {
  attachSession(sessions, request, response, { onError: (_, __, failed) => failed.stream.close() })
})
