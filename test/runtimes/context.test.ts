import { execFile } from "node:child_process"
import { once } from "node:events"
import { request } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { requireProgram } from "../support/programs.ts"
import { bundleWorker, startWorker } from "../support/workers.ts"
import { EXPECTED, visitAll } from "./context-app.ts"

const script = fileURLToPath(new URL("context.ts", import.meta.url))
const worker = fileURLToPath(new URL("context-worker.ts", import.meta.url))
const root = fileURLToPath(new URL("../../", import.meta.url))

const runtimes: Record<string, readonly string[]> = {
  bun: ["run"],
  deno: ["run", "--allow-all", "--no-lock", "--quiet"],
}

/** The package must have been built. */
for (const [runtime, input] of Object.entries(runtimes)) {
  const program = requireProgram(runtime, [`${root}node_modules/.bin/${runtime}`])
  test.skipIf(program === undefined)(
    `getSession gives each request its own session, throughout the request, on ${runtime}`,
    async () => {
      const { stdout } = await promisify(execFile)(program as string, [...input, script], {
        cwd: root,
        timeout: 100_000,
      })
      expect(JSON.parse(stdout)).toEqual(EXPECTED)
    },
  )
}

describe("on workerd", () => {
  let code: string

  beforeAll(async () => {
    code = await bundleWorker(worker)
  })

  /** @returns its URL. */
  async function start(...compatibilityFlags: string[]): Promise<string> {
    const running = await startWorker({
      code,
      compatibilityDate: "2026-07-01",
      compatibilityFlags,
      bindings: { SESSION_KEY: "a key of these tests, long enough to seal" },
    })
    onTestFinished(() => running[Symbol.asyncDispose]())
    return running.url
  }

  test.each(["nodejs_als", "nodejs_compat"])(
    "getSession gives each request its own session, throughout the request, under %s",
    async (flag) => {
      expect(await visitAll(await start(flag))).toEqual(EXPECTED)
    },
  )

  test("the bundle has no Node.js module but the one for the context", () => {
    const modules = [...code.matchAll(/from "(node:[^"]+)"/g)].map(([, name]) => name)
    expect(modules).toEqual(["node:async_hooks"])
  })

  test("sessions are made once from the bindings of an isolate, and can be made where a module starts", async () => {
    const url = await start("nodejs_als")
    for (let visit = 0; visit < 3; visit++) await fetch(new URL("/count", url))
    const response = await fetch(new URL("/made", url))
    expect(await response.json()).toEqual({ made: 1, isOne: true, opened: true })
  })

  test("G4: concurrent transactions of one session add up", async () => {
    const url = new URL("/count", await start("nodejs_als"))
    const headers = { cookie: await cookieOf(url) }
    const counts = Array.from({ length: 20 }, async () =>
      Number(await (await fetch(url, { headers })).text()),
    )
    const sorted = (await Promise.all(counts)).toSorted((a, b) => a - b)
    expect(sorted).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
  })

  test("a client that hangs up amid a transaction does not stop those that come after", async () => {
    const url = new URL("/count", await start("nodejs_als"))
    const cookie = await cookieOf(url)
    const slow = request(`${url.href}?slowness=900`, { headers: { cookie } }).end()
    slow.on("error", () => undefined)
    await once(slow, "socket")
    await sleep(300)
    // What ends in due form is answered all the same; workerd stops the request of a client that is gone.
    slow.socket?.resetAndDestroy()
    const after = await fetch(url, { headers: { cookie }, signal: AbortSignal.timeout(20_000) })
    expect(await after.text()).toBe("1")
  })
})

async function cookieOf(url: URL): Promise<string> {
  const response = await fetch(url)
  await response.body?.cancel()
  return response.headers.getSetCookie()[0]?.split(";")[0] ?? ""
}
