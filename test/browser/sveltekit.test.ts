import { rm } from "node:fs/promises"
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { buildExample, startSvelteKit, type SvelteKitBuild } from "../adapters/apps/sveltekit.ts"
import type { AdapterApp } from "../adapters/conformance.ts"
import { chromiumPath, launchChromium } from "./chromium.ts"

/** How long each save takes. */
const SAVING = 150

/** In place of the example's, so that whatever overtakes its save is seen. */
const STORE = `import { memoryStore } from "coatcheck/memory"
import { spyStore } from "coatcheck/testing"

export const store = spyStore(memoryStore())
for (const name of ["create", "update", "changeId", "delete"]) store.delay(name, ${SAVING})
`

let chromium: Browser
let built: SvelteKitBuild
let app: AdapterApp

beforeAll(async () => {
  if (chromiumPath === undefined) return
  const launching = launchChromium()
  built = await buildExample({ "src/store.server.ts": STORE })
  app = await startSvelteKit(built, { SESSION_KEY: "a key of these tests, long enough to seal" })
  chromium = await launching
}, 180_000)

afterAll(async () => {
  await chromium?.close()
  await app?.close()
  if (built !== undefined) await rm(built.folder, { recursive: true, force: true })
})

/** A browser of its own: a cookie jar that shares nothing with the others. */
async function browser(options: BrowserContextOptions = {}): Promise<BrowserContext> {
  const context = await chromium.newContext({ baseURL: built.origin, ...options })
  context.setDefaultTimeout(5000)
  onTestFinished(() => context.close())
  return context
}

/** A page that is ready to be used: where there are scripts, with them. */
async function open(context: BrowserContext, path = "/"): Promise<Page> {
  const page = await context.newPage()
  await page.goto(path, { waitUntil: "networkidle" })
  return page
}

const press = (page: Page, name: string): Promise<void> =>
  page.getByRole("button", { name, exact: true }).click()
const follow = (page: Page, name: string): Promise<void> =>
  page.getByRole("link", { name, exact: true }).click()
const notice = (page: Page) => page.getByRole("status")
const cart = (page: Page): Promise<string[]> => page.locator("#cart li").allTextContents()

async function signIn(page: Page, name: string): Promise<void> {
  if (new URL(page.url()).pathname !== "/sign-in") await follow(page, "Sign in")
  await page.waitForURL("**/sign-in")
  await page.getByLabel("Name").fill(name)
  await press(page, "Sign in")
  await page.waitForURL("**/account?notice")
}

/** Marks the document, which a navigation on the client keeps. */
const mark = (page: Page): Promise<void> => page.evaluate("void (window.isMarked = true)")
const isMarked = (page: Page): Promise<boolean> => page.evaluate("window.isMarked === true")

const ways = [
  { way: "with scripts", javaScriptEnabled: true },
  { way: "without JavaScript", javaScriptEnabled: false },
]

