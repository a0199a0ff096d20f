import { mkdtempSync, rmSync } from "node:fs"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { Session, SessionStore } from "coatcheck"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import { createDemo, type Demo } from "../../examples/demo/demo.ts"
import { markup } from "../../examples/demo/html.ts"
import type { Handler, Reply, Routes } from "../../examples/demo/http.ts"
import { chromiumPath, launchChromium, launchProfile } from "./chromium.ts"

const KEY = "a key of these tests, long enough to seal"
const PASSWORD = "correct horse"

let chromium: Browser

beforeAll(async () => {
  if (chromiumPath !== undefined) chromium = await launchChromium()
})

afterAll(async () => {
  await chromium?.close()
})

interface Shop {
  readonly demo: Demo
  readonly url: string
  readonly errors: unknown[]
  /** A browser of its own: a cookie jar that shares nothing with the others. */
  browser(): Promise<BrowserContext>
}

interface ShopOptions {
  readonly routes?: Routes
  readonly wrapStore?: (store: SessionStore) => SessionStore
  readonly folder?: string
  readonly host?: string
}

/** The demo on a free port with a database of its own, closed when the test is over. */
async function openShop(options: ShopOptions = {}): Promise<Shop> {
  const { routes, wrapStore, folder = temporaryFolder(), host = "localhost" } = options
  const errors: unknown[] = []
  const demo = await createDemo({
    database: join(folder, "demo.db"),
    key: KEY,
    routes,
    wrapStore,
    passwordCost: { N: 2 },
    onError: (error) => errors.push(error),
  })
  await new Promise<void>((resolve) => demo.server.listen(0, host, resolve))
  onTestFinished(() => demo.close())
  const url = `http://${host}:${(demo.server.address() as AddressInfo).port}`
  return {
    demo,
    errors,
    url,
    async browser() {
      // The pages' own policy would not let a test's script fetch.
      const context = await chromium.newContext({ bypassCSP: true, baseURL: url })
      context.setDefaultTimeout(10_000)
      onTestFinished(() => context.close())
      return context
    },
  }
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "demo-"))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function open(browser: BrowserContext, path = "/"): Promise<Page> {
  const page = await browser.newPage()
  await page.goto(path)
  return page
}

async function submitCredentials(page: Page, path: string, name: string, remember: boolean): Promise<void> {
  await page.goto(path)
  await page.getByLabel("Name").fill(name)
  await page.getByLabel("Password").fill(PASSWORD)
  if (remember) await page.getByLabel("Remember me").check()
  await page.getByRole("main").getByRole("button").click()
  await page.waitForURL((url) => url.pathname === "/")
}

const signUp = (page: Page, name: string, remember = false): Promise<void> =>
  submitCredentials(page, "/sign-up", name, remember)
const signIn = (page: Page, name: string, remember = false): Promise<void> =>
  submitCredentials(page, "/sign-in", name, remember)

async function press(page: Page, name: string | RegExp): Promise<void> {
  await page.getByRole("button", { name, exact: true }).click()
  await page.waitForLoadState()
}

/** Who the next page is for, or null. */
async function visitorOf(page: Page): Promise<string | null> {
  await page.goto("/")
  const who = page.locator("nav .who")
  return (await who.count()) === 0 ? null : who.textContent()
}

async function quantityOf(page: Page, product: string): Promise<number> {
  await page.goto("/cart")
  const output = page.locator(`output[data-product=${product}]`)
  return (await output.count()) === 0 ? 0 : Number(await output.textContent())
}

/** The session cookie as the browser keeps it. */
async function cookieOf(browser: BrowserContext) {
  const cookies = await browser.cookies()
  expect(cookies.map(({ name }) => name)).toEqual(["id"])
  return cookies[0] as (typeof cookies)[0]
}

/** Reads a path like a script of the page would, with the page's cookies. */
function fetchText(page: Page, path: string): Promise<string> {
  return page.evaluate((to) => fetch(to).then((response) => response.text()), path)
}

function textPage(text: string): Reply {
  return { title: "Test", bare: true, content: markup`<p>${text}</p>` }
}

/** A place where requests wait until the test lets them go on. */
class Gate {
  readonly #arrivals: (() => void)[] = []
  #arrived = 0
  readonly #opened = Promise.withResolvers<void>()

