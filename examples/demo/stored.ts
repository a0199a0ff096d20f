import type { DatabaseSync, SQLOutputValue } from "node:sqlite"
import type { Routes } from "./http.ts"
import { storedPage } from "./pages.ts"

/** Browsers add the prefix to nothing by themselves: over https the library sends `__Host-id`, over http on localhost `id`. */
const COOKIE = /(?:^|;\s*)((?:__Host-)?id)=([^;]*)/
const SHOWN_CHARACTERS = 12

/** What the browser and the store hold of the visitor who asks, and of nobody else. */
export function storedRoutes(database: DatabaseSync): Routes {
  const rowOf = database.prepare("SELECT * FROM sessions WHERE id = ?")

  return {
    "GET /stored": async ({ request, session }) => {
      const [, name, value] = COOKIE.exec(request.headers.cookie ?? "") ?? []
      // Only a load tells whether the session still lives. Where an ended one was, the store keeps a tombstone for a while.
      await session.load()
      const row = session.id === undefined || session.isInvalidated ? undefined : rowOf.get(session.id)
      return storedPage({
        cookie:
          name === undefined || value === undefined
            ? undefined
            : { name, length: name.length + 1 + value.length, start: value.slice(0, SHOWN_CHARACTERS) },
        clientState: Object.fromEntries(session.client.entries()),
        row:
          row === undefined
            ? undefined
            : Object.entries(row).map(([column, held]) => [column, shown(column, held)]),
        hasEnded: session.isInvalidated,
      })
    },
  }
}

function shown(column: string, value: SQLOutputValue): string {
  if (value === null) return "null"
  if (column === "state") return JSON.stringify(JSON.parse(String(value)), null, 2)
  if (/_(?:at|end)$|^deadline$/.test(column)) return new Date(Number(value)).toISOString()
  return String(value)
}
