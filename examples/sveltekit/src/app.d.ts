import type { SessionOf } from "coatcheck"
import type { sessions } from "./sessions.server.ts"

declare global {
  namespace App {
    interface Locals {
      session: SessionOf<typeof sessions>
    }
  }
}
