import { afterEach, describe, expect, test, vi } from "vitest"
import type { RequestFacts } from "./api.ts"
import type { SessionsOptions } from "./config.ts"
import { KEY } from "./visitor.test-helper.ts"
import { createSessions } from "./sessions.ts"
import { memoryStore } from "./stores/memory.ts"

afterEach(() => vi.unstubAllEnvs())

interface Warning {
  readonly code: string
  readonly message: string
}

/** What is warned of when a visitor gets a cookie. */
async function warnings(
  environment: string | undefined,
  facts: RequestFacts | undefined,
  { visits = 1, writes = true, ...options }: SessionsOptions & { visits?: number; writes?: boolean } = {},
): Promise<Warning[]> {
  vi.stubEnv("NODE_ENV", environment)
  const told: Warning[] = []
  const sessions = createSessions({
    keys: [KEY],
    store: memoryStore(),
    onWarning: (message, code) => told.push({ message, code }),
    ...(options as object),
  })
  for (let visit = 0; visit < visits; visit++) {
    const session = sessions.open(undefined, facts)
    if (writes) session.set("views", 1)
    else await session.get("views")
    await session.finalize()
  }
  return told
}

const PLAIN: RequestFacts = { secure: false, host: "shop.example", httpsSetting: "trustProxy: true" }

describe("a Secure cookie over what seems to be plain http, in production", () => {
  test("is warned of once, and the setting is named that says otherwise", async () => {
    expect(await warnings("production", PLAIN, { visits: 3 })).toEqual([
      {
        code: "COATCHECK_PLAIN_HTTP",
        message:
          "A Secure cookie was sent over what seems to be plain http, where browsers drop it. If a proxy in front speaks https to clients, say so: trustProxy: true. Else serve the site over https.",
      },
    ])
  })

  test("is warned of behind a proxy of which nothing is known, if there is a setting for it", async () => {
    const { secure: _, ...unknown } = PLAIN
    expect(await warnings("production", unknown)).toHaveLength(1)
    expect(await warnings("production", { host: "shop.example" })).toEqual([])
    expect(await warnings("production", undefined)).toEqual([])
  })

  test("is warned of without advice where there is no such setting", async () => {
    const [warning] = await warnings("production", { secure: false, host: "shop.example" })
    expect(warning?.message).toBe(
      "A Secure cookie was sent over what seems to be plain http, where browsers drop it. Serve the site over https.",
    )
  })

  test.each(["development", "test", "staging", undefined])(
    "is not warned of under NODE_ENV %s",
    async (name) => {
      expect(await warnings(name, PLAIN)).toEqual([])
    },
  )

  test("is not warned of when the client speaks https", async () => {
    expect(await warnings("production", { ...PLAIN, secure: true })).toEqual([])
  })

  test("is warned of as well when auto sends one without Secure: what seems local may be a proxy on this machine", async () => {
    for (const host of ["localhost:3000", "127.0.0.1", "[::1]:3000"]) {
      const [warning] = await warnings("production", { ...PLAIN, host }, { cookie: { secure: "auto" } })
      expect(warning?.message).toBe(
        'A cookie without Secure was sent, for the request seems to come from this machine itself over plain http (cookie.secure: "auto"). If a proxy in front speaks https to clients, say so: trustProxy: true. In production cookie.secure is best true.',
      )
    }
    const local = { ...PLAIN, host: "localhost" }
    expect(await warnings("development", local, { cookie: { secure: "auto" } })).toEqual([])
  })

  test("is not warned of when the cookie is not Secure by choice", async () => {
    expect(await warnings("production", PLAIN, { cookie: { secure: false } })).toEqual([])
    expect(await warnings("production", PLAIN, { cookie: { secure: "auto" } })).toHaveLength(1)
    expect(await warnings("production", { ...PLAIN, host: "localhost" })).toHaveLength(1)
  })

  test("is not warned of as long as no cookie is sent", async () => {
    expect(await warnings("production", PLAIN, { writes: false })).toEqual([])
    expect(await warnings("production", { ...PLAIN, readOnly: "for a test" }, { writes: false })).toEqual([])
  })
})

describe("sessions.handle in production", () => {
  async function told(url: string, headers: Record<string, string>, trustProxy?: boolean): Promise<string[]> {
    vi.stubEnv("NODE_ENV", "production")
    const messages: string[] = []
    const sessions = createSessions({
      keys: [KEY],
      store: memoryStore(),
      onWarning: (message) => messages.push(message),
    })
    const app = sessions.handle((_, session) => (session.set("views", 1), new Response()), { trustProxy })
    await app(new Request(url, { headers }))
    return messages
  }

  test("names its own setting, or what the proxy has to send once it is trusted", async () => {
    const advice = /say so: sessions\.handle\(handler, \{ trustProxy: true \}\)\./
    expect(await told("http://shop.example/", {})).toEqual([expect.stringMatching(advice)])
    expect(await told("http://shop.example/", { "X-Forwarded-For": "192.0.2.1" })).toHaveLength(1)
    expect(await told("http://shop.example/", { "X-Forwarded-Proto": "https" })).toHaveLength(1)
    const sent = /say so: let it send X-Forwarded-Proto\./
    expect(await told("http://shop.example/", { Via: "1.1 x" }, true)).toEqual([expect.stringMatching(sent)])
  })

  test("is silent where the client speaks https", async () => {
    expect(await told("https://shop.example/", {})).toEqual([])
    expect(await told("http://shop.example/", { "X-Forwarded-Proto": "https" }, true)).toEqual([])
  })
})
