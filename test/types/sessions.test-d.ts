import {
  type AnyState,
  type ConfigError,
  createSessions,
  type Finalized,
  type ResolvedExpiry,
  type Revocation,
  type Session,
  type SessionError,
  type Sessions,
  type SessionSummary,
  type SessionsOptions,
  type StateView,
  type StoreError,
} from "coatcheck"
import * as valibot from "valibot"
import { expectType, type Same } from "./expect-type.ts"

// Options: every member may be left out, and each wrong one is an error of its own.

createSessions()
createSessions({})
createSessions({ keys: [process.env["SESSION_KEY"]], ttl: "15m", absoluteTtl: 1000, clock: Date.now })
const none: SessionsOptions = { store: undefined, keys: undefined, cookie: undefined, ttl: undefined }
createSessions(none as Omit<SessionsOptions, "schema">)
// @ts-expect-error no such option
createSessions({ tll: "15m" })
// @ts-expect-error no duration
createSessions({ ttl: "15 minutes" })
// @ts-expect-error a list
createSessions({ keys: "secret" })
// @ts-expect-error no such choice
createSessions({ missingServerState: "create" })
// @ts-expect-error no such option of the cookie
createSessions({ cookie: { nme: "id" } })
// @ts-expect-error no store
createSessions({ store: {} })
// @ts-expect-error a schema is one for each key
createSessions({ schema: { server: valibot.string() } })

// The sessions and the session are of the types given, or inferred.

interface State {
  cart: string[]
  note?: string
}
interface ClientState {
  theme: "light" | "dark"
}
const sessions = createSessions<State, ClientState>()
expectType<Same<typeof sessions, Sessions<State, ClientState>>>()
const untyped = createSessions()
expectType<Same<typeof untyped, Sessions<AnyState, AnyState>>>()
const serverOnly = createSessions<State>().open(undefined)
expectType<Same<typeof serverOnly.client, StateView<AnyState>>>()
const session: Session<State, ClientState> = sessions.open(["id=1", "id=2"], {
  method: "GET",
  secure: undefined,
})

// `open` takes what runtimes have.

sessions.open(undefined)
sessions.open(new Request("http://localhost").headers.get("cookie"), { host: null, secFetchSite: null })
// @ts-expect-error nothing at all
sessions.open()

// Members.

expectType<Same<typeof session.id, string | undefined>>()
expectType<Same<typeof session.isNew, boolean>>()
expectType<Same<ReturnType<typeof session.userId>, Promise<string | null>>>()
expectType<Same<ReturnType<typeof session.signedInAt>, Promise<Date | null>>>()
expectType<Same<ReturnType<typeof session.expiry>, Promise<ResolvedExpiry | null>>>()
expectType<Same<ReturnType<typeof session.expiresAt>, Promise<Date>>>()
expectType<Same<ReturnType<typeof session.revokeOthers>, Promise<number>>>()
expectType<Same<ReturnType<typeof session.finalize>, Promise<Finalized>>>()
// @ts-expect-error a fact, not to be set
session.id = "x"
// @ts-expect-error the client state is written by its own members
session.client = serverOnly.client

const note = await session.get("note")
expectType<Same<typeof note, string | undefined>>()
session.set("note", "text")
// @ts-expect-error it is removed, not set to undefined
session.set("note", undefined)

session.setExpiry("browser-session")
session.setExpiry(null)
session.setExpiry({ idle: "15m", at: new Date(), cookie: "persistent" })
// @ts-expect-error no duration
session.setExpiry({ idle: "soon" })
// @ts-expect-error null is no time
session.setExpiry({ at: null })
session.cycleId({ grace: "30s" })
// @ts-expect-error no duration
session.cycleId({ grace: "a while" })

// `keep` knows the keys of both states; `transact` hands its result on, and refuses a promise only when it runs.

session.signIn("ann", { keep: ["cart", "theme"] })
// @ts-expect-error no list
session.signIn("ann", { keep: "cart" })
const size = await session.transact((state) => state.get("cart")?.length)
expectType<Same<typeof size, number | undefined>>()

// `handle` hands on the arguments of the runtime, with their types.

interface Environment {
  readonly region: string
}
const worker = sessions.handle(
  async (_request, own, environment: Environment, context: { waitUntil(): void }) => {
    expectType<Same<typeof own, Session<State, ClientState>>>()
    context.waitUntil()
    return new Response(environment.region)
  },
)
expectType<
  Same<
    typeof worker,
    (request: Request, environment: Environment, context: { waitUntil(): void }) => Promise<Response>
  >
>()
const plain = sessions.handle(() => new Response())
expectType<Same<typeof plain, (request: Request) => Promise<Response>>>()
// @ts-expect-error its argument is missing
void worker(new Request("http://localhost"))
// @ts-expect-error no argument is expected
void plain(new Request("http://localhost"), 1)
// @ts-expect-error no response
sessions.handle(() => "text")

// The sessions of users.

expectType<Same<ReturnType<typeof sessions.listByUser>, Promise<SessionSummary[]>>>()
const stop = sessions.onRevoked((revocation) => {
  expectType<Same<typeof revocation, Revocation>>()
  if (revocation.id === undefined) expectType<Same<typeof revocation.userId, string>>()
  else expectType<Same<typeof revocation.id, string>>()
})
expectType<Same<typeof stop, () => void>>()

// With a schema the input is set and the output is read, in both states.

const inferred = createSessions({
  schema: {
    server: { since: valibot.pipe(valibot.string(), valibot.isoDate(), valibot.toDate()) },
    client: { size: valibot.optional(valibot.number(), 10) },
  },
}).open(null)
inferred.set("since", "2030-01-01")
// @ts-expect-error the output is not what is stored
inferred.set("since", new Date())
const since = await inferred.get("since")
expectType<Same<typeof since, Date | undefined>>()
const view = await inferred.load()
expectType<Same<Awaited<ReturnType<typeof inferred.load>>, typeof view>>()
await inferred.load({ fresh: true })
await inferred.load({ fresh: undefined })
// @ts-expect-error no such option
await inferred.load({ stale: true })
view.set("since", "2030-01-01")
// @ts-expect-error nor in a view
view.set("since", new Date())
await inferred.transact((state) => state.set("since", "2030-01-01"))
const shown = inferred.client.get("size")
expectType<Same<typeof shown, number | undefined>>()
const clientOnly = createSessions({ schema: { client: { size: valibot.number() } } }).open(null)
clientOnly.set("anything", { goes: [1] })
// @ts-expect-error no such key
clientOnly.client.set("anything", 1)

// Errors are told apart by their code.

declare const error: ConfigError | StoreError
if (error.code === "ERR_SESSION_STORE") expectType<Same<typeof error.operation, string>>()
else expectType<Same<typeof error.option, string | undefined>>()
export const base: SessionError = error
