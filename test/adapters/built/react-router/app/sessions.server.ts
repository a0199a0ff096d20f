import { reactRouterSessions } from "coatcheck/react-router"
import { CSRF, stage } from "../../../scenes.ts"

export const { middleware, sessionContext, getSession, requireUser, requireFresh } = reactRouterSessions(
  stage.sessions,
  { csrf: CSRF, trustProxy: process.env["TRUST_PROXY"] === "yes" },
)

export const admins = reactRouterSessions(stage.admins)
