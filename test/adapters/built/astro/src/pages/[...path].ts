import type { APIRoute } from "astro"
import { scenes } from "../answer.ts"
import { getSession } from "../sessions.ts"

export const ALL: APIRoute = scenes(getSession)
