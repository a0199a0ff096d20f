import type { ActionFunctionArgs } from "react-router"
import { answer } from "../answer.server.ts"
import { admins } from "../sessions.server.ts"

export function loader(input: ActionFunctionArgs): Promise<Response> {
  return answer(input, input.context.get(admins.sessionContext))
}

export function action(input: ActionFunctionArgs): Promise<Response> {
  return loader(input)
}
