import type { Config } from "@react-router/dev/config"

const config: Config = { buildDirectory: "dist", prerender: ["/prerendered"] }

export default config
