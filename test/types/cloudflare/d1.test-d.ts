import { type D1Binding, d1Store, type SqlStore } from "coatcheck/d1"
import { expectType, type Same } from "../expect-type.ts"

// Apart from the others, for the declarations of Workers take the place of those of Node.js.
interface Env {
  readonly DB: D1Database
  readonly SESSIONS: KVNamespace
  readonly BUCKET: R2Bucket
  readonly UNBOUND: D1Database | undefined
}

declare const env: Env
const store = d1Store(env.DB)
expectType<Same<typeof store, SqlStore>>()
d1Store(env.DB, { table: "visitors", replicas: true })
const binding: D1Binding = env.DB
d1Store(binding)
void store.migrate()
expectType<Same<ReturnType<typeof store.migrationSql>, string>>()

// @ts-expect-error -- a session of D1 reads from replicas
d1Store(env.DB.withSession("first-primary"))
// @ts-expect-error -- a namespace is not a database
d1Store(env.SESSIONS)
// @ts-expect-error -- a bucket is not a database
d1Store(env.BUCKET)
// @ts-expect-error -- it may not be bound
d1Store(env.UNBOUND)
// @ts-expect-error -- there is no such option
d1Store(env.DB, { replica: true })
// @ts-expect-error -- the clock is D1's
d1Store(env.DB, { clock: Date.now })