  async pass(): Promise<void> {
    this.#arrived++
    for (const told of this.#arrivals) told()
    await this.#opened.promise
  }

  async waitFor(count: number): Promise<void> {
    while (this.#arrived < count) await new Promise<void>((resolve) => this.#arrivals.push(resolve))
  }

  open(): void {
    this.#opened.resolve()
  }
}

/** A store whose operations take a while, before and after what they do. */
function slowStore(milliseconds: number): (store: SessionStore) => SessionStore {
  return intercepted(async (operate) => {
    await sleep(milliseconds)
    const result = await operate()
    await sleep(milliseconds)
    return result
  })
}

function intercepted(
  around: (operate: () => Promise<unknown>, operation: string) => Promise<unknown>,
): (store: SessionStore) => SessionStore {
  return (store) =>
    new Proxy(store, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name)
        if (typeof member !== "function") return member
        return (...args: unknown[]) =>
          around(() => Reflect.apply(member, target, args) as Promise<unknown>, String(name))
      },
    })
}

describe.skipIf(chromiumPath === undefined)("the cookie in the browser", () => {
  test.each(["localhost", "127.0.0.1"])(
    "over plain http on %s it is kept, and no script sees it",
    async (host) => {
      const shop = await openShop({ host })
      const browser = await shop.browser()
      const page = await open(browser)
      expect(await browser.cookies()).toEqual([])
      await press(page, "Add Trench coat to the cart")
      expect(await cookieOf(browser)).toMatchObject({
        name: "id",
        domain: host,
        path: "/",
        httpOnly: true,
        sameSite: "Lax",
        secure: false,
      })
      expect(await page.evaluate("document.cookie")).toBe("")
      expect(await quantityOf(page, "trench")).toBe(1)
    },
  )

  test("it outlives the browser only for who asks to be remembered", async () => {
    const shop = await openShop()
    const browser = await shop.browser()
    const page = await open(browser)
    await signUp(page, "Ada")
    expect((await cookieOf(browser)).expires).toBe(-1)
    await page.goto("/account")
    expect((await cookieOf(browser)).expires).toBe(-1)

    const remembering = await shop.browser()
    const other = await open(remembering)
    await signIn(other, "Ada", true)
    const days = ((await cookieOf(remembering)).expires - Date.now() / 1000) / 86_400
    expect(days).toBeGreaterThan(13.9)
    expect(days).toBeLessThan(14.1)

    await other.goto("/account")
    await press(other, "Sign out")
    expect((await cookieOf(remembering)).expires).toBeLessThan(Date.now() / 1000 + 86_500)
  })

  test("a browser that is closed and opened again has forgotten whoever did not ask", async () => {
    const shop = await openShop()
    const profile = temporaryFolder()
    async function inBrowser<T>(use: (page: Page) => Promise<T>): Promise<T> {
      const browser = await launchProfile(profile, { baseURL: shop.url })
      try {
        return await use(await open(browser))
      } finally {
        await browser.close()
      }
    }
    await inBrowser((page) => signUp(page, "Ada"))
    await inBrowser(async (page) => {
      expect(await visitorOf(page)).toBe(null)
      await signIn(page, "Ada", true)
    })
    expect(await inBrowser(visitorOf)).toBe("Ada")
  })

  test("sessions outlive a restart of the server", async () => {
    const folder = temporaryFolder()
    const before = await openShop({ folder })
    const browser = await before.browser()
    await signUp(await open(browser), "Ada")
    const port = (before.demo.server.address() as AddressInfo).port
    before.demo.close()
    const after = await createDemo({ database: join(folder, "demo.db"), key: KEY })
    onTestFinished(() => after.close())
    await new Promise<void>((resolve) => after.server.listen(port, "localhost", resolve))
    expect(await visitorOf(await open(browser))).toBe("Ada")
  })
})

