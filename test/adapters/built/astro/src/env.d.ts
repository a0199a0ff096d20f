import type { SceneSession } from "../../../scenes.ts"

declare global {
  namespace App {
    interface Locals {
      session: SceneSession
      adminSession: SceneSession
      order: string[]
    }
  }
}
