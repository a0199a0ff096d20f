import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { DatabaseSync } from "node:sqlite"
import { createSessions, SessionEndedError, type Sessions, type SessionStore } from "coatcheck"
import { errorResponse, withSession, type ErrorResponse } from "coatcheck/node"
import { sqliteStore } from "coatcheck/sqlite"
import { accountRoutes, currentUser } from "./account.ts"
import { HttpError, isCrossOrigin, readForm } from "./http.ts"
import type { ClientState, Handler, Reply, Routes, ShopSession, State } from "./http.ts"
import { documentOf, style, type Frame } from "./layout.ts"
import { failurePage } from "./pages.ts"
import { shopRoutes } from "./shop.ts"
import { storedRoutes } from "./stored.ts"
import { themeRoutes } from "./theme.ts"
import { createUsers, type PasswordCost, type Users } from "./users.ts"

export interface DemoOptions {
  /** The path of the database, which is made unless it is there. */
  readonly database: string
  /** Seals the cookies: at least 32 bytes. */
  readonly key: string
  /** Further routes, for tests. */
  readonly routes?: Routes | undefined
  /** Puts something between the sessions and their store, for tests. */
  readonly wrapStore?: ((store: SessionStore) => SessionStore) | undefined
  /** Cheaper password hashes, for tests. */
  readonly passwordCost?: PasswordCost | undefined
  /** Told why a request failed. Default: printed. */
  readonly onError?: ((error: unknown) => void) | undefined
}

export interface Demo {
  /** Not listening yet. */
  readonly server: Server
  readonly sessions: Sessions<State, ClientState>
  close(): void
}

/** The whole application: a database, its sessions, and a server for both. */
export async function createDemo(options: DemoOptions): Promise<Demo> {
  const database = new DatabaseSync(options.database)
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 1000")
  const store = sqliteStore(database)
  await store.migrate()

  const sessions = createSessions<State, ClientState>({
    store: options.wrapStore?.(store) ?? store,
    keys: [options.key],
    // Not every browser keeps a Secure, prefixed cookie over plain http on localhost. Everywhere else it is both.
    cookie: { secure: "auto" },
  })
  const stopSweeper = sessions.startSweeper({ every: "10m" })

  const users = createUsers(database, options.passwordCost)
  const routes: Routes = {
    ...shopRoutes,
    ...accountRoutes(users, sessions),
    ...storedRoutes(database),
    ...themeRoutes,
    ...options.routes,
  }

  const onError = (error: unknown): ErrorResponse => {
    ;(options.onError ?? console.error)(error)
    // Status and headers as the library would send them, with a page for people.
    const { status, headers } = errorResponse(error)
    return { status, headers: { ...headers, ...PAGE_HEADERS }, body: documentOf(failurePage(status)) }
  }
  const server = createServer(
    withSession(sessions, (request, response, session) => serve(routes, users, request, response, session), {
      onError,
    }),
  )

  return {
    server,
    sessions,
    close() {
      stopSweeper()
      server.close()
      server.closeAllConnections()
      if (database.isOpen) database.close()
    },
  }
}

const PAGE_HEADERS = {
  "Content-Type": "text/html; charset=utf-8",
  "Content-Security-Policy":
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "Referrer-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
}

async function serve(
  routes: Routes,
  users: Users,
  request: IncomingMessage,
  response: ServerResponse,
  session: ShopSession,
): Promise<void> {
  const path = request.url?.split("?", 1)[0] ?? "/"
  if (path === style.path) {
    // The session is not touched, so this costs no load and sets no cookie.
    response.writeHead(200, {
      "Content-Type": "text/css",
      "Cache-Control": "public, max-age=31536000, immutable",
    })
    response.end(style.text)
    return
  }
  const reply = await replyTo(routes, path, request, session)
  if ("redirect" in reply) {
    // By the time the browser reads this line, what the handler changed is in the store.
    response.writeHead(303, { Location: reply.redirect }).end()
    return
  }
  const page = documentOf(reply, reply.bare === true ? themeOf(session) : await frameOf(users, session))
  response.writeHead(reply.status ?? 200, PAGE_HEADERS).end(page)
}

async function replyTo(
  routes: Routes,
  path: string,
  request: IncomingMessage,
  session: ShopSession,
): Promise<Reply> {
  try {
    const handler = handlerOf(routes, path, request.method)
    if (isCrossOrigin(request)) throw new HttpError(403, "Another site sent your browser here.")
    return await handler({ request, session, form: await readForm(request) })
  } catch (error) {
    if (error instanceof HttpError) return failurePage(error.status, error.message)
    if (error instanceof SessionEndedError) return failurePage(409, ENDED)
    throw error
  }
}

function handlerOf(routes: Routes, path: string, method = "GET"): Handler {
  const name = `${method === "HEAD" ? "GET" : method} ${path}`
  const handler = Object.hasOwn(routes, name) ? routes[name] : undefined
  if (handler === undefined) throw new HttpError(404, "Nothing hangs on this peg.")
  return handler
}

// A browser that was signed out from another one still holds its old cookie, and finds out on its next visit.
const ENDED = "This browser was signed out from another one. Sign in to go on."

/** What the frame of a page shows of its visitor. The store is asked once, however many reads there are. */
async function frameOf(users: Users, session: ShopSession): Promise<Frame> {
  const cart = (await session.get("cart")) ?? {}
  return {
    ...themeOf(session),
    userName: (await currentUser(users, session))?.name ?? null,
    items: Object.values(cart).reduce((sum, quantity) => sum + quantity, 0),
    // `take` reads and removes: a notice is shown once, also if the next page is reloaded.
    notice: session.isInvalidated ? ENDED : await session.take("notice"),
  }
}

function themeOf(session: ShopSession): Frame {
  return { theme: session.client.get("theme") }
}
