import { type AstroSessions, astroSessions } from "coatcheck/astro"
import { type ClientState, CSRF, stage, type State } from "../../../scenes.ts"

const given = process.env["STREAMING"]
const streaming = given === undefined ? undefined : given === "true"

export const { onRequest, getSession, requireUser, requireFresh }: AstroSessions<State, ClientState> =
  astroSessions(stage.sessions, { csrf: CSRF, streaming })
export const admins: AstroSessions<State, ClientState> = astroSessions(stage.admins, {
  property: "adminSession",
  streaming,
})
