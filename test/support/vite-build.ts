import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { createBuilder } from "vite"

/**
 * Builds the application in the working directory as `vite build` does, but with the sources of this library. A program of its own, for
 * frameworks look at the process they run in.
 */
const repository = fileURLToPath(new URL("../../", import.meta.url))

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>
}

function sources(): { find: RegExp; replacement: string }[] {
  const { exports } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as Manifest
  const aliases = [{ find: /^#crypto$/, replacement: join(repository, "src/crypto/node.ts") }]
  for (const [subpath, target] of Object.entries(exports)) {
    if (typeof target === "string") continue
    const source = target.default.replace(/^\.\/dist\//, "src/").replace(/\.js$/, ".ts")
    aliases.push({
      find: new RegExp(`^coatcheck${subpath.slice(1)}$`),
      replacement: join(repository, source),
    })
  }
  return aliases
}

const builder = await createBuilder({ resolve: { alias: sources() }, logLevel: "warn" }, null)
await builder.buildApp()
