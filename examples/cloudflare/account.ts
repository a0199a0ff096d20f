import type { SessionSummary } from "coatcheck"
import { type Env, getSession, sessionsOf } from "./sessions.ts"

/** Your application checks a password, or asks an identity provider. This one believes everybody. */
export function signIn(name: string, userAgent: string | null): void {
  const session = getSession()
  session.signIn(name, { label: deviceName(userAgent ?? "") })
  session.set("notice", `Welcome, ${name}.`)
}

export function signOut(): void {
  getSession().signOut()
  getSession().set("notice", "You are signed out.")
}

export async function signOutEverywhere(): Promise<void> {
  const session = getSession()
  await session.revokeOthers()
  session.signOut()
  session.set("notice", "You are signed out everywhere.")
}

export async function devices(env: Env): Promise<SessionSummary[]> {
  const user = await getSession().userId()
  return user === null ? [] : sessionsOf(env).listByUser(user)
}

export async function signOutDevice(env: Env, id: string): Promise<void> {
  // `revoke` ends any session: whether it is this user's is for the application to check.
  const isOwn = (await devices(env)).some((device) => device.id === id)
  const isRevoked = isOwn && (await sessionsOf(env).revoke(id))
  getSession().set("notice", isRevoked ? "That device is signed out." : "That device was signed out already.")
}

function deviceName(userAgent: string): string {
  const browser = /\b(?:Edg|Firefox|Chrome|Safari)\b/.exec(userAgent)?.[0].replace("Edg", "Edge")
  const system = /\b(?:iPhone|Android|Windows|Mac OS X|Linux)\b/.exec(userAgent)?.[0]
  return `${browser ?? "A browser"} on ${system ?? "an unknown system"}`
}
