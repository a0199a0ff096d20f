import { spawn } from "node:child_process"
import { constants } from "node:os"

const signals = ["SIGINT", "SIGTERM", "SIGHUP"]

/**
 * Runs a program to its end. With `capture` its output is collected instead of shown.
 * @returns {Promise<{ code: number, output: string }>} the exit code, 128 + n if signal n ended it
 */
export function run(command, args, { cwd, env, capture = false } = {}) {
  return new Promise((resolve, reject) => {
    const stdio = capture ? ["ignore", "pipe", "pipe"] : "inherit"
    const child = spawn(command, args, { cwd, env, stdio, shell: process.platform === "win32" })
    const chunks = []
    child.stdout?.on("data", (chunk) => chunks.push(chunk))
    child.stderr?.on("data", (chunk) => chunks.push(chunk))
    const stopForwarding = forwardSignals(child)
    const stopWatching = endWithNpm(child)
    child.once("error", (error) => {
      stopForwarding()
      stopWatching()
      reject(error)
    })
    child.once("close", (code, signal) => {
      stopForwarding()
      stopWatching()
      resolve({ code: code ?? 128 + constants.signals[signal], output: Buffer.concat(chunks).toString() })
    })
  })
}

/** A terminal sends Ctrl-C to the whole process group itself; the child must not get it twice. */
function forwardSignals(child) {
  const forward = (signal) => {
    if (signal === "SIGINT" && process.stdin.isTTY) return
    child.kill(signal)
  }
  for (const signal of signals) process.on(signal, forward)
  return () => {
    for (const signal of signals) process.off(signal, forward)
  }
}

/**
 * npm runs a script through a shell, and a signal sent to npm ends that shell without reaching us: that our parent
 * has changed is then the only sign.
 */
function endWithNpm(child) {
  if (process.env.npm_lifecycle_event === undefined) return () => {}
  const parent = process.ppid
  const watch = setInterval(() => process.ppid !== parent && child.kill("SIGTERM"), 250)
  return () => clearInterval(watch)
}
