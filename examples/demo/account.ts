import type { Sessions } from "coatcheck"
import {
  deviceName,
  type ClientState,
  type Handler,
  type Reply,
  type Routes,
  type State,
  type Visit,
} from "./http.ts"
import { accountPage, credentialsPage } from "./pages.ts"
import type { User, Users } from "./users.ts"

const NAME = /^[^\p{C}]{2,40}$/u
const SHORTEST_PASSWORD = 8
const LONGEST_PASSWORD = 200

/** Signing up, in and out, and what a user decides about their devices. */
export function accountRoutes(users: Users, sessions: Sessions<State, ClientState>): Routes {
  /** A handler for users; others are sent to sign in. */
  function forUsers(handler: (visit: Visit, user: User) => Reply | Promise<Reply>): Handler {
    return async (visit) => {
      const user = await currentUser(users, visit.session)
      return user === undefined ? { redirect: "/sign-in" } : handler(visit, user)
    }
  }

  async function account(session: Visit["session"], user: User, problem?: string): Promise<Reply> {
    return accountPage({ devices: await sessions.listByUser(user.id), currentId: session.id, problem })
  }

  return {
    "GET /sign-up": () => credentialsPage("sign-up"),

    "POST /sign-up": async (visit) => {
      const name = visit.form.get("name")?.trim() ?? ""
      const password = visit.form.get("password") ?? ""
      const problem = NAME.test(name) ? problemOf(password) : "Please choose a name of 2 to 40 characters."
      if (problem !== undefined) return credentialsPage("sign-up", { name, problem })
      const user = await users.create(name, password)
      if (user === undefined) return credentialsPage("sign-up", { name, problem: "That name is taken." })
      return signIn(visit, user, `Welcome, ${user.name}.`)
    },

    "GET /sign-in": () => credentialsPage("sign-in"),

    // A shop on the internet also limits how many passwords may be tried, per name and per address.
    "POST /sign-in": async (visit) => {
      const name = visit.form.get("name")?.trim() ?? ""
      const user = await users.verify(name, (visit.form.get("password") ?? "").slice(0, LONGEST_PASSWORD))
      if (user === undefined)
        return credentialsPage("sign-in", { name, problem: "Name and password do not match." })
      return signIn(visit, user, `Welcome back, ${user.name}.`)
    },

    "POST /sign-out": ({ session }) => {
      signOut(session, "You are signed out.")
      return { redirect: "/" }
    },

    "GET /account": forUsers(({ session }, user) => account(session, user)),

    "POST /account/sign-out-there": forUsers(async ({ session, form }, user) => {
      const id = form.get("id") ?? ""
      // `revoke` ends any session: whether it is this user's is for the application to check.
      const devices = await sessions.listByUser(user.id)
      const revoked = devices.some((device) => device.id === id) && (await sessions.revoke(id))
      session.set("notice", revoked ? "That device is signed out." : "That device was signed out already.")
      return { redirect: "/account" }
    }),

    "POST /account/sign-out-others": forUsers(async ({ session }) => {
      const count = await session.revokeOthers()
      session.set("notice", `Signed out on ${devicesOf(count)}.`)
      return { redirect: "/account" }
    }),

    "POST /account/sign-out-everywhere": forUsers(async ({ session }) => {
      await session.revokeOthers()
      signOut(session, "You are signed out everywhere.")
      return { redirect: "/" }
    }),

    // Where a reload leads after a refused password.
    "GET /account/password": () => ({ redirect: "/account" }),

    "POST /account/password": forUsers(async ({ session, form }, user) => {
      const password = form.get("new-password") ?? ""
      const verified = await users.verify(user.name, form.get("password") ?? "")
      const problem = verified === undefined ? "That is not your current password." : problemOf(password)
      if (problem !== undefined) return account(session, user, problem)
      await users.changePassword(user.id, password)
      // Whoever knew the old password, or holds a copy of this browser's cookie, is out.
      session.cycleId()
      const count = await session.revokeOthers()
      session.set("notice", `Your password is changed. Signed out on ${devicesOf(count)}.`)
      return { redirect: "/account" }
    }),
  }
}

/** The signed-in user. */
export async function currentUser(users: Users, session: Visit["session"]): Promise<User | undefined> {
  const id = await session.userId()
  return id === null ? undefined : users.find(Number(id))
}

function signIn({ request, session, form }: Visit, user: User, notice: string): Reply {
  session.signIn(user.id, { label: deviceName(request.headers["user-agent"]) })
  session.setExpiry(form.has("remember") ? { idle: "14d" } : "browser-session")
  session.set("notice", notice)
  return { redirect: "/" }
}

function signOut(session: Visit["session"], notice: string): void {
  const theme = session.client.get("theme")
  // Forgets everything, which is right for a cart, and a pity for a colour.
  session.signOut()
  session.setExpiry(null)
  if (theme !== undefined) session.client.set("theme", theme)
  session.set("notice", notice)
}

function problemOf(password: string): string | undefined {
  if (password.length >= SHORTEST_PASSWORD && password.length <= LONGEST_PASSWORD) return undefined
  return `Please choose a password of ${SHORTEST_PASSWORD} to ${LONGEST_PASSWORD} characters.`
}

function devicesOf(count: number): string {
  return count === 1 ? "1 other device" : `${count} other devices`
}