describe.skipIf(chromiumPath === undefined)("cart, messages and theme", () => {
  test("G4: two tabs that add at once lose nothing", async () => {
    const shop = await openShop({ wrapStore: slowStore(15) })
    const browser = await shop.browser()
    const tabs = [await open(browser), await open(browser)] as const
    await press(tabs[0], "Add Umbrella to the cart")
    for (let round = 0; round < 4; round++) {
      await Promise.all(tabs.map((tab) => press(tab, "Add Trench coat to the cart")))
    }
    expect(await quantityOf(tabs[0], "trench")).toBe(8)
    expect(await quantityOf(tabs[1], "umbrella")).toBe(1)
  })

  test("G3: a redirect never overtakes its save, however slow the store", async () => {
    const shop = await openShop({ wrapStore: slowStore(150) })
    const page = await open(await shop.browser())
    await press(page, "Add Straw boater to the cart")
    expect(await page.locator("nav .count").textContent()).toBe("1")
    expect(await page.getByRole("status").textContent()).toBe("Straw boater is in your cart.")
    await signUp(page, "Ada")
    expect(await page.locator("nav .who").textContent()).toBe("Ada")
    expect(await page.locator("nav .count").textContent()).toBe("1")
  })

  test("a message is shown once", async () => {
    const shop = await openShop()
    const page = await open(await shop.browser())
    await press(page, "Add Raincoat to the cart")
    expect(await page.getByRole("status").textContent()).toBe("Raincoat is in your cart.")
    await page.reload()
    expect(await page.getByRole("status").count()).toBe(0)
  })

  test("the theme survives pages, tabs, signing in and signing out, and asks the store for nothing", async () => {
    const operations: string[] = []
    const log = intercepted((operate, operation) => {
      operations.push(operation)
      return operate()
    })
    const shop = await openShop({ wrapStore: log })
    const browser = await shop.browser()
    const page = await open(browser, "/cart")
    const theme = (of: Page): Promise<string | null> => of.locator("html").getAttribute("data-theme")
    expect(await theme(page)).toBe(null)
    await press(page, "Use the dark theme")
    expect(new URL(page.url()).pathname).toBe("/cart")
    expect(await theme(page)).toBe("dark")
    await signUp(page, "Ada")
    expect(await theme(page)).toBe("dark")
    await page.goto("/account")
    await press(page, "Sign out")
    expect(await theme(page)).toBe("dark")

    operations.length = 0
    expect(await theme(await open(browser, "/about"))).toBe("dark")
    expect(operations).toEqual([])
  })

  test("cart and theme come along into an account, under a new ticket, and stay behind on signing out", async () => {
    const shop = await openShop()
    const browser = await shop.browser()
    const page = await open(browser)
    await press(page, "Add Bowler hat to the cart")
    const anonymous = await cookieOf(browser)
    await signUp(page, "<b>Ada</b> & 'Co'")
    expect(await visitorOf(page)).toBe("<b>Ada</b> & 'Co'")
    expect(await quantityOf(page, "bowler")).toBe(1)

    const thief = await shop.browser()
    await thief.addCookies([anonymous])
    const stolen = await open(thief)
    expect(await visitorOf(stolen)).toBe(null)
    expect(await quantityOf(stolen, "bowler")).toBe(0)

    await page.goto("/account")
    await press(page, "Sign out")
    expect(await quantityOf(page, "bowler")).toBe(0)
  })

  test("a wrong password and an unknown name get the same answer", async () => {
    const shop = await openShop()
    const page = await open(await shop.browser())
    await signUp(page, "Ada")
    const visitor = await open(await shop.browser())
    for (const name of ["Ada", "Nobody"]) {
      await visitor.goto("/sign-in")
      await visitor.getByLabel("Name").fill(name)
      await visitor.getByLabel("Password").fill("wrong wrong")
      await press(visitor, "Sign in")
      expect(await visitor.getByRole("alert").textContent()).toBe("Name and password do not match.")
    }
    expect(await visitorOf(visitor)).toBe(null)
  })
})

