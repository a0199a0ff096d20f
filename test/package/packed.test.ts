import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import {
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises"
import { homedir, tmpdir } from "node:os"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { requireProgram } from "../support/programs.ts"

const execute = promisify(execFile)
const root = fileURLToPath(new URL("../..", import.meta.url))

interface Manifest {
  exports: Record<string, string | { types: string; default: string }>
}

const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as Manifest

/** Every subpath that holds code, so that a new one is covered without being named here. */
const subpaths = Object.entries(manifest.exports).flatMap(([subpath, target]) =>
  typeof target === "string" ? [] : [`coatcheck${subpath.slice(1)}`],
)

/** Imported for its effect alone. */
const withoutExports = ["coatcheck/node-crypto"]

/** Adapters, and the package of the framework that their users have. */
const frameworks: Readonly<Record<string, string>> = {
  "coatcheck/astro": "astro",
  "coatcheck/fastify": "fastify",
  "coatcheck/h3": "h3",
  "coatcheck/hono": "hono",
  "coatcheck/koa": "@types/koa",
  "coatcheck/next": "next",
  "coatcheck/react-router": "react-router",
  "coatcheck/sveltekit": "@sveltejs/kit",
}
const withoutFramework = subpaths.filter((subpath) => !(subpath in frameworks))

/** These speak of `node:http` in their types, so their users have the types of Node.js. */
const needsNodeTypes = ["coatcheck/node", "coatcheck/express"]

const modules = join(root, "node_modules")
const otherNodes = join(root, "test", "node-versions", "node_modules")
const platform = `${process.platform}-${process.arch}`

const runtimes = [
  { name: "Node.js 22", program: nodeVersion(22), args: [] },
  { name: "Node.js 24", program: process.execPath, args: [] },
  { name: "Node.js 26", program: nodeVersion(26), args: [] },
  { name: "Bun", program: requireProgram("bun", [join(modules, ".bin", "bun")]), args: [] },
  {
    name: "Deno",
    program: requireProgram("deno", [join(modules, ".bin", "deno")]),
    args: ["run", "--allow-all"],
  },
]

function nodeVersion(major: number): string | undefined {
  return requireProgram(`node${major}`, [join(otherNodes, `node${major}-${platform}`, "bin", "node")])
}

let folder: string
let project: string
let installed: string

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "packed-")))
  await execute("npm", ["pack", "--pack-destination", folder], { cwd: root })
  const [tarball] = await readdir(folder)
  project = join(folder, "project")
  installed = join(project, "node_modules", "coatcheck")
  await mkdir(project)
  await writeFile(
    join(project, "package.json"),
    JSON.stringify({ name: "project", private: true, type: "module" }),
  )
  await execute("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", join(folder, tarball!)], {
    cwd: project,
  })
  await copyFile(join(root, "test", "package", "smoke.mjs"), join(project, "smoke.mjs"))
  await writeFile(join(project, "subpaths.json"), JSON.stringify(withoutFramework))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

describe("the installed package", () => {
  for (const { name, program, args } of runtimes) {
    test.skipIf(program === undefined)(`can be imported whole and keeps a session on ${name}`, async () => {
      const { stdout } = await execute(program!, [...args, "smoke.mjs"], { cwd: project })
      const { exported, views } = JSON.parse(stdout) as { exported: Record<string, string[]>; views: object }
      for (const subpath of withoutFramework.filter((each) => !withoutExports.includes(each))) {
        expect(exported[subpath], subpath).not.toEqual([])
      }
      expect(Object.values(exported).flat()).not.toContain("default")
      expect(views).toEqual({ memory: [1, 2, 3], sqlite: [1, 2, 3] })
    })
  }

  test("runs on the release named Node.js 24 here", () => {
    expect(process.version).toMatch(/^v24\./)
  })

  test("prints a fresh key of at least 32 bytes on `npx coatcheck key`", async () => {
    const keys = await Promise.all([key(), key()])
    expect(keys[0]).toMatch(/^\S{43,}$/)
    expect(keys[0]).not.toBe(keys[1])
  })

  async function key(): Promise<string> {
    const { stdout } = await execute("npx", ["--no-install", "coatcheck", "key"], { cwd: project })
    return stdout.trim()
  }

  test("brings nothing but its two dependencies", async () => {
    const packages = await readdir(join(project, "node_modules"))
    expect(packages.filter((name) => !name.startsWith("."))).toEqual(["@noble", "coatcheck"])
    expect(await readdir(join(project, "node_modules", "@noble"))).toEqual(["ciphers", "hashes"])
  })
})

