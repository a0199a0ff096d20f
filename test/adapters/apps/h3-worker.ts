import { stage } from "../scenes.ts"
import { h3App } from "./h3.ts"

const { fetch } = h3App(stage)

export default { fetch: (request: Request): Response | Promise<Response> => fetch(request) }
