import type { SessionOf } from "coatcheck"
import type { sessions } from "./sessions"

declare global {
  namespace App {
    interface Locals {
      session: SessionOf<typeof sessions>
    }
  }
}
