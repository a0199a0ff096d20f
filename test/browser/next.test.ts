import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Browser, BrowserContext, BrowserContextOptions, Cookie, Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { buildNext, startNext } from "../adapters/apps/next.ts"
import type { AdapterApp } from "../adapters/conformance.ts"
import { chromiumPath, launchChromium } from "./chromium.ts"

const folder = fileURLToPath(new URL("../../examples/next", import.meta.url))
const SAVING_TAKES = 400

/** The example, built once. It runs what is built: `dist`. */
describe.skipIf(chromiumPath === undefined)("the example for Next.js", () => {
  let chromium: Browser
  let shop: AdapterApp
  let database: string

  beforeAll(async () => {
    database = mkdtempSync(join(tmpdir(), "next-"))
    await buildNext(folder)
    chromium = await launchChromium()
    shop = await start()
  }, 300_000)

  afterAll(async () => {
    await chromium?.close()
    await shop?.close()
    rmSync(database, { recursive: true, force: true })
  })

  function start(env: Readonly<Record<string, string>> = {}): Promise<AdapterApp> {
    const own = {
      DATABASE: join(database, "shop.db"),
      SESSION_KEY: "a key of these tests, long enough to seal",
    }
    return startNext(folder, { host: "localhost", env: { ...own, ...env } })
  }

  async function open(options: BrowserContextOptions = {}): Promise<BrowserContext> {
    const context = await chromium.newContext({ baseURL: shop.url, ...options })
    context.setDefaultTimeout(20_000)
    onTestFinished(() => context.close())
    return context
  }

  async function visit(browser: BrowserContext, path = "/"): Promise<Page> {
    const page = await browser.newPage()
    await page.goto(path)
    return page
  }

  async function signIn(page: Page, name: string): Promise<void> {
    await page.goto("/sign-in")
    await page.getByLabel("Name").fill(name)
    await page.getByRole("button", { name: "Sign in" }).click()
    await page.getByRole("heading", { name: "Shop" }).waitFor()
  }

  const press = (page: Page, name: string): Promise<void> =>
    page.getByRole("button", { name, exact: true }).click()
  const visitor = (page: Page): Promise<string | null> => page.locator(".who").textContent()
  const notice = (page: Page): Promise<string | null> => page.getByRole("status").textContent()

  async function cookieOf(browser: BrowserContext): Promise<Cookie | undefined> {
    const cookies = await browser.cookies()
    expect(cookies.length).toBeLessThanOrEqual(1)
    return cookies[0]
  }

  async function expectQuantity(page: Page, quantity: number): Promise<void> {
    await page.locator(".quantity", { hasText: String(quantity) }).waitFor()
  }

  describe.each([true, false])("with JavaScript: %s", (javaScriptEnabled) => {
    test("a cart, a sign-in that keeps it, a message shown once, and a sign-out", async () => {
      const browser = await open({ javaScriptEnabled })
      const page = await visit(browser)
      expect(await cookieOf(browser)).toBeUndefined()
      await press(page, "Add Bowler hat")
      await expectQuantity(page, 1)
      await press(page, "Add Bowler hat")
      await expectQuantity(page, 2)
      const anonymous = await cookieOf(browser)
      expect(anonymous).toMatchObject({
        name: "id",
        httpOnly: true,
        secure: false,
        sameSite: "Lax",
        path: "/",
      })
      expect(anonymous?.expires).toBeGreaterThan(Date.now() / 1000 + 86_000)

      await signIn(page, "Ada")
      expect(await visitor(page)).toBe("Ada")
      expect(await notice(page)).toBe("Welcome, Ada.")
      await expectQuantity(page, 2)
      const signedIn = await cookieOf(browser)
      expect(signedIn?.value).not.toBe(anonymous?.value)
      await page.goto("/")
      expect(await page.getByRole("status").count()).toBe(0)
      expect(await visitor(page)).toBe("Ada")

      await page.getByRole("link", { name: "Account" }).click()
      await page.getByRole("heading", { name: "Account of Ada" }).waitFor()
      await press(page, "Sign out everywhere")
      await page.getByRole("heading", { name: "Shop" }).waitFor()
      expect(await visitor(page)).toBe("nobody")
      expect(await notice(page)).toBe("You are signed out everywhere.")
      await expectQuantity(page, 0)
      const thief = await open()
      await thief.addCookies([signedIn as Cookie])
      expect(await visitor(await visit(thief))).toBe("nobody")
    })

    test("an action that answers with a state, and one that is for users alone", async () => {
      const page = await visit(await open({ javaScriptEnabled }), "/sign-in")
      await press(page, "Sign in")
      expect(await page.locator("form [role=alert]").textContent()).toBe("Please give a name.")
      await page.goto("/cart")
      await press(page, "Order")
      await page.getByRole("heading", { name: "Sign in" }).waitFor()
      expect(new URL(page.url()).pathname).toBe("/sign-in")
    })

    test("G3: with a store that takes its time to save, a redirect shows what was saved", async () => {
      const slow = await start({ STORE_DELAY: String(SAVING_TAKES) })
      onTestFinished(() => slow.close())
      const page = await visit(await open({ javaScriptEnabled, baseURL: slow.url }))
      await press(page, "Add Umbrella")
      await expectQuantity(page, 1)
      const began = performance.now()
      await signIn(page, "Grace")
      expect(performance.now() - began).toBeGreaterThan(SAVING_TAKES)
      expect(await visitor(page)).toBe("Grace")
      expect(await notice(page)).toBe("Welcome, Grace.")
      await expectQuantity(page, 1)
      await page.goto("/cart")
      await press(page, "Order")
      await page.getByRole("status").waitFor()
      expect(await notice(page)).toBe("Thank you, Grace. It is on its way.")
      await expectQuantity(page, 0)
    })

    test("back, after a sign-out, shows nobody's page", async () => {
      const browser = await open({ javaScriptEnabled })
      const page = await visit(browser)
      await signIn(page, "Ada")
      await page.getByRole("link", { name: "Account" }).click()
      await page.getByRole("heading", { name: "Account of Ada" }).waitFor()
      await press(page, "Sign out")
      await page.getByRole("heading", { name: "Shop" }).waitFor()
      expect(await visitor(page)).toBe("nobody")
      await page.goBack()
      await page.getByRole("heading", { name: "Sign in" }).waitFor()
      expect(await page.getByText("Ada").count()).toBe(0)
    })

    test("two tabs: one signs out, and what the other does next is nobody's", async () => {
      const browser = await open({ javaScriptEnabled })
      const tab = await visit(browser)
      await signIn(tab, "Ada")
      const other = await visit(browser)
      expect(await visitor(other)).toBe("Ada")
      await press(tab, "Sign out")
      await tab.locator(".who", { hasText: "nobody" }).waitFor()
      await press(other, "Add Umbrella")
      await expectQuantity(other, 1)
      expect(await visitor(other)).toBe("nobody")
      await other.goto("/account")
      expect(new URL(other.url()).pathname).toBe("/sign-in")
      const elsewhere = await visit(await open({ javaScriptEnabled }))
      await signIn(elsewhere, "Ada")
      await expectQuantity(elsewhere, 0)
    })
  })

  test("client navigation shows the session as it is, and a page without one stays untouched", async () => {
    const browser = await open()
    const page = await visit(browser, "/about")
    expect(await cookieOf(browser)).toBeUndefined()
    await page.getByRole("link", { name: "Shop" }).click()
    await press(page, "Add Umbrella")
    await expectQuantity(page, 1)
    await page.getByRole("link", { name: "Cart" }).click()
    await page.getByText("1 × Umbrella").waitFor()
    await page.getByRole("link", { name: "Shop" }).click()
    await press(page, "Add Umbrella")
    await expectQuantity(page, 2)
    await page.getByRole("link", { name: "Cart" }).click()
    await page.getByText("2 × Umbrella").waitFor()
  })

  test("a route handler reads and changes what the pages show", async () => {
    const browser = await open()
    const page = await visit(browser)
    await press(page, "Add Umbrella")
    await expectQuantity(page, 1)
    const cart = (method: string): Promise<string> =>
      page.evaluate(async (own) => (await fetch("/api/cart", { method: own })).text(), method)
    expect(JSON.parse(await cart("GET"))).toEqual({ umbrella: 1 })
    await cart("DELETE")
    await page.reload()
    await expectQuantity(page, 0)
  })

  test("a request of another site is refused", async () => {
    const browser = await open()
    const page = await visit(browser)
    await press(page, "Add Umbrella")
    await expectQuantity(page, 1)
    // Another host is another site, and the cookie is kept for this one alone: it is sent by hand.
    const { name, value } = (await cookieOf(browser)) as Cookie
    const foreign = {
      Cookie: `${name}=${value}`,
      "Sec-Fetch-Site": "cross-site",
      Origin: "https://evil.example",
    }
    const answer = await fetch(`${shop.url}/api/cart`, { method: "DELETE", headers: foreign })
    expect(answer.status).toBe(403)
    await page.reload()
    await expectQuantity(page, 1)
  })
})
