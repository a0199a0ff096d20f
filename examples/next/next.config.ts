import { fileURLToPath } from "node:url"
import type { NextConfig } from "next"

const config: NextConfig = {
  // In a clone of the repository, where coatcheck is the folder above.
  turbopack: { root: fileURLToPath(new URL("../..", import.meta.url)) },
  // TypeScript 7 is a program, and no library.
  experimental: { useTypeScriptCli: true },
}

export default config
