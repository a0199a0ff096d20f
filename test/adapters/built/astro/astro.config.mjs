import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import node from "@astrojs/node"
import { defineConfig } from "astro/config"

const root = new URL("../../../../", import.meta.url)
const { exports } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"))

/** What is built is the sources, as every other test has them. */
const alias = Object.entries({ "#crypto": { default: "./dist/crypto/node.js" }, ...exports })
  .filter(([, target]) => typeof target !== "string")
  .map(([subpath, target]) => ({
    find: new RegExp(`^${subpath.replace(/^\./, "coatcheck")}$`),
    replacement: fileURLToPath(
      new URL(target.default.replace("./dist/", "src/").replace(/\.js$/, ".ts"), root),
    ),
  }))

export default defineConfig({
  output: "server",
  cacheDir: "dist/.astro",
  adapter: node({ mode: "middleware" }),
  // Astro's own sessions are off.
  session: false,
  security: {
    // It knows no other origin whose forms may be taken: `csrf` of the sessions does.
    checkOrigin: false,
    allowedDomains: [{ hostname: "shop.example" }],
  },
  devToolbar: { enabled: false },
  vite: {
    // The one that Astro needs is not the one that lies nearest.
    resolve: { alias, noExternal: ["cookie"] },
    cacheDir: "dist/.vite",
  },
})