describe.skipIf(chromiumPath === undefined)("the SvelteKit example in a browser", () => {
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
      expect(await cart(page)).toEqual(["1 × Trench coat"])
      await follow(page, "About")
      await page.getByRole("heading", { name: "About" }).waitFor()
      expect(await notice(page).count()).toBe(0)
      expect(await cart(page)).toEqual(["1 × Trench coat"])
      if (javaScriptEnabled) expect(await isMarked(page)).toBe(true)
    },
  )

  test("G3: a link that is pointed at in the meantime preloads its page, and takes no message", async () => {
    const page = await open(await browser())
    const asked = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    // The page behind the action, which is not asked for before the preloaded one has arrived.
    await page.route(
      ({ pathname }) => pathname === "/__data.json",
      async (route) => {
        asked.resolve()
        await goOn.promise
        await route.continue()
      },
    )
    await press(page, "Add Umbrella")
    await asked.promise
    const preloaded = page.waitForResponse((response) => response.url().includes("/about/__data.json"))
    await page.getByRole("link", { name: "About", exact: true }).hover()
    expect((await preloaded).status()).toBe(200)
    goOn.resolve()
    await notice(page).waitFor()
    expect(await notice(page).textContent()).toBe("Umbrella is in your cart.")
  })

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
      expect(await page.locator("#user").textContent()).toBe("Ada")
      await page.locator("#devices li").first().waitFor()
      expect(await page.locator("#devices li").count()).toBe(1)
      expect(await cart(page)).toEqual(["1 × Bowler hat"])
      expect((await context.cookies())[0]?.value).not.toBe(before?.value)
      await press(page, "Sign out")
      await page.getByText("You are signed out.").waitFor()
      expect(await page.locator("#user").count()).toBe(0)
      expect(await cart(page)).toEqual([])
    },
  )

  test.each(ways)("what an action refuses is told on its page, $way", async ({ javaScriptEnabled }) => {
    const page = await open(await browser({ javaScriptEnabled }), "/sign-in")
    await press(page, "Sign in")
    await page.getByRole("alert").waitFor()
    expect(await page.getByRole("alert").textContent()).toBe("Please give a name.")
  })

  test("navigations on the client are guarded", async () => {
    const context = await browser()
    const page = await open(context)
    await signIn(page, "Ada")
    await follow(page, "Shop")
    await page.getByRole("heading", { name: "The Cloakroom" }).waitFor()
    await mark(page)
    await context.clearCookies()
    await follow(page, "Account")
    await page.waitForURL("**/sign-in")
    expect(await page.locator("#user").count()).toBe(0)
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
      // SvelteKit keeps the address when a redirect answers the back button.
      await page.getByRole("heading", { name: "Sign in" }).waitFor()
      expect(await page.locator("#devices").count()).toBe(0)
      expect(await page.locator("#user").count()).toBe(0)
    },
  )

  test("G4: two tabs that add at once lose nothing", async () => {
    const context = await browser()
    const tabs = [await open(context), await open(context)] as const
    await press(tabs[0], "Add Umbrella")
    await notice(tabs[0]).waitFor()
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        tabs.map(async (tab) => {
          const saved = tab.waitForResponse((response) => response.url().includes("__data.json"))
          await press(tab, "Add Trench coat")
          await saved
        }),
      )
    }
    const response = await context.request.get("/api/cart")
    expect(await response.json()).toEqual([
      { name: "Umbrella", quantity: 1 },
      { name: "Trench coat", quantity: 6 },
    ])
  })

  test("who signs out in one tab is out in the other", async () => {
    const context = await browser()
    const first = await open(context)
    await signIn(first, "Ada")
    const second = await open(context)
    expect(await second.locator("#user").textContent()).toBe("Ada")
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
    await there.getByRole("heading", { name: "The Cloakroom" }).waitFor()
    await press(here, "Sign out everywhere")
    await here.getByText("You are signed out everywhere.").waitFor()
    await press(there, "Add Umbrella")
    await there.waitForURL("**/sign-in")
    await there.getByText("This browser was signed out from another one.").waitFor()
    await signIn(there, "Grace")
    await there.locator("#devices li").first().waitFor()
    expect(await there.locator("#devices li").count()).toBe(1)
  })

  test("a form of another site is refused, by SvelteKit and by us", async () => {
    const submit = (headers: Record<string, string>, body: string) =>
      fetch(`${built.origin}/?/add`, {
        method: "POST",
        headers: { "Content-Type": "application/x-www-form-urlencoded", Accept: "text/html", ...headers },
        body,
        redirect: "manual",
      })
    const evil = await submit({ Origin: "https://evil.example" }, "product=bowler")
    expect([evil.status, await evil.text()]).toEqual([403, "Cross-site POST form submissions are forbidden"])
    const sibling = await submit({ Origin: built.origin, "Sec-Fetch-Site": "same-site" }, "product=bowler")
    expect(sibling.status).toBe(403)
    expect((await submit({ Origin: built.origin }, "product=bowler")).status).toBe(303)
  })
})
