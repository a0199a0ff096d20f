import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"

/**
 * The path of a program that a test drives, or undefined if this machine lacks it: then the test is to be skipped
 * visibly (`test.skipIf(!program)`). Throws under CI, where a skipped test would prove nothing.
 * @param name looked for in PATH after the candidates
 * @param candidates absolute paths, tried in order
 */
export function requireProgram(name: string, candidates: readonly string[] = []): string | undefined {
  const inPath = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, name))
  const found = [...candidates, ...inPath].find(isExecutable)
  if (found !== undefined) return found
  if (isContinuousIntegration()) throw new Error(`${name} is missing, and CI skips no test for that.`)
  return undefined
}

function isContinuousIntegration(): boolean {
  return !["", "0", "false"].includes(process.env["CI"] ?? "")
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
