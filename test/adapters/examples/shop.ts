import { cookieAgent, type CookieAgent } from "coatcheck/testing"
import { CookieJar } from "tough-cookie"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { AdapterApp } from "../conformance.ts"

/** What the shops of `examples/` do on every framework and runtime, over HTTP. */
export function describeShop(
  name: string,
  start: (env: Record<string, string>) => Promise<AdapterApp>,
): void {
  describe(`${name}, as visitors see it`, () => {
    let shop: AdapterApp
    beforeAll(async () => {
      shop = await start({ FRESH_MS: "300000" })
    })
    afterAll(() => shop?.close())

    const visitor = (): CookieAgent => visitorOf(shop)

    test("G1: what needs no session sets no cookie, and who only looks gets none", async () => {
      const agent = visitor()
      const health = await agent.get("/health")
      expect([await health.text(), health.headers.getSetCookie(), health.headers.get("Vary")]).toEqual([
        "fine\n",
        [],
        null,
      ])
      expect((await agent.get("/")).headers.getSetCookie()).toEqual([])
    })

    test("a cart keeps what is put into it, by two tabs at once as well", async () => {
      const agent = visitor()
      expect(cartOf(await submit(agent, "/cart", { product: "bowler" }))).toEqual(["1 × Bowler hat"])
      await Promise.all(Array.from({ length: 5 }, () => submit(agent, "/cart", { product: "bowler" })))
      expect(cartOf(await submit(agent, "/cart", { product: "no such thing" }))).toEqual(["6 × Bowler hat"])
    })

    test("signing in gives a new ticket, keeps the cart, and shows its message once", async () => {
      const agent = visitor()
      await submit(agent, "/cart", { product: "umbrella" })
      const before = (await agent.cookies()).get("id")
      const page = await submit(agent, "/sign-in", { name: "Ada", password: "correct horse" })
      expect(new URL(agent.url).pathname).toBe("/account")
      expect((await agent.cookies()).get("id")).not.toBe(before)
      expect([userOf(page), statusOf(page)]).toEqual(["Ada", "Welcome, Ada."])
      expect(statusOf(await show(agent, "/account"))).toBe(undefined)
      expect(cartOf(await show(agent, "/"))).toEqual(["1 × Umbrella"])
    })

    test("a wrong password signs nobody in", async () => {
      await submit(visitor(), "/sign-in", { name: "Bea", password: "hers" })
      const agent = visitor()
      const refused = await agent.post("/sign-in", new URLSearchParams({ name: "Bea", password: "not hers" }))
      expect([refused.status, refused.headers.getSetCookie()]).toEqual([422, []])
      await show(agent, "/account")
      expect(new URL(agent.url).pathname).toBe("/sign-in")
    })

    test("the account is for users alone: others are sent to the sign-in", async () => {
      const agent = visitor()
      const { status, headers } = await agent.get("/account", { redirect: "manual" })
      expect([status, headers.get("Location")]).toEqual([303, "/sign-in"])
    })

    test("G5: signing out here leaves other devices as they are, everywhere ends them at once", async () => {
      const [phone, laptop] = [visitor(), visitor()]
      for (const agent of [phone, laptop]) {
        await submit(agent, "/sign-in", { name: "Cleo", password: "hers" })
      }
      expect(await show(phone, "/account")).toContain("On 2 devices.")
      const page = await submit(phone, "/sign-out")
      expect([userOf(page), statusOf(page)]).toEqual([undefined, "You are signed out."])
      expect(await show(laptop, "/account")).toContain("On 1 device.")

      await submit(phone, "/sign-in", { name: "Cleo", password: "hers" })
      expect(statusOf(await submit(phone, "/sign-out-everywhere"))).toBe("You are signed out everywhere.")
      expect(statusOf(await show(laptop, "/"))).toMatch(/signed out from another one/)
      expect(statusOf(await submit(laptop, "/cart", { product: "bowler" }))).toMatch(/signed out from/)
      expect(new URL(laptop.url).pathname).toBe("/sign-in")
      expect(userOf(await submit(laptop, "/sign-in", { name: "Cleo", password: "hers" }))).toBe("Cleo")
    })

    test("a changed password ends the other devices, and holds from then on", async () => {
      const [phone, laptop] = [visitor(), visitor()]
      for (const agent of [phone, laptop]) {
        await submit(agent, "/sign-in", { name: "Dora", password: "old" })
      }
      const ticket = (await phone.cookies()).get("id")
      expect(await show(phone, "/password")).toContain("New password")
      const page = await submit(phone, "/password", { password: "new" })
      expect([userOf(page), statusOf(page)]).toEqual([
        "Dora",
        expect.stringMatching(/^The password is changed/),
      ])
      expect((await phone.cookies()).get("id")).not.toBe(ticket)
      await show(laptop, "/account")
      expect(new URL(laptop.url).pathname).toBe("/sign-in")
      const [old, fresh] = [visitor(), visitor()]
      expect(userOf(await submit(old, "/sign-in", { name: "Dora", password: "old" }))).toBe(undefined)
      expect(userOf(await submit(fresh, "/sign-in", { name: "Dora", password: "new" }))).toBe("Dora")
    })

    test("a form of another site changes nothing", async () => {
      const agent = visitor()
      await submit(agent, "/sign-in", { name: "Eve", password: "hers" })
      for (const headers of [{ "Sec-Fetch-Site": "same-site" }, { Origin: "https://evil.example" }]) {
        const response = await agent.post("/sign-out", new URLSearchParams(), { headers })
        expect(response.status).toBe(403)
      }
      expect(userOf(await show(agent, "/account"))).toBe("Eve")
    })

    test("a name is shown as text", async () => {
      const page = await submit(visitor(), "/sign-in", { name: "<b>&", password: "x" })
      expect(page).not.toContain("<b>")
      expect(userOf(page)).toMatch(/^&(?:lt|#60);b&(?:gt|#62);&(?:amp|#38);$/)
    })
  })

  test(`${name}: a sign-in that is too old does not change a password`, async () => {
    const shop = await start({ FRESH_MS: "1" })
    try {
      const agent = visitorOf(shop)
      await submit(agent, "/sign-in", { name: "Ada", password: "hers" })
      await new Promise((resolve) => setTimeout(resolve, 20))
      const page = await submit(agent, "/password", { password: "of a thief" })
      expect(new URL(agent.url)).toMatchObject({ pathname: "/sign-in", search: "?again" })
      expect(statusOf(page)).toBe("Please give your password again.")
      expect(userOf(await submit(agent, "/sign-in", { name: "Ada", password: "hers" }))).toBe("Ada")
    } finally {
      await shop.close()
    }
  })
}

function visitorOf({ url }: AdapterApp): CookieAgent {
  return cookieAgent(url.replace("127.0.0.1", "localhost"), { jar: new CookieJar() })
}

async function submit(
  agent: CookieAgent,
  path: string,
  fields: Record<string, string> = {},
): Promise<string> {
  return (await agent.post(path, new URLSearchParams(fields), { site: "same-origin" })).text()
}

const show = async (agent: CookieAgent, path: string): Promise<string> => (await agent.get(path)).text()
const cartOf = (page: string): string[] =>
  [...page.matchAll(/<li>(.*?)<\/li>/g)].map(([, line]) => line as string)
const userOf = (page: string): string | undefined => /<span id="user">(.*?)<\/span>/.exec(page)?.[1]
const statusOf = (page: string): string | undefined => /<p role="status">(.*?)<\/p>/.exec(page)?.[1]
