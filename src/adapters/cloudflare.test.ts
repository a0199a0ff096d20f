import { expect, test } from "vitest"
import type { Sessions } from "../api.ts"
import { ConfigError, SessionError } from "../errors.ts"
import { createSessions } from "../sessions.ts"
import { workerSessions, type WorkerSessions } from "./cloudflare.ts"

// What workerd itself has to say is in `test/runtimes`.

interface State {
  who: string
}

interface Env {
  readonly SESSION_KEY: string | undefined
}

const KEY = "a key for tests, long enough: 32 bytes"
const ctx = { waitUntil: () => undefined, passThroughOnException: () => undefined }

function made(): WorkerSessions<Env, State, object> & { readonly count: () => number } {
  let count = 0
  const worker = workerSessions((env: Env) => {
    count += 1
    return createSessions<State, object>({ keys: [env.SESSION_KEY ?? ""] })
  })
  return { ...worker, count: () => count }
}

function request(cookie = ""): Request {
  return new Request("https://shop.example/", { headers: { cookie } })
}

test("a fetch is called with what the runtime gives, and has its session", async () => {
  const worker = made()
  const env = { SESSION_KEY: KEY }
  const asked = request()
  const seen: unknown[] = []
  const fetch = worker.handle(async (...given) => {
    seen.push(...given)
    worker.getSession().set("who", "Ada")
    return Response.json([await worker.getSession().get("who"), given.length])
  })
  const response = await fetch(asked, env, ctx)
  expect(await response.json()).toEqual(["Ada", 3])
  expect(seen[0]).toBe(asked)
  expect(seen[1]).toBe(env)
  expect(seen[2]).toBe(ctx)
  const cookie = response.headers.getSetCookie()[0]?.split(";")[0]
  const again = worker.handle(async () => new Response(await worker.getSession().get("who")))
  expect(await (await again(request(cookie), env, ctx)).text()).toBe("Ada")
})

test("the sessions of an env are made when they are first needed, and once", async () => {
  const worker = made()
  const [one, other] = [{ SESSION_KEY: KEY }, { SESSION_KEY: `${KEY} too` }]
  const fetch = worker.handle(() => new Response())
  expect(worker.count()).toBe(0)
  for (const env of [one, other, one, other]) await fetch(request(), env, ctx)
  expect(worker.count()).toBe(2)
  expect(worker.sessionsOf(one)).toBe(worker.sessionsOf(one))
  expect(worker.sessionsOf(one)).not.toBe(worker.sessionsOf(other))
  expect(worker.count()).toBe(2)
})

test("one getSession serves every env, each request by its own", async () => {
  const worker = made()
  const [one, other] = [{ SESSION_KEY: KEY }, { SESSION_KEY: `${KEY} too` }]
  const fetch = worker.handle(async (_request, env) => {
    worker.getSession().set("who", String(env.SESSION_KEY))
    await Promise.resolve()
    return new Response(await worker.getSession().get("who"))
  })
  const responses = await Promise.all([one, other, one].map((env) => fetch(request(), env, ctx)))
  const texts = await Promise.all(responses.map((response) => response.text()))
  expect(texts).toEqual([KEY, `${KEY} too`, KEY])
  expect(worker.tryGetSession()).toBe(undefined)
  expect(() => worker.getSession()).toThrow(SessionError)
})

test("sessions that are there already are taken whatever the env", async () => {
  const sessions: Sessions<State, object> = createSessions<State, object>({ keys: [KEY] })
  const worker = workerSessions(sessions)
  expect(worker.sessionsOf(undefined)).toBe(sessions)
  const fetch = worker.handle(() => {
    worker.getSession().set("who", "Ada")
    return new Response()
  })
  expect((await fetch(request(), undefined, ctx)).headers.getSetCookie()).toHaveLength(1)
})

test("a wrong binding is told at each request, until it is right", async () => {
  const worker = made()
  const fetch = worker.handle(() => new Response())
  const env = { SESSION_KEY: undefined as string | undefined }
  await expect(fetch(request(), env, ctx)).rejects.toThrow(ConfigError)
  await expect(fetch(request(), env, ctx)).rejects.toThrow(ConfigError)
  env.SESSION_KEY = KEY
  expect((await fetch(request(), env, ctx)).status).toBe(200)
})

test("an env that was not handed on is missed by name, and so is a fetch that is none", async () => {
  const worker = made()
  const fetch = worker.handle(() => new Response())
  await expect(fetch(request(), undefined as never, ctx)).rejects.toThrow(/\(request, env, ctx\)/)
  expect(() => worker.sessionsOf(null as never)).toThrow(TypeError)
  expect(() => worker.handle({ fetch } as never)).toThrow(TypeError)
})
