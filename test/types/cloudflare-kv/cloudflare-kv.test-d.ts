import { kvStore } from "coatcheck/kv"

// Apart from the others, for the declarations of Workers take the place of those of Node.js.
interface Env {
  readonly SESSIONS: KVNamespace
  readonly NAMED: KVNamespace<`session:${string}`>
  readonly BUCKET: R2Bucket
  readonly UNBOUND: KVNamespace | undefined
}

declare const env: Env
kvStore(env.SESSIONS)
kvStore(env.SESSIONS, { prefix: "shop:", cacheTtl: 60 })

// @ts-expect-error a bucket is not a namespace
kvStore(env.BUCKET)
// @ts-expect-error it may not be bound
kvStore(env.UNBOUND)
// @ts-expect-error seconds, as KV has them
kvStore(env.SESSIONS, { cacheTtl: "1m" })
