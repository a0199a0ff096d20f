import type { AddressInfo } from "node:net"
import { NestFactory } from "@nestjs/core"
import type { NestExpressApplication } from "@nestjs/platform-express"
import { expressSessions } from "coatcheck/express"
import { AppModule } from "./app.module.ts"
import { sessions } from "./sessions.ts"

const app = await NestFactory.create<NestExpressApplication>(AppModule, { logger: ["warn", "error"] })
app.use(expressSessions(sessions, { csrf: true }).middleware)

// Only this machine can reach it, for the cookie is sent without https.
await app.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1")
console.log(`The shop is at http://localhost:${(app.getHttpServer().address() as AddressInfo).port}`)
