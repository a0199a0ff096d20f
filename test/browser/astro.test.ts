import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { buildAstro, startAstro } from "../adapters/apps/astro.ts"
import type { AdapterApp } from "../adapters/conformance.ts"
import { chromiumPath, launchChromium } from "./chromium.ts"

const project = fileURLToPath(new URL("../../examples/astro", import.meta.url))
/** The library's sources, and a store that takes 150 ms to save, so that whatever overtakes its save is seen. */
const preloaded = ["../docs/sources.ts", "support/slow-store.ts"].map(
  (file) => new URL(file, import.meta.url).href,
)
const env = { SESSION_KEY: "a key of these tests, long enough to seal", DATABASE: ":memory:" }

let chromium: Browser
let app: AdapterApp

beforeAll(async () => {
  if (chromiumPath === undefined) return
  await buildAstro(project, env)
  const imports = preloaded.flatMap((url) => ["--import", url])
  app = await startAstro(project, [...imports, "dist/server/entry.mjs"], env)
  chromium = await launchChromium()
}, 180_000)

afterAll(async () => {
  await chromium?.close()
  await app?.close()
})

/** A browser of its own: a cookie jar that shares nothing with the others. */
async function browser(options: BrowserContextOptions = {}): Promise<BrowserContext> {
  const context = await chromium.newContext({ baseURL: app.url, ...options })
  context.setDefaultTimeout(10_000)
  onTestFinished(() => context.close())
  return context
}

/** A page that is ready to be used: where there are scripts, with them. */
async function open(context: BrowserContext, path = "/"): Promise<Page> {
  const page = await context.newPage()
  await page.goto(path)
  return page
}

const press = (page: Page, name: string): Promise<void> =>
  page.getByRole("button", { name, exact: true }).click()
const follow = (page: Page, name: string): Promise<void> =>
  page.getByRole("link", { name, exact: true }).click()
const notice = (page: Page) => page.getByRole("status")
const heading = (page: Page, name: string): Promise<void> => page.getByRole("heading", { name }).waitFor()
const userOf = (page: Page): Promise<string | null> => page.locator("#user").textContent()

async function cartOf(page: Page): Promise<string[]> {
  await follow(page, "Cart")
  await heading(page, "Your cart")
  return page.locator("#cart li").allTextContents()
}

async function signIn(page: Page, name: string): Promise<void> {
  await page.goto("/sign-in")
  await page.getByLabel("Name").fill(name)
  await press(page, "Sign in")
  await page.waitForURL("**/account")
  await notice(page).waitFor()
}

/** Marks the document, which a navigation on the client keeps. */
const mark = (page: Page): Promise<void> => page.evaluate("void (window.isMarked = true)")
const isMarked = (page: Page): Promise<boolean> => page.evaluate("window.isMarked === true")

const ways = [
  { way: "with scripts", javaScriptEnabled: true },
  { way: "without JavaScript", javaScriptEnabled: false },
]

