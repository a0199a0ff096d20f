import { reactRouter } from "@react-router/dev/vite"
import { defineConfig } from "vite"

export default defineConfig({
  plugins: [reactRouter()],
  // Where coatcheck is installed, this is so by itself. In its own repository it has to be said.
  environments: { ssr: { build: { rolldownOptions: { external: [/^coatcheck(?:\/|$)/] } } } },
})
