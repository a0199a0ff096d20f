import { spawn } from "node:child_process"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Page } from "./markdown.ts"

/** One module made of a `ts` block and of the `ts continue` blocks that go on with it. */
export interface Program {
  /** Where it starts, such as `README.md:12`. */
  readonly name: string
  /** The name of its file. */
  readonly file: string
  /** Its lines have the numbers they have on the page, so that errors point there. */
  readonly source: string
  /** `check`: its types alone. `worker`: the same, with the types of Workers. `run`: it is run to its end. `serve`: it is a server on port 3000. */
  readonly mode: "check" | "worker" | "run" | "serve"
  /** What it is type-checked with: those about frameworks need the types of the web, and other libraries change the types of frameworks. */
  readonly place: "programs" | "frameworks" | "peers"
}

/** What a block of TypeScript may say behind its fence. */
const MODES: Readonly<Record<string, Program["mode"]>> = {
  ts: "check",
  "ts worker": "worker",
  "ts run": "run",
  "ts serve": "serve",
  tsx: "check",
}

export function isTypeScript(info: string): boolean {
  return info in MODES || info === "ts continue"
}

export function programsOf(page: Page): Program[] {
  const framework = page.path.startsWith("docs/frameworks")
  const place = page.path === "docs/migrating.md" ? "peers" : framework ? "frameworks" : "programs"
  const programs: { line: number; mode: Program["mode"]; extension: string; lines: string[] }[] = []
  for (const { info, line, code } of page.blocks) {
    if (!isTypeScript(info)) continue
    const mode = MODES[info]
    if (mode !== undefined) programs.push({ line, mode, extension: info.split(" ")[0] as string, lines: [] })
    const program = programs.at(-1)
    if (program === undefined) throw new Error(`${page.path}:${line} goes on with nothing.`)
    while (program.lines.length < line - 1) program.lines.push("")
    program.lines.push(...code.split("\n"))
  }
  return programs.map(({ line, mode, extension, lines }) => ({
    name: `${page.path}:${line}`,
    place,
    file: `${page.path.replaceAll("/", ".")}.${line}.${extension}`,
    source: `${lines.join("\n")}\nexport {}\n`,
    mode,
  }))
}

/** A folder from which `coatcheck` and the packages of the repository can be imported. */
export interface Workshop {
  readonly folder: string
  fileOf(program: Program): string
  /** Starts a server on another port than its own. */
  serve(program: Program, port: number): Server
  /** Type-checks every program at once. @returns what is wrong, by the name of the program. */
  typeCheck(): Promise<Map<string, string[]>>
  remove(): Promise<void>
}

export interface Server {
  /** Waits until the server answers. */
  fetch(url: string): Promise<Response>
  stop(): Promise<void>
}

export async function openWorkshop(root: string, programs: readonly Program[]): Promise<Workshop> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "docs-")))
  await symlink(join(root, "node_modules"), join(folder, "node_modules"), "junction")
  await Promise.all(["programs", "workers", "frameworks", "peers"].map((name) => mkdir(join(folder, name))))
  const fileOf = ({ file, mode, place }: Program): string =>
    join(folder, mode === "worker" ? "workers" : place, file)
  await Promise.all(programs.map((program) => writeFile(fileOf(program), program.source)))
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }))
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify(settings(root, "programs", "node")))
  const workers = settings(root, "workers", "@cloudflare/workers-types")
  await writeFile(join(folder, "tsconfig.workers.json"), JSON.stringify(workers))
  const frameworks = settings(root, "frameworks", "node", WEB)
  await writeFile(join(folder, "tsconfig.frameworks.json"), JSON.stringify(frameworks))
  const peers = settings(root, "peers", "node", WEB)
  await writeFile(join(folder, "tsconfig.peers.json"), JSON.stringify(peers))
  return {
    folder,
    fileOf,
    serve(program, port) {
      const file = join(folder, "programs", `on-${port}.ts`)
      writeFileSync(file, program.source.replaceAll("3000", String(port)))
      return startServer(file, folder)
    },
    async typeCheck() {
      const tsc = join(root, "node_modules", ".bin", "tsc")
      const checks = [
        await run(tsc, ["-p", "."], folder),
        await run(tsc, ["-p", "tsconfig.workers.json"], folder),
        await run(tsc, ["-p", "tsconfig.frameworks.json"], folder),
        await run(tsc, ["-p", "tsconfig.peers.json"], folder),
      ]
      const output = checks.map((check) => check.output).join("")
      const problems = new Map<string, string[]>()
      for (const line of output.split("\n")) {
        const [, file, at, message] =
          /^(?:programs|workers|frameworks|peers)[/\\](.+)\.\d+\.tsx?\((\d+),\d+\): (.*)$/.exec(line) ?? []
        if (file === undefined) continue
        const program = programs.find(({ file: own }) => line.includes(own)) as Program
        const place = `${program.name.replace(/:\d+$/, "")}:${at}: ${message}`
        problems.set(program.name, [...(problems.get(program.name) ?? []), place])
      }
      // Problems of the sources are told by the type check of the sources.
      for (const check of checks) {
        if (check.code !== 0 && !/\(\d+,\d+\): error/.test(check.output)) {
          throw new Error(`tsc failed:\n${check.output}`)
        }
      }
      return problems
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

const WEB = { lib: ["es2024", "dom", "dom.iterable"], skipLibCheck: true, jsx: "react-jsx" }

function settings(root: string, folder: string, types: string, own: object = {}): object {
  return {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      // Examples export what a reader will import, without spelling its type out.
      declaration: false,
      isolatedDeclarations: false,
      // And they show what is there rather than use it.
      noUnusedLocals: false,
      noUnusedParameters: false,
      // Examples speak of what every runtime has, `console` and `Response` included.
      lib: ["es2024"],
      types: [types],
      pretty: false,
      ...own,
    },
    include: [folder],
    exclude: [],
  }
}

/** As a newcomer would start it: for development, without a key. */
function startServer(file: string, cwd: string): Server {
  const preload = new URL("./sources.ts", import.meta.url).href
  const env = { ...process.env, NODE_ENV: "development", SESSION_KEY: undefined }
  const child = spawn(process.execPath, ["--import", preload, file], {
    cwd,
    env,
    stdio: ["ignore", "ignore", "pipe"],
  })
  let errors = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text))
  const closed = once(child, "close")
  return {
    async fetch(url) {
      for (let attempt = 0; ; attempt++) {
        try {
          return await fetch(url)
        } catch (cause) {
          if (child.exitCode !== null || attempt === 200) throw new Error(`No answer. ${errors}`, { cause })
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
      }
    },
    async stop() {
      child.kill()
      await closed
    },
  }
}

export interface Ended {
  readonly code: number | null
  readonly output: string
}

export function run(command: string, args: readonly string[], cwd: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      stdio: ["ignore", "pipe", "pipe"],
      shell: process.platform === "win32",
    })
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text))
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, output }))
  })
}
