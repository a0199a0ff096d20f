import process from "node:process"
import { afterEach, expect, test, vi } from "vitest"
import { KeyRing } from "../cookie/key-ring.ts"
import { runCommand } from "./commands.ts"

afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = undefined
})

function run(...args: string[]): { code: number; output: string; errors: string } {
  let output = ""
  let errors = ""
  const code = runCommand(args, { write: (text) => (output += text) }, { write: (text) => (errors += text) })
  return { code, output, errors }
}

test("`key` prints one fresh key of 256 bits on a line of its own, and nothing else", () => {
  const { code, output, errors } = run("key")
  expect(code).toBe(0)
  expect(errors).toBe("")
  expect(output).toMatch(/^[A-Za-z0-9_-]{43}\n$/)
  expect(Buffer.from(output.trim(), "base64url")).toHaveLength(32)
  expect(run("key").output).not.toBe(output)
})

test("the printed key is one that createSessions takes", () => {
  expect(() => KeyRing.create([run("key").output.trim()])).not.toThrow()
})

test.each([["--help"], ["-h"], ["key", "--help"]])("`%s %s` explains the commands", (...args) => {
  const { code, output, errors } = run(...args)
  expect(code).toBe(0)
  expect(output).toContain("Usage: npx coatcheck <command>")
  expect(errors).toBe("")
})

test("without a command the usage goes to the error output", () => {
  const { code, output, errors } = run()
  expect(code).toBe(1)
  expect(output).toBe("")
  expect(errors).toMatch(/^Usage:/)
})

test.each([["keys"], ["key", "2"], ["__proto__"]])("`%s %s` is no command, and fails", (...args) => {
  const { code, output, errors } = run(...args)
  expect(code).toBe(1)
  expect(output).toBe("")
  expect(errors).toContain(`Unknown command: ${args.join(" ")}\n`)
  expect(errors).toContain("Usage:")
})

test("the program runs its arguments and sets the exit code", async () => {
  const written: unknown[] = []
  vi.spyOn(process.stderr, "write").mockImplementation((text) => written.push(text) > 0)
  vi.spyOn(process, "argv", "get").mockReturnValue(["node", "coatcheck", "nonsense"])
  await import("./main.ts")
  expect(process.exitCode).toBe(1)
  expect(written.join("")).toContain("Unknown command: nonsense")
})
