/**
 * Adds to package-lock.json the platform packages (such as `@scope/tool-darwin-arm64`) that npm left out because
 * the registry at hand did not list them: without the entries `npm ci` fails under npm 12, and leaves the tool
 * without its program on that platform under older ones. `--check` only reports.
 */
import { readFileSync, writeFileSync } from "node:fs"

const file = "package-lock.json"
const systems = ["darwin", "win32", "android", "freebsd", "openharmony", "linux"]
// Last, what runs on any system.
const processors = ["arm64", "x64", "ia32", "arm", "ppc64", "riscv64", "s390x", "loong64", "wasm32"]

const lock = JSON.parse(readFileSync(file, "utf8"))
const missing = missingPackages(lock.packages)
const names = missing.map(({ name }) => name)

if (missing.length === 0) {
  console.log(`${file} names the packages of every platform.`)
} else if (process.argv.includes("--check")) {
  console.error(`${file} lacks ${names.join(", ")}. To add them: npm run lock:platforms`)
  process.exitCode = 1
} else {
  for (const { name, version } of missing) lock.packages[`node_modules/${name}`] = entryOf(name, version)
  const [root, ...rest] = Object.entries(lock.packages)
  rest.sort(([a], [b]) => a.localeCompare(b, "en"))
  lock.packages = Object.fromEntries([root, ...rest])
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
  console.log(`Added ${names.join(", ")}.`)
}

function missingPackages(packages) {
  const found = []
  for (const [path, { optionalDependencies = {} }] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      if (packages[`node_modules/${name}`] || packages[`${path}/node_modules/${name}`]) continue
      found.push({ name, version })
    }
  }
  return found
}

/** The platform is read off the name: these packages are called after what they run on. */
function entryOf(name, version) {
  const parts = name.split(/[/-]/)
  const cpu = processors.find((processor) => parts.includes(processor))
  const os = systems.find((system) => parts.includes(system) || parts.includes(`${system}musl`))
  if (!cpu || (!os && cpu !== "wasm32"))
    throw new Error(`No platform can be read off the name ${name}; add it to ${file} by hand.`)
  const libc = parts.some((part) => part.endsWith("musl"))
    ? "musl"
    : parts.some((part) => /^(gnu|glibc)$/.test(part))
      ? "glibc"
      : undefined
  return {
    version,
    cpu: [cpu],
    dev: true,
    ...(libc && { libc: [libc] }),
    optional: true,
    ...(os && { os: [os] }),
  }
}
