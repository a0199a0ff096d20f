import { told } from "../told.server.ts"

export const loader = (): Response => Response.json(told.splice(0))
