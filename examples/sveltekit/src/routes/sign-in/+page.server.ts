import { type Actions, fail, redirect } from "@sveltejs/kit"

export const actions: Actions = {
  // Your application checks a password, or asks an identity provider. This one believes everybody.
  default: async ({ request, locals }) => {
    const name = (await request.formData()).get("name")
    if (typeof name !== "string" || name === "") return fail(400, { problem: "Please give a name." })
    locals.session.signIn(name, { label: request.headers.get("user-agent") ?? undefined })
    locals.session.set("notice", `Welcome, ${name}.`)
    redirect(303, "/account?notice")
  },
}
