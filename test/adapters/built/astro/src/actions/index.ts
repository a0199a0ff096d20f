import { type ActionAPIContext, ActionError, defineAction } from "astro:actions"
import { getSession } from "../sessions.ts"

async function note({ locals }: ActionAPIContext, text: string): Promise<string> {
  locals.session.set("note", text)
  return (await locals.session.userId()) ?? "nobody"
}

export const server = {
  noteByForm: defineAction({
    accept: "form",
    handler: (form, context) => note(context, form.get("note") as string),
  }),
  note: defineAction({ handler: (text: string, context) => note(context, text) }),
  refuse: defineAction({
    handler(_: null, context) {
      getSession(context).set("note", "refused")
      throw new ActionError({ code: "UNAUTHORIZED" })
    },
  }),
}
