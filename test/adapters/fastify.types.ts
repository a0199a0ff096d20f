import { createSessions, type Session, type Sessions } from "coatcheck"
import { fastifySessions, sessionErrors } from "coatcheck/fastify"
import Fastify, { type FastifyInstance, type FastifyTypeProvider } from "fastify"

/** What must compile, and what must not; nobody runs it. */

interface State {
  count: number
}

const sessions: Sessions<State, { theme: string }> = createSessions<State, { theme: string }>({
  keys: ["a secret of 32 bytes or more, of the tests"],
})
const { plugin, getSession, requireUser, requireFresh } = fastifySessions(sessions)

interface OwnProvider extends FastifyTypeProvider {
  validator: { own: true }
}

export async function register(): Promise<void> {
  const app: FastifyInstance = Fastify()
  await app.register(plugin)
  await app.register(plugin, { prefix: "/shop" })
  const http2 = Fastify({ http2: true })
  await http2.register(plugin)
  await Fastify().withTypeProvider<OwnProvider>().register(plugin)

  app.get("/", async (request) => {
    const session: Session<State, { theme: string }> = getSession(request)
    const count: number | undefined = await session.get("count")
    // @ts-expect-error -- there is no such key
    session.set("counts", 1)
    // @ts-expect-error -- it is a number
    session.set("count", "1")
    return count
  })

  interface Route {
    Params: { id: string }
    Body: { name: string }
    Reply: { 200: { name: string } }
  }
  const hooks = {
    onRequest: requireUser(),
    preHandler: [requireUser({ redirectTo: "/" }), requireFresh({ within: "5m" })],
  }
  app.post<Route>("/:id", hooks, async (request) => {
    await getSession(request).load()
    return { name: request.body.name }
  })
  http2.get("/", { preHandler: requireUser() }, async (request) => getSession(request).userId())
  app.addHook("preValidation", requireUser())
  app.setErrorHandler(sessionErrors)
  http2.setErrorHandler(sessionErrors)
  app.setErrorHandler((error, request, reply) => sessionErrors(error, request, reply))

  const logged = Fastify({ loggerInstance: app.log })
  await logged.register(plugin)

  // @ts-expect-error -- how long ago is what it is about
  requireFresh({})
  // @ts-expect-error -- an option that there is not
  fastifySessions(sessions, { trustProxy: true })
}
