import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { startProcess } from "../adapters/apps/process.ts"
import { buildReactRouter } from "../adapters/apps/react-router.ts"
import type { AdapterApp } from "../adapters/conformance.ts"
import { chromiumPath, launchChromium } from "./chromium.ts"

const example = fileURLToPath(new URL("../../examples/react-router", import.meta.url))
const sources = new URL("../docs/sources.ts", import.meta.url).href
const slowStore = new URL("support/slow-store.ts", import.meta.url).href

test("the example's types are right, with those that React Router makes of its routes", async () => {
  const root = fileURLToPath(new URL("../..", import.meta.url))
  const run = (program: string, ...args: string[]) =>
    promisify(execFile)(process.execPath, [join(root, "node_modules", program), ...args], { cwd: root })
  await run("@react-router/dev/bin.cjs", "typegen", example)
  await expect(run("typescript/bin/tsc", "-p", example)).resolves.toMatchObject({ stdout: "" })
})

describe.skipIf(chromiumPath === undefined)(
  "the shop on React Router, with a store that is slow to save",
  () => {
    const folder = mkdtempSync(join(tmpdir(), "react-router-"))
    let shop: AdapterApp
    let chromium: Browser

    beforeAll(async () => {
      await buildReactRouter(example)
      const env = {
        NODE_ENV: "production",
        PORT: "0",
        DATABASE: join(folder, "sessions.db"),
        SESSION_KEY: "a key of these tests, long enough to seal",
      }
      const preloads = [sources, slowStore].flatMap((file) => ["--import", file])
      shop = await startProcess(process.execPath, [...preloads, join(example, "server.ts")], { env })
      chromium = await launchChromium()
    })
    afterAll(async () => {
      await chromium?.close()
      await shop?.close()
      rmSync(folder, { recursive: true, force: true })
    })

    /** A browser of its own: a cookie jar that shares nothing with the others. */
    async function browser(options: BrowserContextOptions = {}): Promise<BrowserContext> {
      const context = await chromium.newContext({ baseURL: shop.url, ...options })
      context.setDefaultTimeout(10_000)
      onTestFinished(() => context.close())
      return context
    }

    /** A page, and how many documents it has loaded. With JavaScript it is ready when React has taken it over. */
    async function open(context: BrowserContext, path = "/"): Promise<Page & { documents: () => number }> {
      const page = await context.newPage()
      let documents = 0
      page.on("request", (request) => void (documents += request.isNavigationRequest() ? 1 : 0))
      await page.goto(path)
      return Object.assign(page, { documents: () => documents })
    }

    async function openScripted(
      context: BrowserContext,
      path = "/",
    ): Promise<Awaited<ReturnType<typeof open>>> {
      const page = await open(context, path)
      await page.waitForFunction(
        `Object.keys(document.querySelector("nav")).some((key) => key.startsWith("__react"))`,
      )
      return page
    }

    const press = (page: Page, name: string): Promise<void> =>
      page.getByRole("button", { name, exact: true }).click()
    const follow = (page: Page, name: string): Promise<void> =>
      page.getByRole("link", { name, exact: true }).click()
    /** Waits until the page shows this message. */
    const notice = (page: Page, text: string): Promise<void> =>
      page.getByRole("status").filter({ hasText: text }).waitFor()
    const count = (page: Page): Promise<string | null> => page.locator("#count").textContent()

    async function signIn(page: Page, name: string): Promise<void> {
      await follow(page, "Sign in")
      await page.getByLabel("Name").fill(name)
      await press(page, "Sign in")
      await page.waitForURL("**/account")
    }

    test("over plain http on localhost the cookie is kept, and no script sees it", async () => {
      const context = await browser()
      const page = await openScripted(context)
      expect(await context.cookies()).toEqual([])
      await press(page, "Add Bowler hat to the cart")
      await notice(page, "Bowler hat is in your cart.")
      expect(await context.cookies()).toMatchObject([
        { name: "id", domain: "localhost", path: "/", httpOnly: true, sameSite: "Lax", secure: false },
      ])
      expect(await page.evaluate("document.cookie")).toBe("")
    })

    describe.each([
      ["with JavaScript", true],
      ["without JavaScript", false],
    ])("%s", (_, javaScriptEnabled) => {
      const start = (context: BrowserContext, path?: string): ReturnType<typeof open> =>
        javaScriptEnabled ? openScripted(context, path) : open(context, path)
      /** How many documents are loaded for that many pages. */
      const expectDocuments = (page: Awaited<ReturnType<typeof open>>, pages: number): void => {
        if (javaScriptEnabled) expect(page.documents()).toBe(1)
        else expect(page.documents()).toBeGreaterThanOrEqual(pages)
      }

      test("G3: the page after an action shows what it has changed, and a message once", async () => {
        const page = await start(await browser({ javaScriptEnabled }))
        await press(page, "Add Trench coat to the cart")
        await notice(page, "Trench coat is in your cart.")
        expect(await count(page)).toBe("1")
        await follow(page, "Cart")
        await page.waitForURL("**/cart")
        await page.locator("[data-product=trench]").waitFor()
        expect(await page.getByRole("status").count()).toBe(0)
        expectDocuments(page, 3)
      })

      test("signing in keeps the cart under a new ticket, and a form with a mistake says so", async () => {
        const context = await browser({ javaScriptEnabled })
        const page = await start(context)
        await press(page, "Add Umbrella to the cart")
        await notice(page, "Umbrella is in your cart.")
        const [before] = await context.cookies()
        await follow(page, "Sign in")
        await press(page, "Sign in")
        expect(await page.getByRole("alert").textContent()).toBe("Who are you?")
        await page.getByLabel("Name").fill("Ada")
        await press(page, "Sign in")
        await page.waitForURL("**/account")
        await notice(page, "Welcome, Ada.")
        expect(await page.locator("#user").textContent()).toBe("Ada")
        expect(await count(page)).toBe("1")
        const [after] = await context.cookies()
        expect(after?.value).not.toBe(before?.value)
        expectDocuments(page, 5)
      })

      test("after signing out the back button shows nothing of the account", async () => {
        const page = await start(await browser({ javaScriptEnabled }))
        await signIn(page, "Grace")
        await page.locator("#devices li").first().waitFor()
        expect(await page.locator("#devices li").count()).toBe(1)
        await press(page, "Sign out")
        await notice(page, "You are signed out.")
        await page.goBack()
        await page.getByLabel("Name").waitFor()
        expect(new URL(page.url()).pathname).toBe("/sign-in")
        expect(await page.locator("#devices").count()).toBe(0)
        expectDocuments(page, 5)
      })

      test("a page for users sends others to the sign-in", async () => {
        const page = await start(await browser({ javaScriptEnabled }), "/account")
        expect(new URL(page.url()).pathname).toBe("/sign-in")
      })
    })

    test("a fetcher changes the cart without leaving the page, and the count above it follows", async () => {
      const page = await openScripted(await browser())
      await press(page, "Add Bowler hat to the cart")
      await notice(page, "Bowler hat is in your cart.")
      await follow(page, "Cart")
      for (const quantity of ["2", "3"]) {
        await press(page, "One more Bowler hat")
        await page.locator("[data-product=bowler]", { hasText: quantity }).waitFor()
        expect(await count(page)).toBe(quantity)
      }
      expect(page.documents()).toBe(1)
      await page.reload()
      expect(await count(page)).toBe("3")
    })

    test("G4: two tabs that add at once lose nothing", async () => {
      const context = await browser()
      const first = await openScripted(context)
      await press(first, "Add Umbrella to the cart")
      await notice(first, "Umbrella is in your cart.")
      const second = await openScripted(context)
      for (let round = 0; round < 3; round++) {
        const saved = [first, second].map((page) =>
          page.waitForResponse((response) => response.request().method() === "POST"),
        )
        await Promise.all([first, second].map((page) => press(page, "Add Trench coat to the cart")))
        await Promise.all(saved)
      }
      await second.goto("/cart")
      expect(await second.locator("[data-product=trench]").textContent()).toBe("6")
      expect(await second.locator("[data-product=umbrella]").textContent()).toBe("1")
    })

    test("signed out in one tab, the other finds itself signed out at its next navigation", async () => {
      const context = await browser()
      const first = await openScripted(context)
      await signIn(first, "Ada")
      const second = await openScripted(context)
      expect(await second.locator("#user").textContent()).toBe("Ada")
      await press(first, "Sign out")
      await notice(first, "You are signed out.")
      await second.locator("#user").click()
      await second.waitForURL("**/sign-in")
      await second.locator("#user").waitFor({ state: "detached" })
      expect(second.documents()).toBe(1)
    })

    test("signing out everywhere signs out the other browser", async () => {
      const laptop = await openScripted(await browser())
      await signIn(laptop, "Hedy")
      const phone = await openScripted(await browser())
      await signIn(phone, "Hedy")
      await phone.locator("#devices li").nth(1).waitFor()
      expect(await phone.locator("#devices li").count()).toBe(2)
      await press(phone, "Sign out everywhere")
      await notice(phone, "You are signed out everywhere.")
      await follow(laptop, "Cart")
      await laptop.getByRole("link", { name: "Sign in", exact: true }).waitFor()
    })

    test("a page that is not found says so", async () => {
      const page = await open(await browser(), "/nowhere")
      expect(await page.getByRole("alert").textContent()).toBe("404 There is no such page.")
    })
  },
)
