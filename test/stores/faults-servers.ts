import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import type { SessionRecord, Sessions } from "coatcheck"
import { changing } from "../../src/testing/conformance/kit.ts"
import { describeOn, execute } from "../support/servers/databases.ts"
import { startMariadb } from "../support/servers/mariadb.ts"
import { startMysql } from "../support/servers/mysql.ts"
import { startPostgres } from "../support/servers/postgres.ts"
import type { Address, DatabaseServer, Engine } from "../support/servers/server.ts"
import type { Client, ClientOptions } from "./clients.ts"
import {
  closeAll,
  driversOf,
  expectAllToFail,
  expectAllToWork,
  expectFailure,
  expectStoreError,
  of,
  OPERATIONS,
  put,
  refresh,
  SECRET,
  sessionsOn,
  start,
} from "./faults.ts"

/** Faults of a whole server, which is a private one: restarts, refusals, limits. */

const starters = { postgres: startPostgres, mariadb: startMariadb, mysql: startMysql }

const WRITES = OPERATIONS.filter((name) => !["load", "listByUser", "deleteExpired"].includes(name))
const READ_ONLY =
  /: the server is read-only, as a replica is; sessions are written, so connect to the primary\.$/
/** What may be said while a server goes and comes. */
const AWAY =
  /: the (connection was lost, so it is not known|connection has ended, so this was not|server is (starting or )?shutting down|server cannot be reached|pool had no free connection in time; see that the server|server cancelled)|storeTimeout/

const SIZE = 4
const WORKERS = 6
const PACKET = 1_048_576