describe.skipIf(chromiumPath === undefined)("two browsers of one user", () => {
  async function ada(): Promise<{ shop: Shop; laptop: Page; phone: Page }> {
    const shop = await openShop()
    const laptop = await open(await shop.browser())
    await signUp(laptop, "Ada")
    const phone = await open(await shop.browser())
    await signIn(phone, "Ada")
    await laptop.goto("/account")
    expect(await laptop.locator(".devices li").count()).toBe(2)
    expect(await laptop.locator(".devices li", { hasText: "this one" }).count()).toBe(1)
    return { shop, laptop, phone }
  }

  test("one signs the other out, which is told so and may sign in again", async () => {
    const { shop, laptop, phone } = await ada()
    await laptop.getByRole("button", { name: "Sign out there" }).click()
    expect(await laptop.getByRole("status").textContent()).toBe("That device is signed out.")
    expect(await laptop.locator(".devices li").count()).toBe(1)
    expect(await visitorOf(laptop)).toBe("Ada")

    expect(await visitorOf(phone)).toBe(null)
    expect(await phone.getByRole("status").textContent()).toContain("signed out from another one")
    await press(phone, "Add Trench coat to the cart")
    expect(await phone.locator(".status").textContent()).toBe("409")
    await phone.goto("/stored")
    expect(await phone.getByText("word that this session has ended").count()).toBe(1)
    expect(shop.errors).toEqual([])
    await signIn(phone, "Ada")
    expect(await visitorOf(phone)).toBe("Ada")
  })

  test("one signs out everywhere else", async () => {
    const { laptop, phone } = await ada()
    await press(laptop, "Sign out everywhere else")
    expect(await laptop.getByRole("status").textContent()).toBe("Signed out on 1 other device.")
    expect(await visitorOf(phone)).toBe(null)
    expect(await visitorOf(laptop)).toBe("Ada")
  })

  test("one signs out everywhere", async () => {
    const { shop, laptop, phone } = await ada()
    await press(laptop, "Sign out everywhere")
    expect(await visitorOf(laptop)).toBe(null)
    expect(await visitorOf(phone)).toBe(null)
    expect(await shop.demo.sessions.listByUser(1)).toEqual([])
  })

  test("a new password ends the other and every copy of this one's cookie", async () => {
    const { shop, laptop, phone } = await ada()
    const copy = await cookieOf(laptop.context())
    await laptop.getByLabel("Current password").fill(PASSWORD)
    await laptop.getByLabel("New password").fill("battery staple")
    await press(laptop, "Change password")
    expect(await laptop.getByRole("status").textContent()).toContain("Signed out on 1 other device.")
    expect(await visitorOf(laptop)).toBe("Ada")
    expect(await visitorOf(phone)).toBe(null)
    const thief = await shop.browser()
    await thief.addCookies([copy])
    expect(await visitorOf(await open(thief))).toBe(null)
    await phone.goto("/sign-in")
    await phone.getByLabel("Name").fill("Ada")
    await phone.getByLabel("Password").fill(PASSWORD)
    await press(phone, "Sign in")
    expect(await phone.getByRole("alert").count()).toBe(1)
  })

  test("a refused new password changes nothing, and leads back to the account", async () => {
    const { laptop, phone } = await ada()
    await laptop.getByLabel("Current password").fill("wrong wrong")
    await laptop.getByLabel("New password").fill("battery staple")
    await press(laptop, "Change password")
    expect(await laptop.getByRole("alert").textContent()).toBe("That is not your current password.")
    await press(laptop, "Use the dark theme")
    expect(new URL(laptop.url()).pathname).toBe("/account")
    expect(await visitorOf(phone)).toBe("Ada")
  })

  test("nobody signs out somebody else's device", async () => {
    const { shop } = await ada()
    const mallory = await open(await shop.browser())
    await signUp(mallory, "Mallory")
    const [device] = await shop.demo.sessions.listByUser(1)
    const answer = await mallory
      .context()
      .request.post("/account/sign-out-there", { form: { id: device!.id } })
    expect(answer.status()).toBe(200)
    expect(await shop.demo.sessions.listByUser(1)).toHaveLength(2)
  })
})

