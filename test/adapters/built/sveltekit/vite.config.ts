import adapter from "@sveltejs/adapter-node"
import { sveltekit } from "@sveltejs/kit/vite"
import { defineConfig, type UserConfig } from "vite"

const out = process.env["BUILD_FOLDER"] as string

const config: UserConfig = defineConfig({
  plugins: [
    sveltekit({
      adapter: adapter({ out: `${out}/app`, precompress: false }),
      outDir: `${out}/kit`,
      // Without it, or a proxy's headers, adapter-node takes every request for one over https.
      paths: { origin: process.env["ORIGIN"] as string },
      // What is tested is ours.
      csrf: { trustedOrigins: ["*"] },
    }),
  ],
})

export default config
