import { existsSync, readFileSync } from "node:fs"
import { expect, test } from "vitest"
import { adapterConformance } from "./conformance.ts"

const page = read("docs/frameworks.md")

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")
}

test("docs/frameworks.md has a row for every adapter that is exported", () => {
  const { exports } = JSON.parse(read("package.json")) as { exports: Record<string, unknown> }
  const adapters = Object.keys(exports).filter((subpath) =>
    existsSync(new URL(`../../src/adapters/${subpath.slice(2)}.ts`, import.meta.url)),
  )
  expect(adapters.length).toBeGreaterThan(5)
  // It is no adapter of anything, and named below the table.
  for (const subpath of adapters.filter((name) => name !== "./context")) {
    expect(page).toContain(`\`coatcheck/${subpath.slice(2)}\` `)
  }
})

test("docs/frameworks.md names the versions that are installed", () => {
  const rows = page.matchAll(/\| ((?:@?[\w-]+)(?:\/[\w-]+)?) (\d+\.\d+\.\d+)(?:, ([\d.]+))? +\|$/gm)
  const named = [...rows].map(([, name, ...versions]) => ({ name: name as string, versions }))
  expect(named.length).toBe(10)
  for (const { name, versions } of named) {
    expect([name, versions[0]]).toEqual([name, installed(name)])
    if (versions[1] !== undefined) expect([name, versions[1]]).toEqual([name, installed(`${name}-4`)])
  }
})

test("docs/frameworks.md counts the cases of the conformance suite", () => {
  const cases = adapterConformance(() => ({ url: "http://localhost", close: async () => undefined }))
  expect(cases.length).toBe(30)
  expect(page).toContain("thirty cases")
})

function installed(name: string): string {
  return (JSON.parse(read(`node_modules/${name}/package.json`)) as { version: string }).version
}
