import adapter from "@sveltejs/adapter-node"
import { sveltekit } from "@sveltejs/kit/vite"
import { defineConfig } from "vite"

export default defineConfig({
  plugins: [
    sveltekit({
      adapter: adapter(),
      // Where it will be served. Without it adapter-node believes the headers that it is told to at run time, PROTOCOL_HEADER and HOST_HEADER.
      ...(process.env.ORIGIN === undefined ? undefined : { paths: { origin: process.env.ORIGIN } }),
    }),
  ],
})
