import { createCipheriv, createHash, createHmac, createSecretKey, randomBytes } from "node:crypto"
import { DatabaseSync } from "node:sqlite"

interface BareOperation {
  readonly name: string
  readonly run: () => unknown
}

/** The operations a session cannot do without, through Node's own API, on data of the size that sessions have. */
export function bareOperations(
  path: string,
  json: string,
): { operations: readonly BareOperation[]; close: () => void } {
  const key = createSecretKey(randomBytes(32))
  const nonce = randomBytes(12)
  const seal = randomBytes(54)
  const ticket = randomBytes(24)
  const value: unknown = JSON.parse(json)

  const database = new DatabaseSync(path)
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
  database.exec(
    "CREATE TABLE bare (id TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, deadline INTEGER NOT NULL)",
  )
  const id = ticket.toString("base64url")
  database.prepare("INSERT INTO bare VALUES (?, ?, ?)").run(id, json, Date.now() + 1e9)
  const select = database.prepare("SELECT * FROM bare WHERE id = ? AND deadline > ?")
  const update = database.prepare("UPDATE bare SET state = ?, deadline = ? WHERE id = ?")

  // SQLite writes nothing when a row is set to what it is, so each update must be a change.
  let deadline = Date.now() + 1e9

  return {
    operations: [
      { name: "one HMAC", run: () => createHmac("sha256", key).update(seal).digest() },
      { name: "one SHA-256", run: () => createHash("sha256").update(ticket).digest("base64url") },
      {
        name: "one GCM",
        run: () => {
          const cipher = createCipheriv("aes-256-gcm", key, nonce)
          return [cipher.update(seal), cipher.final(), cipher.getAuthTag()]
        },
      },
      { name: "one JSON.parse", run: () => JSON.parse(json) as unknown },
      { name: "one JSON.stringify", run: () => JSON.stringify(value) },
      { name: "one SQLite SELECT", run: () => select.get(id, Date.now()) },
      { name: "one SQLite UPDATE", run: () => update.run(json, ++deadline, id) },
    ],
    close: () => database.close(),
  }
}
