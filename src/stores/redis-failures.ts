import {
  adviceForMessage,
  CLIENT_HAS_ENDED,
  CONNECTION_LOST,
  POOL_IS_FULL,
  READ_ONLY,
  REFUSED,
  UNREACHABLE,
} from "./shared-advice.ts"

/** What the engine refuses for the moment, without having begun: it starts, or its slots are on the way to another node. */
const TRANSIENT = /^(?:LOADING|TRYAGAIN|CLUSTERDOWN|MASTERDOWN)\b/

export function isTransient(error: unknown): boolean {
  return error instanceof Error && TRANSIENT.test(error.message)
}

/** By the first word of the engine's message, or by the code or message of the driver. */
export function adviceFor(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code
  const known = typeof code === "string" ? CODES[code] : undefined
  return known ?? adviceForMessage(error, MESSAGES)
}

const CODES: Readonly<Record<string, string | undefined>> = {
  ECONNREFUSED: UNREACHABLE,
  ENOENT: UNREACHABLE,
  ENOTFOUND: UNREACHABLE,
  EAI_AGAIN: UNREACHABLE,
  EHOSTUNREACH: UNREACHABLE,
  ENETUNREACH: UNREACHABLE,
  ETIMEDOUT: UNREACHABLE,
  ECONNRESET: CONNECTION_LOST,
  EPIPE: CONNECTION_LOST,
}

/** What Redis, Valkey, node-redis, ioredis and Bun have been seen to say. The first that fits. */
const MESSAGES: readonly (readonly [RegExp, string])[] = [
  [
    // What comes behind it, such as MOVED, is only the last of several failures.
    /cluster redirections/i,
    "the session's node of the cluster did not take this, so it is not known whether it was carried out; see that it runs",
  ],
  [/\bOOM\b/, "the engine is at maxmemory and may evict nothing (maxmemory-policy); give it more memory"],
  [/\bREADONLY\b/, READ_ONLY],
  [
    // Within a script each release says it in other words.
    /\bNOPERM\b|\b(?:user executing the|ACL failure in) script\b/,
    "the engine's user may not do this; give it the commands and keys that the store's documentation lists",
  ],
  // The last is said of a command with many or long words before the password.
  [/\b(?:NOAUTH|WRONGPASS)\b|unauthenticated/, REFUSED],
  [/\b(?:MOVED|CROSSSLOT)\b/, "this is a node of a cluster; give the store a client of the cluster"],
  [/\bMISCONF\b/, "the engine cannot write to its disk, so it refuses writes; see its log"],
  [/\bNOREPLICAS\b/, "too few replicas follow the engine (min-replicas-to-write), so it refuses writes"],
  [
    /\b(?:LOADING|CLUSTERDOWN|MASTERDOWN|TRYAGAIN)\b/,
    "the engine starts or changes its nodes; the next request tries again",
  ],
  [/\bBUSY\b/, "the engine is busy with a script; the next request tries again"],
  [/\bWRONGTYPE\b/, "a key with this prefix is not of coatcheck; choose another prefix"],
  [
    /unknown (?:redis )?command|syntax error/i,
    "the engine is older than Redis 6.2, or leaves out what the store needs",
  ],
  [
    // A script stops at what is no number.
    /attempt to |number expected|invalid expire time/,
    "a stored session is not as coatcheck writes it",
  ],
  [/max number of clients/, "the engine has no connection left (maxclients); lower the pools' sizes"],
  [/waiting for a client/, POOL_IS_FULL],
  [/queue is full/, "too many commands wait in the client (commandsQueueMaxLength)"],
  [
    /command timed out|socket timeout/i,
    "the client waited no longer (commandTimeout, socketTimeout), so it is not known whether this was carried out",
  ],
  [
    // Nothing is what node-redis says of a command that has waited for a connection for five seconds.
    /^$|max retries per request|client is offline|offline ?queue|(?:startup|root) nodes|of the sentinels|connection timeout/i,
    UNREACHABLE,
  ],
  [
    // The last is what a cluster of node-redis 5 stumbles over.
    /client is closed|connection is closed|connection has failed|cluster is disconnect|reading 'master'/i,
    CLIENT_HAS_ENDED,
  ],
  [/socket closed|connection closed?\b|disconnect/i, CONNECTION_LOST],
]
