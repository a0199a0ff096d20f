import { Body, Controller, Get, Header, Headers, Post, Query, Redirect, Res, UseGuards } from "@nestjs/common"
import { accountPage, passwordPage, signInPage } from "../shop/pages.ts"
import { CurrentSession } from "./session.decorator.ts"
import { FreshSignInGuard, SignedInGuard } from "./session.guards.ts"
import { sessions, type ShopSession } from "./sessions.ts"
import { UsersService } from "./users.service.ts"

const HTML = ["Content-Type", "text/html; charset=utf-8"] as const

/** What is used of the responses of Express and of Fastify. */
interface Reply {
  status(code: number): unknown
  redirect(url: string): unknown
  type(mediaType: string): unknown
  send(body: string): unknown
}

@Controller()
export class AccountController {
  private readonly users: UsersService

  constructor(users: UsersService) {
    this.users = users
  }

  @Get("sign-in")
  @Header(...HTML)
  form(@Query() query: Record<string, string>): string {
    const message = "again" in query ? "Please give your password again." : "A new name gets an account."
    return signInPage(
      "ended" in query ? "This browser was signed out from another one. Sign in to go on." : message,
    )
  }

  @Post("sign-in")
  async signIn(
    @CurrentSession() session: ShopSession,
    @Body("name") name: unknown,
    @Body("password") password: unknown,
    @Headers("user-agent") label: string | undefined,
    @Res() reply: Reply,
  ): Promise<void> {
    const user = textOf(name)
    if (user === "" || !(await this.users.checkPassword(user, textOf(password)))) {
      reply.status(422)
      reply.type("text/html; charset=utf-8")
      reply.send(signInPage("Name and password do not fit."))
      return
    }
    // A new ticket. The anonymous cart stays.
    session.signIn(user, { label })
    session.set("notice", `Welcome, ${user}.`)
    reply.status(303)
    reply.redirect("/account")
  }

  @Post("sign-out")
  @Redirect("/", 303)
  signOut(@CurrentSession() session: ShopSession): void {
    session.signOut()
    session.set("notice", "You are signed out.")
  }

  @Post("sign-out-everywhere")
  @UseGuards(SignedInGuard)
  @Redirect("/", 303)
  async signOutEverywhere(@CurrentSession() session: ShopSession): Promise<void> {
    await session.revokeOthers()
    session.signOut()
    session.set("notice", "You are signed out everywhere.")
  }

  @Get("account")
  @UseGuards(SignedInGuard)
  @Header(...HTML)
  async account(@CurrentSession() session: ShopSession): Promise<string> {
    const user = (await session.userId()) ?? ""
    const devices = await sessions.listByUser(user)
    return accountPage(user, devices.length, await session.take("notice"))
  }

  @Get("password")
  @UseGuards(FreshSignInGuard)
  @Header(...HTML)
  passwordForm(): string {
    return passwordPage()
  }

  @Post("password")
  @UseGuards(FreshSignInGuard)
  @Redirect("/account", 303)
  async changePassword(
    @CurrentSession() session: ShopSession,
    @Body("password") password: unknown,
  ): Promise<void> {
    await this.users.changePassword((await session.userId()) ?? "", textOf(password))
    await session.revokeOthers()
    session.cycleId()
    session.set("notice", "The password is changed, and other devices are signed out.")
  }
}

function textOf(field: unknown): string {
  return typeof field === "string" ? field.trim() : ""
}
