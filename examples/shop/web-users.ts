/** The accounts of the shop, for as long as the process lives. Web Crypto is what all runtimes have. */
const users = new Map<string, { readonly salt: Uint8Array<ArrayBuffer>; readonly hash: Uint8Array }>()

/** As many as Workers allow; elsewhere take the 600,000 that OWASP asks for, or scrypt. */
const ITERATIONS = 100_000

/** Whether the password fits. A name that nobody has gets an account with it. */
export async function checkPassword(name: string, password: string): Promise<boolean> {
  const user = users.get(name)
  if (user === undefined) {
    await changePassword(name, password)
    return true
  }
  return isEqual(await derive(password, user.salt), user.hash)
}

export async function changePassword(name: string, password: string): Promise<void> {
  const salt = crypto.getRandomValues(new Uint8Array(16))
  users.set(name, { salt, hash: await derive(password, salt) })
}

async function derive(password: string, salt: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode(password), "PBKDF2", false, [
    "deriveBits",
  ])
  const settings = { name: "PBKDF2", hash: "SHA-256", salt, iterations: ITERATIONS }
  return new Uint8Array(await crypto.subtle.deriveBits(settings, key, 256))
}

/** In a time that tells nothing of where they differ. */
function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.reduce((difference, byte, index) => difference | (byte ^ (other[index] ?? -1)), 0) === 0
}