export function describeServerFaults(engine: Engine): void {
  describeOn(engine, "a server of its own", () => {
    let server: DatabaseServer
    let address: Address
    const opened: Client[] = []

    beforeAll(async () => {
      const settings = of(engine, {}, { "max-allowed-packet": String(PACKET), "max-connections": "40" })
      server = (await starters[engine]({ settings }))!
      const { host, port, user, password, database } = server
      address = { host, port, user, password, database }
    })
    afterEach(() => closeAll(opened.splice(0)))
    afterAll(() => server.stop())

    async function admin(...statements: string[]): Promise<void> {
      for (const sql of statements) await execute(engine, address, sql)
    }

    for (const { name, open, eager } of driversOf(engine)) {
      const openPool = async (options: ClientOptions = {}, as: Partial<Address> = {}): Promise<Client> => {
        const client = await open(
          { ...address, ...as },
          { size: SIZE, ...options, options: { ...eager, ...options.options } },
        )
        opened.push(client)
        return client
      }
      const prepared = async (): Promise<{ client: Client; sessions: Sessions }> => {
        const client = await openPool()
        await client.store().migrate()
        return { client, sessions: sessionsOn(client.store()) }
      }

      test.each(["kill", "shutDown"] as const)(`${name}: %s and start amid requests`, async (end) => {
        const { client, sessions } = await prepared()
        const store = client.store()
        const race = { isOver: false, isBack: false }
        const failures: unknown[] = []
        const slowest = { took: 0 }
        const attempt = async <T>(run: () => Promise<T>): Promise<T | undefined> => {
          const begin = performance.now()
          try {
            return await run()
          } catch (error) {
            failures.push(error)
            await sleep(10)
            return undefined
          } finally {
            slowest.took = Math.max(slowest.took, performance.now() - begin)
          }
        }
        const revoked: string[] = []
        const recovered = { count: 0 }
        const revoker = async (): Promise<void> => {
          while (!race.isOver) {
            const user = `user-${revoked.length}-${Math.random()}`
            const cookie = await attempt(() => start(sessions, user))
            if (cookie === undefined) continue
            if ((await attempt(() => sessions.revokeByUser(user))) === 1) revoked.push(cookie)
            await sleep(5)
          }
        }
        const worker = async (cookie: string): Promise<{ acknowledged: number; tried: number }> => {
          const seen = { acknowledged: 0, tried: 0 }
          let isCounted = false
          while (!race.isOver) {
            const number = ++seen.tried
            const isDone = await attempt(async () => {
              const session = sessions.open(cookie)
              session.set("number", number)
              await session.finalize()
              return true
            })
            if (isDone === true) {
              seen.acknowledged = number
              if (race.isBack && !isCounted) recovered.count += 1
              isCounted ||= race.isBack
            }
          }
          return seen
        }
        const cookies = await Promise.all(Array.from({ length: WORKERS }, () => start(sessions)))
        const running = Promise.all(cookies.map(worker))
        const revoking = revoker()
        await sleep(200)
        await server[end]()
        await sleep(200)
        const failedBefore = failures.length
        await server.start()
        race.isBack = true
        const patience = performance.now() + 5_000
        while (recovered.count < WORKERS && performance.now() < patience) await sleep(20)
        race.isOver = true
        const [results] = await Promise.all([running, revoking])

        expect(failedBefore).toBeGreaterThan(0)
        for (const failure of failures) expectStoreError(failure, AWAY)
        // A request asks the store at most twice.
        expect(slowest.took).toBeLessThan(2 * 500 + 250)
        expect(revoked.length).toBeGreaterThan(0)
        expect(recovered.count).toBe(WORKERS)
        for (const [index, { acknowledged, tried }] of results.entries()) {
          const number = await sessions.open(cookies[index] as string).get("number")
          expect(number).toBeGreaterThanOrEqual(acknowledged)
          expect(number).toBeLessThanOrEqual(tried)
        }
        for (const cookie of revoked) expect(await sessions.open(cookie).keys()).toEqual([])
        await expectAllToWork(store)
      })

      test.each(["kill", "shutDown"] as const)(
        `${name}: %s and start of a server while nobody asks anything`,
        async (end) => {
          const { client } = await prepared()
          const store = client.store()
          const id = await put(store)
          await Promise.all(Array.from({ length: SIZE }, () => store.load(id)))
          await server[end]()
          await server.start()
          let failed = 0
          for (; failed <= SIZE; failed++) {
            const error = await store.load(id).then(
              () => undefined,
              (reason: unknown) => reason,
            )
            if (error === undefined) break
            expectStoreError(error, AWAY)
          }
          expect(failed).toBeLessThanOrEqual(SIZE)
          await expectAllToWork(store)
        },
      )

      test(`${name}: a server that only reads`, async () => {
        const { client } = await prepared()
        const id = await put(client.store())
        const user = await guest(
          `${name.replaceAll(/\W/g, "_")}_reader`,
          "right",
          "SELECT, INSERT, UPDATE, DELETE",
        )
        const reader = await openPool(
          of(engine, { session: ["SET default_transaction_read_only = 'on'"] }, {}),
          user,
        )
        const store = reader.store()
        await store.load(id)
        const variable = engine === "mysql" ? "super_read_only" : "read_only"
        if (engine !== "postgres") await admin(`SET GLOBAL ${variable} = 1`)
        await expectAllToFail(store, id, READ_ONLY, WRITES)
        expect(await store.load(id)).toMatchObject({ version: 1 })
        expect(await store.listByUser("nobody")).toEqual([])
        if (engine !== "postgres") {
          await admin("SET GLOBAL read_only = 0")
          await expectAllToWork(store)
        }
      })

      test(`${name}: a user who may not do what is needed`, async () => {
        const { client } = await prepared()
        const id = await put(client.store())
        const user = await guest(`${name.replaceAll(/\W/g, "_")}_looker`, "right", "SELECT")
        const looker = await openPool({ size: 2 }, user)
        const advice =
          /: the database user may not do this; grant SELECT, INSERT, UPDATE and DELETE on ["`]sessions["`], and CREATE/
        await expectAllToFail(looker.store(), id, advice, WRITES)
        expect(await looker.store().load(id)).toMatchObject({ version: 1 })
        await expectFailure(
          () => looker.store({ table: "another" }).migrate(),
          /migrate failed: the database user may not do this/,
        )
        await admin(`GRANT INSERT, UPDATE, DELETE ON sessions TO ${user.account}`)
        await expectAllToWork(looker.store())
      })

      test(`${name}: a wrong password`, async () => {
        await prepared()
        const user = await guest(`${name.replaceAll(/\W/g, "_")}_liar`, "right", "SELECT")
        const liar = await openPool(
          { size: 2, options: name === "mariadb" ? { acquireTimeout: 300 } : {} },
          { ...user, password: "wrong" },
        )
        const advice = /: the server refused the user or the password\.$/
        await expectAllToFail(liar.store(), "no-such-id", advice, ["load", "update"])
      })

      test(`${name}: a server without free connections`, async () => {
        const { client } = await prepared()
        const id = await put(client.store())
        const user = await guest(
          `${name.replaceAll(/\W/g, "_")}_crowd`,
          "right",
          "SELECT, INSERT, UPDATE, DELETE",
        )
        await admin(
          of(
            engine,
            `ALTER ROLE ${user.user} CONNECTION LIMIT 1`,
            `ALTER USER ${user.account} WITH MAX_USER_CONNECTIONS 1`,
          ),
        )
        const first = await openPool({ size: 1 }, user)
        await first.store().load(id)
        const second = await openPool(
          { size: 1, options: name === "mariadb" ? { acquireTimeout: 300 } : {} },
          user,
        )
        const advice =
          /: the server has no connection left; lower the pools' sizes, or put a pooler between\.$/
        await expectAllToFail(second.store(), id, advice, ["load", "update"])
        await first.close()
        opened.splice(opened.indexOf(first), 1)
        for (let tries = 0; ; tries++) {
          await sleep(100)
          const error = await second
            .store()
            .load(id)
            .then(
              () => undefined,
              (reason: unknown) => reason,
            )
          if (error === undefined) break
          if (tries === 30) throw error as Error
        }
      })

      test.skipIf(engine === "postgres")(
        `${name}: a session that is larger than a packet may be`,
        async () => {
          const { client } = await prepared()
          const store = client.store()
          const id = await put(store)
          const advice =
            /: the (session is larger than the server's max_allowed_packet; raise it, or keep less in the session|connection was lost, so .*)\.$/
          const large = changing({ large: SECRET.repeat(PACKET / 8) })
          await expectFailure(() => store.update(id, large), advice, { id })
          // The server has ended the connection as well.
          await refresh(store)
          expect(await store.load(id)).toMatchObject({ version: 1, state: { key: SECRET } })
          await expectAllToWork(store)
        },
      )

      // What the engine merges is on no wire, so that it may become larger than what was sent.
      test.skipIf(engine === "postgres")(
        `${name}: a session that grows larger than a packet may be fails or goes on, and does not seem to have ended`,
        async () => {
          const { client } = await prepared()
          const store = client.store()
          const id = await put(store)
          const advice = /: the session is larger than the server's max_allowed_packet; raise it, or/
          const part = "x".repeat(PACKET / 3)
          const updates: (string | Error)[] = []
          for (const key of ["one", "two", "three", "four"]) {
            const update = store.update(id, changing({ [key]: part }))
            updates.push(
              await update.then(
                () => key,
                (error: Error) => error,
              ),
            )
          }
          await refresh(store)
          const left = Object.keys(((await store.load(id)) as SessionRecord).state)
          const kept = updates.filter((each) => typeof each === "string")
          expect(left).toEqual(expect.arrayContaining(["key", ...kept]))
          for (const each of updates) if (each instanceof Error) expectStoreError(each, advice)
          await expectAllToWork(store)
        },
      )
    }

    /** Makes a user with some rights on the table. */
    async function guest(
      user: string,
      password: string,
      rights: string,
    ): Promise<{ user: string; password: string; account: string }> {
      const account = of(engine, user, `${user}@'%'`)
      if (engine === "postgres") {
        await admin(
          `CREATE ROLE ${user} LOGIN PASSWORD '${password}'`,
          `GRANT ${rights} ON sessions TO ${user}`,
        )
        const rules = join(server.folder, "data/pg_hba.conf")
        writeFileSync(rules, `host all ${user} 127.0.0.1/32 scram-sha-256\n${readFileSync(rules, "utf8")}`)
        await admin("SELECT pg_reload_conf()")
        await sleep(100)
      } else {
        await admin(
          `CREATE USER ${account} IDENTIFIED BY '${password}'`,
          `GRANT ${rights} ON sessions TO ${account}`,
        )
      }
      return { user, password, account }
    }
  })
}
