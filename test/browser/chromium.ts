import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type LaunchOptions,
} from "playwright-core"
import { requireProgram } from "../support/programs.ts"

/** Undefined where there is no Chromium: skip visibly. */
export const chromiumPath: string | undefined = requireProgram("chromium", [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
])

/** Starts Chromium without a window, and without anything that would have it talk to anyone but the test. */
export async function launchChromium(): Promise<Browser> {
  return chromium.launch(launchOptions())
}

/** The same with a profile in a folder, which keeps what a browser keeps when it is closed. */
export async function launchProfile(folder: string, options: BrowserContextOptions): Promise<BrowserContext> {
  return chromium.launchPersistentContext(folder, { ...launchOptions(), ...options })
}

function launchOptions(): LaunchOptions {
  if (chromiumPath === undefined) throw new Error("There is no Chromium on this machine.")
  const quiet = ["disable-quic", "no-first-run", "disable-background-networking", "disable-component-update"]
  return {
    executablePath: chromiumPath,
    args: ["headless", "no-sandbox", "disable-gpu", "disable-sync", ...quiet].map((flag) => `--${flag}`),
  }
}
