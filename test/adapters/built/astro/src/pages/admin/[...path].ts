import type { APIRoute } from "astro"
import { scenes } from "../../answer.ts"
import { admins } from "../../sessions.ts"

export const ALL: APIRoute = scenes(admins.getSession)
