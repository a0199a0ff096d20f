import { AsyncLocalStorage } from "node:async_hooks"
import { createSessions, type Sessions } from "coatcheck"
import type { SessionContext } from "coatcheck/context"

/** What the tests of `getSession` serve on every runtime, and what they visit it with. */

export interface State {
  who: string
}

/** Made where a module starts, which on Workers is where neither random numbers nor timers are to be had. */
export const sessions: Sessions<State, object> = createSessions<State, object>({
  keys: ["a key of these tests, long enough to seal"],
  cookie: { secure: "auto" },
})

type Context = Pick<SessionContext<State, object>, "getSession" | "tryGetSession">

export interface App {
  /** What is served with a session. */
  within(request: Request, waitUntil: (work: Promise<void>) => void): Promise<Response>
  /** What is served without one. */
  without(): Response
}

export function createApp({ getSession, tryGetSession }: Context): App {
  const late: string[] = []

  /** What the session says from wherever this is called. */
  const who = async (): Promise<string> => {
    const session = tryGetSession()
    return session === undefined ? "nobody" : ((await session.get("who")) ?? "unnamed")
  }

  async function visit(name: string): Promise<string[]> {
    getSession().set("who", name)
    const seen: string[] = []
    for (let step = 0; step < 5; step++) {
      await sleep(Math.random() * 4)
      seen.push(await who())
      await Promise.all([Promise.resolve(), sleep(1).then(async () => seen.push(await who()))])
    }
    seen.push((await getSession().load()).get("who") ?? "unnamed")
    return seen
  }

  const bodies: Record<string, () => ReadableStream<Uint8Array>> = {
    start: () =>
      new ReadableStream({
        async start(controller) {
          await repeat(async () => controller.enqueue(bytes(await who())))
          controller.close()
        },
      }),
    "a pipe": () => {
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
      const write = async (): Promise<void> => {
        const writer = writable.getWriter()
        await repeat(async () => writer.write(bytes(await who())))
        await writer.close()
      }
      void write()
      return readable
    },
    "a pull with the session in hand": () => {
      const session = getSession()
      return pulled(async () => (await session.get("who")) ?? "unnamed")
    },
    "a bound pull": () => pulled(AsyncLocalStorage.bind(who)),
  }

  return {
    async within(request, waitUntil) {
      const [kind = "", detail = ""] = new URL(request.url).pathname
        .slice(1)
        .split("/")
        .map(decodeURIComponent)
      if (kind === "visit") return Response.json(await visit(detail))
      if (kind === "late") {
        await getSession().load()
        const work = sleep(20).then(async () => {
          late.push(await who())
          try {
            getSession().set("who", "late")
          } catch (error) {
            late.push((error as Error).name)
          }
        })
        waitUntil(work)
        return new Response()
      }
      if (kind === "late-result") return Response.json(late)
      // Loaded before the response begins, for after that it is too late.
      await getSession().load()
      return new Response(bodies[detail]?.())
    },
    without() {
      try {
        getSession()
      } catch (error) {
        return Response.json([tryGetSession() ?? null, (error as Error).name])
      }
      return Response.json([])
    },
  }
}

/** What `visitAll` has seen. */
export interface Findings {
  /** Whether each of many visitors at once saw nothing but themselves. */
  readonly apart: boolean
  readonly visits: number
  readonly streams: Readonly<Record<string, string>>
  readonly late: readonly string[]
  readonly outside: readonly unknown[]
}

export async function visitAll(url: string): Promise<Findings> {
  const text = async (path: string, cookie = ""): Promise<string> =>
    (await fetch(new URL(path, url), { headers: { cookie } })).text()
  const names = Array.from({ length: 12 }, (_, index) => `visitor ${index}`)
  const cookies = await Promise.all(
    names.map(async (name) => {
      const response = await fetch(new URL(`/visit/${name}`, url))
      await response.body?.cancel()
      return response.headers.getSetCookie()[0]?.split(";")[0] ?? ""
    }),
  )
  const visits = [...names, ...names, ...names].map(async (name, index) => {
    const seen = JSON.parse(await text(`/visit/${name}`, cookies[index % names.length])) as string[]
    return seen.length === 11 && seen.every((one) => one === name)
  })
  const outcomes = await Promise.all(visits)

  const streams: Record<string, string> = {}
  for (const kind of Object.keys(EXPECTED.streams)) {
    streams[kind] = await text(`/stream/${kind}`, cookies[0])
  }
  await text("/late", cookies[1])
  let late: string[] = []
  for (let tries = 0; late.length < 2 && tries < 300; tries++) {
    await sleep(10)
    late = JSON.parse(await text("/late-result")) as string[]
  }
  const outside = JSON.parse(await text("/outside")) as unknown[]
  return { apart: outcomes.every(Boolean), visits: outcomes.length, streams, late, outside }
}

/** What every runtime has to give. */
export const EXPECTED: Findings = {
  apart: true,
  visits: 36,
  streams: {
    start: "visitor 0,visitor 0,visitor 0,",
    "a pipe": "visitor 0,visitor 0,visitor 0,",
    "a bound pull": "visitor 0,visitor 0,visitor 0,",
    "a pull with the session in hand": "visitor 0,visitor 0,visitor 0,",
  },
  late: ["visitor 1", "SessionFinalizedError"],
  outside: [null, "SessionError"],
}

function pulled(next: () => Promise<string>): ReadableStream<Uint8Array> {
  let count = 0
  return new ReadableStream(
    {
      async pull(controller) {
        controller.enqueue(bytes(await next()))
        count += 1
        if (count === 3) controller.close()
      },
    },
    { highWaterMark: 0 },
  )
}

async function repeat(task: () => Promise<void>): Promise<void> {
  for (let round = 0; round < 3; round++) {
    await sleep(2)
    await task()
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(`${text},`)
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
