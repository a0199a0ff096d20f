import type { SceneSession } from "../../../scenes.ts"

declare global {
  namespace App {
    interface Locals {
      session: SceneSession
      adminSession: SceneSession
      order: string[]
      firstRun?: { readonly request: Request; readonly state: unknown }
    }
  }
}
