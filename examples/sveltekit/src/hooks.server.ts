import { sequence } from "@sveltejs/kit/hooks"
import { sessionErrors, withSessionErrors } from "coatcheck/sveltekit"
import { handle as sessionHandle } from "./sessions.server.ts"

export const handle = sequence(sessionErrors, sessionHandle)

export const handleError = withSessionErrors(({ error }) => console.error(error))
