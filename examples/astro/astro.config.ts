import node from "@astrojs/node"
import { defineConfig } from "astro/config"

export default defineConfig({
  output: "server",
  adapter: node({ mode: "standalone" }),
  // Astro's own sessions are off: they would do nothing here.
  session: false,
  // Or `<ClientRouter />` fetches each page whose link is hovered over, and once more when it is opened. Links may ask for it.
  prefetch: { prefetchAll: false },
  cacheDir: "dist/.astro",
  vite: {
    cacheDir: "dist/.vite",
    // For this repository alone, where the library is no package among others, and the nearest `cookie` is not Astro's.
    resolve: { external: ["coatcheck", "coatcheck/astro", "coatcheck/sqlite"], noExternal: ["cookie"] },
  },
})
