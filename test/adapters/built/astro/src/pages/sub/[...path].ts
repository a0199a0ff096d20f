import type { APIRoute } from "astro"
import { scenes } from "../../answer.ts"

/** By `locals`, whose type `env.d.ts` declares. */
export const ALL: APIRoute = scenes(({ locals }) => locals.session)
