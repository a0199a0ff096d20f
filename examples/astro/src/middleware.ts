import { sequence } from "astro:middleware"
import { sessionErrors } from "coatcheck/astro"
import { onRequest as session } from "./sessions"

export const onRequest = sequence(sessionErrors, session)