describe.skipIf(chromiumPath === undefined)("the Astro example in a browser", () => {
  test("the cookie is kept over plain http on localhost, and no script sees it", async () => {
    const context = await browser()
    const page = await open(context)
    expect(await context.cookies()).toEqual([])
    await press(page, "Add Umbrella")
    await notice(page).waitFor()
    expect(await context.cookies()).toMatchObject([
      { name: "id", httpOnly: true, secure: false, sameSite: "Lax" },
    ])
    expect(await page.evaluate("document.cookie")).toBe("")
  })

  test.each(ways)(
    "G3: the page behind an action shows what it has saved, once, however slow the store, $way",
    async ({ javaScriptEnabled }) => {
      const page = await open(await browser({ javaScriptEnabled }))
      if (javaScriptEnabled) await mark(page)
      await press(page, "Add Trench coat")
      await notice(page).waitFor()
      expect(await notice(page).textContent()).toBe("Trench coat is in your cart.")
      expect(await page.locator("#count").textContent()).toBe("1")
      expect(await cartOf(page)).toEqual(["1 × Trench coat"])
      expect(await notice(page).count()).toBe(0)
      if (javaScriptEnabled) expect(await isMarked(page)).toBe(true)
    },
  )

  test.each(ways)(
    "signing in takes the cart along, under a new ticket, and signing out leaves nothing, $way",
    async ({ javaScriptEnabled }) => {
      const context = await browser({ javaScriptEnabled })
      const page = await open(context)
      await press(page, "Add Bowler hat")
      await notice(page).waitFor()
      const [before] = await context.cookies()
      await signIn(page, "Ada")
      expect(await notice(page).textContent()).toBe("Welcome, Ada.")
      expect(await userOf(page)).toBe("Ada")
      await page.locator("#devices li").first().waitFor()
      expect(await page.locator("#devices li").count()).toBe(1)
      expect((await context.cookies())[0]?.value).not.toBe(before?.value)
      expect(await cartOf(page)).toEqual(["1 × Bowler hat"])
      await follow(page, "Account")
      await press(page, "Sign out")
      await page.getByText("You are signed out.").waitFor()
      expect(await userOf(page)).toBe("")
      expect(await cartOf(page)).toEqual([])
    },
  )

  test.each(ways)("what an action refuses is told on its page, $way", async ({ javaScriptEnabled }) => {
    const page = await open(await browser({ javaScriptEnabled }), "/sign-in")
    await press(page, "Sign in")
    await page.getByRole("alert").waitFor()
    expect(await page.getByRole("alert").textContent()).toBe("A name has 1 to 40 letters.")
  })

  test("navigations on the client are guarded", async () => {
    const context = await browser()
    const page = await open(context)
    await signIn(page, "Ada")
    await follow(page, "Shop")
    await heading(page, "Hats and coats")
    await mark(page)
    await context.clearCookies()
    await follow(page, "Account")
    await page.waitForURL("**/sign-in")
    await heading(page, "Sign in")
    expect(await userOf(page)).toBe("")
    expect(await isMarked(page)).toBe(true)
  })

  test.each(ways)(
    "the back button shows nothing of who has signed out, $way",
    async ({ javaScriptEnabled }) => {
      const page = await open(await browser({ javaScriptEnabled }))
      await signIn(page, "Ada")
      await press(page, "Sign out")
      await page.getByText("You are signed out.").waitFor()
      await page.goBack()
      // Astro's router leaves the address as it was.
      await heading(page, "Sign in")
      expect(await page.locator("#devices").count()).toBe(0)
      expect(await userOf(page)).toBe("")
    },
  )

  test("a prerendered page has a personal part, by its server island", async () => {
    const page = await open(await browser(), "/about")
    await page.getByText("We have not met yet.").waitFor()
    await signIn(page, "Ada")
    await follow(page, "About")
    await heading(page, "About the Cloakroom")
    await page.getByText("Nice to see you, Ada.").waitFor()
  })

  test("G4: two tabs that add at once lose nothing", async () => {
    const context = await browser()
    const tabs = [await open(context), await open(context)] as const
    await press(tabs[0], "Add Umbrella")
    await notice(tabs[0]).waitFor()
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        tabs.map(async (tab) => {
          const shown = tab.waitForResponse((response) => response.request().method() === "GET")
          await press(tab, "Add Trench coat")
          await shown
        }),
      )
    }
    expect(await cartOf(tabs[1])).toEqual(["1 × Umbrella", "6 × Trench coat"])
  })

  test("who signs out in one tab is out in the other", async () => {
    const context = await browser()
    const first = await open(context)
    await signIn(first, "Ada")
    const second = await open(context)
    expect(await userOf(second)).toBe("Ada")
    await press(first, "Sign out")
    await first.getByText("You are signed out.").waitFor()
    await follow(second, "Account")
    await second.waitForURL("**/sign-in")
  })

  test("G5: signing out everywhere ends other browsers, which are told", async () => {
    const here = await open(await browser())
    const there = await open(await browser())
    await signIn(here, "Grace")
    await signIn(there, "Grace")
    await there.locator("#devices li").nth(1).waitFor()
    expect(await there.locator("#devices li").count()).toBe(2)
    await follow(there, "Shop")
    await heading(there, "Hats and coats")
    await press(here, "Sign out everywhere")
    await here.getByText("You are signed out everywhere.").waitFor()
    await press(there, "Add Umbrella")
    await there.getByText("This browser was signed out from another one.").waitFor()
    expect(await userOf(there)).toBe("")
    await signIn(there, "Grace")
    await there.locator("#devices li").first().waitFor()
    expect(await there.locator("#devices li").count()).toBe(1)
  })

  test("a message waits for a page that is seen: no prefetched one takes it", async () => {
    const context = await browser()
    const page = await open(context)
    const form = { product: "umbrella" }
    const headers = { Origin: app.url }
    const added = await context.request.post("/?_action=addToCart", { form, headers, maxRedirects: 0 })
    expect(added.status()).toBe(303)
    const prefetched: string[] = []
    page.on("request", (request) => prefetched.push(new URL(request.url()).pathname))
    const link = (name: string) => page.getByRole("link", { name, exact: true })
    await link("Cart").hover()
    await setTimeout(300)
    // What a link asks for is prefetched, so the one before would have been by now.
    await link("About").hover()
    await expect.poll(() => prefetched).toEqual(["/about"])
    for (const name of ["Sec-Purpose", "Purpose"]) {
      const response = await context.request.get("/cart", { headers: { [name]: "prefetch" } })
      const text = await response.text()
      expect(text).toContain("Umbrella")
      expect(text).not.toContain('role="status"')
    }
    await follow(page, "Cart")
    await notice(page).waitFor()
    expect(await notice(page).textContent()).toBe("Umbrella is in your cart.")
  })

  test("the first program of the documentation counts the visits of each visitor", async () => {
    const [one, two] = [await browser(), await browser()]
    const visit = async (context: BrowserContext) => (await context.request.get("/visits")).text()
    expect(await visit(one)).toContain("<p>Visits: 1</p>")
    expect(await visit(one)).toContain("<p>Visits: 2</p>")
    expect(await visit(two)).toContain("<p>Visits: 1</p>")
  })

  test("a form of another site is refused, by Astro and by us", async () => {
    const submit = (headers: Record<string, string>) =>
      fetch(`${app.url}/?_action=addToCart`, {
        method: "POST",
        headers: { "Content-Type": "application/x-www-form-urlencoded", ...headers },
        body: "product=bowler",
        redirect: "manual",
      })
    const evil = await submit({ Origin: "https://evil.example" })
    expect([evil.status, await evil.text()]).toEqual([403, "Cross-site POST form submissions are forbidden"])
    const sibling = await submit({ Origin: app.url, "Sec-Fetch-Site": "same-site" })
    expect([sibling.status, await sibling.text()]).toEqual([403, "Forbidden\n"])
    expect((await submit({ Origin: app.url })).status).toBe(303)
  })
})
