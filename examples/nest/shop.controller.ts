import { Body, Controller, Get, Header, Post, Redirect } from "@nestjs/common"
import { homePage, products } from "../shop/pages.ts"
import { CurrentSession } from "./session.decorator.ts"
import type { ShopSession } from "./sessions.ts"

const ENDED = "This browser was signed out from another one. Sign in to go on."

@Controller()
export class ShopController {
  /** The session is not touched here, so this costs no store call and sets no cookie. */
  @Get("health")
  health(): string {
    return "fine\n"
  }

  @Get()
  @Header("Content-Type", "text/html; charset=utf-8")
  async home(@CurrentSession() session: ShopSession): Promise<string> {
    // One load, and from here on reading costs nothing.
    const state = await session.load()
    const user = await session.userId()
    const notice = session.isInvalidated ? ENDED : state.take("notice")
    return homePage({ notice, user, cart: state.get("cart") ?? {} })
  }

  @Post("cart")
  @Redirect("/", 303)
  async add(@CurrentSession() session: ShopSession, @Body("product") product: unknown): Promise<void> {
    if (typeof product !== "string" || !Object.hasOwn(products, product)) return
    // Exact also if two tabs add at the same moment.
    await session.transact((state) => {
      const cart = state.get("cart") ?? {}
      state.set("cart", { ...cart, [product]: (cart[product] ?? 0) + 1 })
    })
  }
}
