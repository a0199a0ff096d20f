import { registerHooks } from "node:module"

/**
 * Preloaded with `node --import`, it lets a program import `coatcheck` from the sources, which Node runs as they are. The package's own
 * exports lead to what is built.
 */
const SOURCES: Readonly<Record<string, string>> = {
  "#crypto": "crypto/node.ts",
  coatcheck: "index.ts",
  "coatcheck/memory": "stores/memory.ts",
  "coatcheck/sqlite": "stores/sqlite.ts",
  "coatcheck/mysql": "stores/mysql.ts",
  "coatcheck/postgres": "stores/postgres.ts",
  "coatcheck/redis": "stores/redis.ts",
  "coatcheck/d1": "stores/d1.ts",
  "coatcheck/kv": "stores/kv.ts",
  "coatcheck/unstorage": "stores/unstorage.ts",
  "coatcheck/cached": "stores/cached.ts",
  "coatcheck/context": "adapters/context.ts",
  "coatcheck/cloudflare": "adapters/cloudflare.ts",
  "coatcheck/node": "adapters/node.ts",
  "coatcheck/express": "adapters/express.ts",
  "coatcheck/fastify": "adapters/fastify.ts",
  "coatcheck/hono": "adapters/hono.ts",
  "coatcheck/koa": "adapters/koa.ts",
  "coatcheck/next": "adapters/next.ts",
  "coatcheck/h3": "adapters/h3.ts",
  "coatcheck/sveltekit": "adapters/sveltekit.ts",
  "coatcheck/react-router": "adapters/react-router.ts",
  "coatcheck/astro": "adapters/astro.ts",
  "coatcheck/testing": "testing/index.ts",
}

const src = new URL("../../src/", import.meta.url)

registerHooks({
  resolve(specifier, context, next) {
    const source = SOURCES[specifier]
    return next(source === undefined ? specifier : new URL(source, src).href, context)
  },
})
