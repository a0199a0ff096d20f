import { fileURLToPath } from "node:url"

/** @type {import("next").NextConfig} */
export default {
  turbopack: { root: fileURLToPath(new URL("../../../../", import.meta.url)) },
  // The types are checked by the tests' own project.
  typescript: { ignoreBuildErrors: true },
  experimental: { useTypeScriptCli: true, authInterrupts: true },
}
