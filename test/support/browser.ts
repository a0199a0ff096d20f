import { type Browser, chromium } from "playwright-core"
import { requireProgram } from "./programs.ts"

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
  if (chromiumPath === undefined) throw new Error("There is no Chromium on this machine.")
  const quiet = ["disable-quic", "no-first-run", "disable-background-networking", "disable-component-update"]
  return chromium.launch({
    executablePath: chromiumPath,
    args: ["headless", "no-sandbox", "disable-gpu", "disable-sync", ...quiet].map((flag) => `--${flag}`),
  })
}
