import { stage } from "../scenes.ts"
import { honoApp } from "./hono.ts"

const app: object = honoApp(stage)

export default app