describe.skipIf(chromiumPath === undefined)("requests under way", () => {
  /** Says who asks, waits at the gate, and then does something to the session that was opened before. */
  function late(gate: Gate, act: (session: Session) => unknown): Handler {
    return async ({ session }) => {
      await gate.pass()
      await act(session as unknown as Session)
      return textPage(`user ${(await session.userId()) ?? "nobody"}`)
    }
  }

  test("a rotation with grace loses none of the requests that race it", async () => {
    const gate = new Gate()
    const shop = await openShop({
      wrapStore: slowStore(5),
      routes: {
        "GET /rotate": late(gate, (session) => session.cycleId({ grace: "30s" })),
        "GET /one": late(gate, (session) => session.set("one", 1)),
        "GET /two": late(gate, async (session) => {
          // Long after the rotation, with the ticket from before it.
          await sleep(150)
          session.set("two", 2)
        }),
        "GET /kept": async ({ session }) => textPage((await session.keys()).sort().join(" ")),
      },
    })
    const browser = await shop.browser()
    const page = await open(browser)
    await signUp(page, "Ada")
    const before = await cookieOf(browser)
    const answers = ["/rotate", "/one", "/two", "/rotate?again"].map((path) => fetchText(page, path))
    await gate.waitFor(4)
    gate.open()
    for (const answer of await Promise.all(answers)) expect(answer).toContain("user 1")
    expect(shop.errors).toEqual([])
    expect((await cookieOf(browser)).value).not.toBe(before.value)
    expect(await visitorOf(page)).toBe("Ada")
    expect(await fetchText(page, "/kept")).toContain("<p>one two</p>")
    expect(await shop.demo.sessions.listByUser(1)).toHaveLength(1)
  })

  test("a sign-in leaves requests with the ticket before it outside, and is not undone by them", async () => {
    const gate = new Gate()
    const shop = await openShop({
      routes: {
        "GET /late": late(gate, (session) => session.set("notice", "late")),
        "GET /late-theme": late(gate, (session) => session.client.set("theme", "dark")),
      },
    })
    const browser = await shop.browser()
    const page = await open(browser)
    await press(page, "Add Umbrella to the cart")
    const other = await open(browser, "/about")
    const answers = ["/late", "/late-theme"].map((path) => fetchText(other, path))
    await gate.waitFor(2)
    await signUp(page, "Ada")
    const signedIn = await cookieOf(browser)
    gate.open()
    for (const answer of await Promise.all(answers)) expect(answer).toContain("user nobody")
    expect(await cookieOf(browser)).toEqual(signedIn)
    expect(await visitorOf(page)).toBe("Ada")
    expect(await page.getByText("late", { exact: true }).count()).toBe(0)
    expect(await quantityOf(page, "umbrella")).toBe(1)
  })

  const acts: [name: string, act: (session: Session) => unknown][] = [
    ["writes", (session) => session.set("notice", "late")],
    ["changes client state", (session) => session.client.set("theme", "dark")],
    ["rotates", (session) => session.cycleId({ grace: "30s" })],
    ["sets an expiry", (session) => session.setExpiry({ idle: "7d" })],
    ["ends the session", (session) => session.invalidate()],
  ]

  /** A signed-in browser with requests under way, one for each act, whether or not it has read the session before. */
  async function busyBrowser() {
    const gate = new Gate()
    const routes: Routes = {}
    const paths = acts.flatMap(([, act], index) => {
      routes[`GET /blind-${index}`] = late(gate, act)
      routes[`GET /loaded-${index}`] = async (visit) => {
        await visit.session.get("cart")
        return late(gate, act)(visit)
      }
      return [`/blind-${index}`, `/loaded-${index}`]
    })
    const shop = await openShop({ routes })
    const browser = await shop.browser()
    const page = await open(browser)
    await signUp(page, "Bob")
    await page.goto("/account")
    await press(page, "Sign out")
    await signUp(page, "Ada")
    // From outside the browser, which opens six connections at most: the cookies are taken from its jar and put into it all the same.
    const answers = paths.map((path) => browser.request.get(path))
    await gate.waitFor(paths.length)
    const end = async (): Promise<void> => {
      gate.open()
      for (const answer of await Promise.all(answers)) expect(answer.status()).toBe(200)
    }
    return { shop, browser, page, end }
  }

  test("G5: what ends after a logout neither brings the session back nor its cookie", async () => {
    const { shop, browser, page, end } = await busyBrowser()
    const signedIn = await cookieOf(browser)
    await page.goto("/account")
    await press(page, "Sign out")
    const signedOut = await cookieOf(browser)
    expect(signedOut.value).not.toBe(signedIn.value)
    await end()
    expect(await cookieOf(browser)).toEqual(signedOut)
    expect(await visitorOf(page)).toBe(null)
    expect(await page.getByText("late", { exact: true }).count()).toBe(0)
    expect(await page.locator("html").getAttribute("data-theme")).toBe(null)
    expect(await shop.demo.sessions.listByUser(2)).toEqual([])
    const thief = await shop.browser()
    await thief.addCookies([signedIn])
    expect(await visitorOf(await open(thief))).toBe(null)
  })

  test("G5: what ends after a new login leaves the new login's cookie alone", async () => {
    const { shop, browser, page, end } = await busyBrowser()
    await page.goto("/account")
    await press(page, "Sign out")
    await signIn(page, "Bob", true)
    const bob = await cookieOf(browser)
    await end()
    expect(await cookieOf(browser)).toEqual(bob)
    expect(await visitorOf(page)).toBe("Bob")
    expect(await page.getByText("late", { exact: true }).count()).toBe(0)
    expect(await shop.demo.sessions.listByUser(2)).toEqual([])
    expect(await shop.demo.sessions.listByUser(1)).toHaveLength(1)
  })

  test("G5: what ends after a sign-out from another browser does not bring the session back", async () => {
    const { shop, browser, page, end } = await busyBrowser()
    const other = await open(await shop.browser())
    await signIn(other, "Ada")
    await other.goto("/account")
    await press(other, "Sign out everywhere else")
    const before = await cookieOf(browser)
    await end()
    expect(await cookieOf(browser)).toEqual(before)
    expect(await visitorOf(page)).toBe(null)
    expect(await shop.demo.sessions.listByUser(2)).toHaveLength(1)
  })
})

