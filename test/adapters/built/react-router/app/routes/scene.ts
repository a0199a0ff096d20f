import type { ActionFunctionArgs } from "react-router"
import { answer } from "../answer.server.ts"
import { getSession } from "../sessions.server.ts"

export function loader(input: ActionFunctionArgs): Promise<Response> {
  return answer(input, getSession(input.context))
}

export function action(input: ActionFunctionArgs): Promise<Response> {
  return loader(input)
}
