import { readFileSync } from "node:fs"

/** The numeric ids of a user. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

export function isRoot(): boolean {
  return process.getuid?.() === 0
}

/** The user of that name, looked up in a file such as /etc/passwd. */
export function accountOf(name: string, file = "/etc/passwd"): Account | undefined {
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const [user, , uid, gid] = line.split(":")
    if (user === name) return { uid: Number(uid), gid: Number(gid) }
  }
  return undefined
}

/** Whom a database server is to run as: root gives its rights away, anybody else has none to give. */
export function serverAccount(name: string): Account | undefined {
  if (!isRoot()) return undefined
  const account = accountOf(name)
  if (account === undefined) throw new Error(`There is no user "${name}" to run the server as.`)
  return account
}