describe.skipIf(chromiumPath === undefined)("what goes wrong", () => {
  test("a form of another site, or of another port, changes nothing", async () => {
    const shop = await openShop()
    const hosts = ["localhost", "127.0.0.1"]
    for (const host of hosts) {
      const attack = markup`<form method="post" action="${shop.url}/cart/add">
        <button name="product" value="trench">Win a prize</button>
      </form>`
      const evil = await openShop({
        host,
        routes: { "GET /prize": () => ({ title: "Prize", bare: true, content: attack }) },
      })
      const page = await open(await shop.browser())
      await press(page, "Add Umbrella to the cart")
      await page.goto(`${evil.url}/prize`)
      await press(page, "Win a prize")
      expect(await page.locator(".status").textContent()).toBe("403")
      expect(await quantityOf(page, "trench")).toBe(0)
      expect(await quantityOf(page, "umbrella")).toBe(1)
    }
  })

  test("G11: a store that is down is said so on a page, and afterwards all is as before", async () => {
    let isDown = false
    const shop = await openShop({
      wrapStore: intercepted((operate) => (isDown ? Promise.reject(new Error("down")) : operate())),
      routes: { "GET /broken": () => Promise.reject(new Error("broken")) },
    })
    const page = await open(await shop.browser())
    await press(page, "Add Umbrella to the cart")
    isDown = true
    expect((await page.goto("/cart"))?.status()).toBe(503)
    expect(await page.getByRole("heading").textContent()).toBe("The cloakroom is closed")
    expect((await page.goto("/about"))?.status()).toBe(200)
    isDown = false
    expect(await quantityOf(page, "umbrella")).toBe(1)
    expect((await page.goto("/broken"))?.status()).toBe(500)
    expect((await page.goto("/nowhere"))?.status()).toBe(404)
    expect(shop.errors).toHaveLength(2)
  })

  test("G7: the view of what is stored shows nobody's ticket, and its key is no ticket", async () => {
    const shop = await openShop()
    const browser = await shop.browser()
    const page = await open(browser)
    await signUp(page, "Ada")
    await page.goto("/stored")
    const cookie = await cookieOf(browser)
    const shown = await page.content()
    const [device] = await shop.demo.sessions.listByUser(1)
    expect(shown).toContain(device!.id)
    expect(shown).toContain(cookie.value.slice(0, 8))
    expect(shown).not.toContain(cookie.value.slice(0, 20))

    const thief = await shop.browser()
    await thief.addCookies([{ ...cookie, value: device!.id }])
    const stranger = await open(thief, "/stored")
    expect(await stranger.content()).not.toContain(device!.id)
    expect(await visitorOf(stranger)).toBe(null)
  })
})
