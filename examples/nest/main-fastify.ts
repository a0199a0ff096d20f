import type { AddressInfo } from "node:net"
import { NestFactory } from "@nestjs/core"
import { FastifyAdapter, type NestFastifyApplication } from "@nestjs/platform-fastify"
import { fastifySessions } from "coatcheck/fastify"
import { AppModule } from "./app.module.ts"
import { sessions } from "./sessions.ts"

const adapter = new FastifyAdapter()
// Before `create`, so that middleware of Nest has the session as well.
await adapter.register(fastifySessions(sessions, { csrf: true }).plugin)
const app = await NestFactory.create<NestFastifyApplication>(AppModule, adapter, {
  logger: ["warn", "error"],
})

// Only this machine can reach it, for the cookie is sent without https.
await app.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1")
console.log(`The shop is at http://localhost:${(app.getHttpServer().address() as AddressInfo).port}`)
