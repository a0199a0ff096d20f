import { reactRouter } from "@react-router/dev/vite"
import { defineConfig, type UserConfig } from "vite"

const config: UserConfig = defineConfig({
  plugins: [reactRouter()],
  logLevel: "warn",
  // As it is when it is installed.
  environments: { ssr: { build: { rolldownOptions: { external: [/^coatcheck(?:\/|$)/] } } } },
})

export default config