describe("a strict TypeScript project", () => {
  test("type-checks the subpaths without the types of Node.js", async () => {
    await typeCheck(
      "web",
      withoutFramework.filter((each) => !needsNodeTypes.includes(each)),
      { lib: ["es2022", "dom"], types: [] },
    )
  })

  test("type-checks every subpath with the types of Node.js and without the DOM's", async () => {
    await mkdir(join(project, "node_modules", "@types"))
    for (const name of ["@types/node", "undici-types"]) {
      await symlink(join(modules, name), join(project, "node_modules", name))
    }
    await typeCheck("node", withoutFramework, { lib: ["es2022"], types: ["node"] })
  })

  describe("that has the frameworks", () => {
    beforeAll(async () => {
      for (const name of new Set([...Object.values(frameworks), "react", "react-dom", "koa"])) {
        const link = join(project, "node_modules", name)
        await mkdir(dirname(link), { recursive: true })
        await symlink(join(modules, name), link)
      }
    })

    test("type-checks their adapters", async () => {
      // Not every framework compiles by itself, but whatever is ours does.
      const output = await compile("frameworks", Object.keys(frameworks), {
        lib: ["es2024", "dom", "dom.iterable"],
        types: ["node"],
      })
      const lines = output.split("\n")
      expect(lines.filter((line) => /^(?:frameworks\.ts|.*[/\\]coatcheck[/\\])/.test(line))).toEqual([])
    })

    test.each(Object.keys(frameworks))("imports %s", async (subpath) => {
      const script = `console.log(JSON.stringify(Object.keys(await import("${subpath}"))))`
      const { stdout } = await execute(process.execPath, ["--input-type=module", "-e", script], {
        cwd: project,
      })
      expect(JSON.parse(stdout)).toEqual(expect.arrayContaining([expect.stringMatching(/Sessions$/)]))
    })
  })

  async function typeCheck(name: string, specifiers: string[], options: object): Promise<void> {
    expect(await compile(name, specifiers, options)).toBe("")
  }

  /** @returns what the compiler prints. */
  async function compile(name: string, specifiers: string[], options: object): Promise<string> {
    const imports = specifiers.map((specifier, index) => `import * as module${index} from "${specifier}"\n`)
    const uses = specifiers.map((_, index) => `module${index}`).join(", ")
    const source = `${imports.join("")}export const modules: object[] = [${uses}]\n`
    const file = `${name}.ts`
    const config = {
      compilerOptions: { strict: true, skipLibCheck: false, module: "nodenext", noEmit: true, ...options },
      files: [file],
    }
    await writeFile(join(project, file), source)
    await writeFile(join(project, `tsconfig.${name}.json`), JSON.stringify(config))
    const tsc = join(modules, "typescript", "bin", "tsc")
    const { stdout } = await execute(process.execPath, [tsc, "-p", `tsconfig.${name}.json`], {
      cwd: project,
    }).catch((error: { stdout: string }) => error)
    return stdout
  }
})

describe("the tarball", () => {
  test("holds what the manifest promises, with readme and license", async () => {
    const files = await packedFiles()
    for (const target of Object.values(manifest.exports)) {
      const promised = typeof target === "string" ? [target] : [target.types, target.default]
      expect(files).toEqual(expect.arrayContaining(promised.map((path) => path.replace("./", ""))))
    }
    expect(files).toEqual(expect.arrayContaining(["LICENSE", "README.md", "package.json"]))
  })

  test("holds no tests, build state, databases or environment files", async () => {
    const unwanted = /\.test|test-helper|\.tsbuildinfo$|\.db|\.sqlite$|\.env|\.pem$|\.tgz$|(?<!\.d)\.ts$/
    expect((await packedFiles()).filter((file) => unwanted.test(file))).toEqual([])
  })

  test("holds no source map that points to nothing", async () => {
    for (const [file, text] of await packedTexts()) {
      const [, map] = /\/\/# sourceMappingURL=(\S+)/.exec(text) ?? []
      if (map !== undefined) expect(existsSync(join(installed, dirname(file), map)), file).toBe(true)
      if (!file.endsWith(".map")) continue
      for (const source of (JSON.parse(text) as { sources: string[] }).sources) {
        expect(existsSync(join(installed, dirname(file), source)), `${file} names ${source}`).toBe(true)
      }
    }
  })

  test("names no place of the machine it was built on and holds no secret", async () => {
    const places = [root.replace(/\/$/, ""), homedir(), tmpdir(), "file:///"].filter(
      (place) => place.length > 1,
    )
    for (const [file, text] of await packedTexts()) {
      if (!file.startsWith("dist/") && file !== "package.json") continue
      for (const place of places) expect(text.includes(`${place}/`), `${file} names ${place}`).toBe(false)
      expect(text, file).not.toMatch(
        /BEGIN [A-Z ]*PRIVATE KEY|\bnpm_[A-Za-z0-9]{36}|\bgh[pos]_[A-Za-z0-9]{36}/,
      )
    }
  })

  async function packedFiles(): Promise<string[]> {
    const entries = await readdir(installed, { recursive: true, withFileTypes: true })
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => relative(installed, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
  }

  async function packedTexts(): Promise<[file: string, text: string][]> {
    const files = await packedFiles()
    return Promise.all(
      files.map(async (file): Promise<[string, string]> => [
        file,
        await readFile(join(installed, file), "utf8"),
      ]),
    )
  }
})
