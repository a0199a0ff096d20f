import { setTimeout as sleep } from "node:timers/promises"
import type { ServerLoadEvent } from "@sveltejs/kit"

export const load = ({ locals }: ServerLoadEvent) => {
  const { session } = locals
  session.set("note", "streamed")
  return {
    late: sleep(300).then(() => {
      try {
        session.set("note", "too late")
        return "not refused"
      } catch (error) {
        return (error as { code: string }).code
      }
    }),
  }
}
