import { adviceForMessage, OTHER_LAYOUT } from "./shared-advice.ts"

/** Told where a batch has undone itself, and where a table was to be made. */
const DUPLICATE_KEY = /UNIQUE constraint failed/
const OTHER_COLUMNS = /no such column|has no column named/

/** D1 has not come as far as the statements. */
const NOT_BEGUN = /cannot resolve D1 DB|while starting up D1 DB/i
/** D1 may have carried out the statements, or not. */
const LOST =
  /network connection lost|client disconnected|code was updated|caused object to be reset|internal error/i
/** As `LOST`, but it would likely happen again. */
const TOO_MUCH = /exceeded (?:timeout|its (?:memory|CPU time) limit)|CPU time limit/i

export function isDuplicateKey(error: unknown): boolean {
  return DUPLICATE_KEY.test(messageOf(error))
}

export function isOfOtherColumns(error: unknown): boolean {
  return OTHER_COLUMNS.test(messageOf(error))
}

/** Whether it is certain that nothing has been carried out, by an error that passes. */
export function hasNotBegun(error: unknown): boolean {
  return NOT_BEGUN.test(messageOf(error))
}

/** Whether it may help to try again what does no harm when it is done twice. */
export function mayPass(error: unknown): boolean {
  const message = messageOf(error)
  return NOT_BEGUN.test(message) || (LOST.test(message) && !TOO_MUCH.test(message))
}

/** D1 gives no codes: by its messages. */
export function adviceFor(error: unknown, table: string): string | undefined {
  return adviceForMessage(error, ADVICE)?.replace("TABLE", table)
}

/** A table of this name has other columns than a layout of ours. */
export class ForeignTable extends Error {
  constructor(cause: unknown) {
    super("COATCHECK_FOREIGN_TABLE", { cause })
  }
}

/** The first that fits. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /^COATCHECK_FOREIGN_TABLE$/,
    "there is a table TABLE that is not of coatcheck; choose another name with the option table",
  ],
  [
    /no such table/,
    "the table TABLE does not exist; call migrate(), or apply migrationSql() with wrangler; is it the right database?",
  ],
  [OTHER_COLUMNS, OTHER_LAYOUT],
  [
    /too big|row size exceeded/i,
    "the session is larger than D1 keeps, which is 2 MB; keep less in it, or lower maxStateBytes so that it is refused sooner",
  ],
  [
    /exceeded maximum (?:DB size|account storage)/i,
    "the database or the account is full; sweep what has expired, remove what else is there, or choose a larger plan",
  ],
  [
    /exceeded.*(?:daily|free|row (?:read|write)|rows (?:read|written))|(?:daily|free).*limit/i,
    "the account's free rows of today are used up; there are new ones at midnight UTC, or with a paid plan",
  ],
  [
    /too many (?:API requests|subrequests)/i,
    "the request has asked Cloudflare's services too often, as one that uses very many sessions or tries again without end",
  ],
  [
    /overloaded|too many requests/i,
    "the database has more to do than it can, so this was not carried out; look for slow queries, or give sessions a database of their own",
  ],
  [NOT_BEGUN, "the database cannot be reached, so this was not carried out; the next request tries again"],
  [
    TOO_MUCH,
    "the database took too long or too much memory and was reset, so it is not known whether this was carried out; sweep fewer at a time",
  ],
  [
    LOST,
    "the connection to D1 was lost, so it is not known whether this was carried out; the next request tries again",
  ],
  [/read-?only/i, "the database is read-only for now; see what the Cloudflare dashboard says of it"],
  [
    /not authorized|reserved for internal use/i,
    "the database does not allow this; names of tables that begin with sqlite_ or _cf_ are its own",
  ],
  [
    /on behalf of a different request/i,
    "the binding or the session is of another request; make sessions in the request they are for",
  ],
]

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : ""
}
