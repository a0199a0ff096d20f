import { type ArgumentsHost, type CallHandler, type ExecutionContext, HttpException } from "@nestjs/common"
import { HttpAdapterHost } from "@nestjs/core"
import { CsrfError, StoreError } from "coatcheck"
import { tap } from "rxjs"
import { expect, test } from "vitest"
import { startNest } from "./apps/nest.ts"
import { describeAdapter } from "./describe.ts"
import { createStage, type SceneSession } from "./scenes.ts"
import { Visitor } from "./visitor.ts"

const platforms = ["Express", "Fastify"] as const

for (const platform of platforms) {
  describeAdapter(`Nest on ${platform}`, () => startNest(createStage(), platform))
}

test.each(platforms)(
  "@Session() of Nest is the session, and middleware of Nest has it, on %s",
  async (platform) => {
    const app = await startNest(createStage(), platform)
    try {
      const response = await fetch(`${app.url}/property`)
      expect(await response.json()).toEqual({ isNew: true, inMiddleware: "true" })
    } finally {
      await app.close()
    }
  },
)

test.each(platforms)("what sessions fail with, as Nest itself answers it, on %s", async (platform) => {
  const app = await startNest(createStage(), platform, () => undefined)
  try {
    const visitor = new Visitor(app.url)
    expect((await visitor.get("/user")).status).toBe(401)
    const crossSite = { headers: { "Sec-Fetch-Site": "cross-site" } }
    expect((await visitor.post("/change", crossSite)).status).toBe(403)
    await visitor.control("fail=create")
    expect((await visitor.get("/count")).status).toBe(500)
    expect((await visitor.get("/count")).text).toBe("1")
  } finally {
    await app.close()
  }
})

test.each(platforms)("a filter sees what was refused, or could not be saved, on %s", async (platform) => {
  const caught: unknown[] = []
  const app = await startNest(createStage(), platform, (nest) => {
    const { httpAdapter } = nest.get(HttpAdapterHost)
    nest.useGlobalFilters({
      catch(error: unknown, context: ArgumentsHost) {
        caught.push(error)
        httpAdapter.reply(context.switchToHttp().getResponse(), "the filter's", 418)
      },
    })
  })
  try {
    const visitor = new Visitor(app.url)
    await visitor.post("/change", { headers: { "Sec-Fetch-Site": "cross-site" } })
    await visitor.control("fail=create")
    const { status, text } = await visitor.get("/count")
    expect([status, text]).toEqual([418, "the filter's"])
    const [refused, unsaved] = caught
    expect(refused).toBeInstanceOf(HttpException)
    expect((refused as HttpException).cause).toBeInstanceOf(CsrfError)
    expect(unsaved).toBeInstanceOf(StoreError)
  } finally {
    await app.close()
  }
})

test.each(platforms)(
  "an interceptor may change the session when the handler is done, on %s",
  async (platform) => {
    const stage = createStage()
    const app = await startNest(stage, platform, (nest) => {
      nest.useGlobalInterceptors({
        intercept(context: ExecutionContext, next: CallHandler) {
          const request = context.switchToHttp().getRequest<{ url: string; session: SceneSession }>()
          return next.handle().pipe(
            tap(() => {
              if (request.url === "/property") request.session.set("note", "by an interceptor")
            }),
          )
        },
      })
    })
    try {
      const visitor = new Visitor(app.url)
      await visitor.get("/property")
      expect(await visitor.read()).toMatchObject({ note: "by an interceptor" })
    } finally {
      await app.close()
    }
  },
)

test.each(platforms)(
  "G11: a stream whose session cannot be saved is answered with 503 before it begins, on %s",
  async (platform) => {
    const app = await startNest(createStage(), platform)
    try {
      const visitor = new Visitor(app.url)
      for (const path of ["/download", "/events"]) {
        await visitor.control("fail=create")
        const { status, headers } = await visitor.get(path)
        expect([status, headers.get("retry-after"), headers.getSetCookie()]).toEqual([503, "5", []])
      }
    } finally {
      await app.close()
    }
  },
)
