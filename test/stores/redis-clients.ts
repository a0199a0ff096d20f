import { Cluster, Redis } from "ioredis"
import { Cluster as Cluster6, Redis as Redis6 } from "ioredis-6"
import { createClient, createClientPool, createCluster, createSentinel, RESP_TYPES } from "redis"
import {
  createClient as createClient5,
  createClientPool as createClientPool5,
  createCluster as createCluster5,
  createSentinel as createSentinel5,
} from "redis-5"
import type { RedisClient } from "coatcheck/redis"

/** A client, and what a test does with it besides. */
export interface Client {
  readonly client: RedisClient
  close(): Promise<void>
}

export interface ServerFacts {
  readonly port: number
  readonly username?: string | undefined
  readonly password?: string | undefined
}

export interface OpenOptions {
  readonly resp?: 2 | 3
  /** The driver's own options. */
  readonly own?: object
}

/** How a client of one server is made. */
export type OpenClient = (server: ServerFacts, options?: OpenOptions) => Promise<Client>
/** How a client of a cluster is made, from the ports of its nodes. */
export type OpenCluster = (ports: readonly number[], options?: ClusterOptions) => Promise<Client>
/** How a client of a sentinel is made, from its port, and the name of the master. */
export type OpenSentinel = (port: number, name: string, options?: ClusterOptions) => Promise<Client>

export interface ClusterOptions {
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** Where to connect to in the place of a node: from its port to another. */
  readonly by?: ReadonlyMap<number, number> | undefined
  /** The driver's own options. */
  readonly own?: object
}

const host = "127.0.0.1"
const ignore = (): void => undefined

export const redisDrivers: Readonly<Record<string, OpenClient>> = {
  "node-redis 6": async ({ port, username, password }, { resp = 3, own } = {}) => {
    const client = createClient({
      socket: { host, port },
      RESP: resp,
      ...credentials(username, password),
      ...own,
    })
    client.on("error", ignore)
    await client.connect()
    return { client, close: async () => client.destroy() }
  },
  "a pool of node-redis 6": async ({ port, username, password }, { resp = 3, own } = {}) => {
    const client = createClientPool(
      { socket: { host, port }, RESP: resp, ...credentials(username, password), ...own },
      { minimum: 2, maximum: 8 },
    )
    client.on("error", ignore)
    await client.connect()
    return { client, close: async () => client.destroy() }
  },
  "node-redis 5": async ({ port, username, password }, { resp = 2, own } = {}) => {
    const client = createClient5({
      socket: { host, port },
      RESP: resp,
      ...credentials(username, password),
      ...own,
    })
    client.on("error", ignore)
    await client.connect()
    return { client, close: async () => client.destroy() }
  },
  "a pool of node-redis 5": async ({ port, username, password }, { resp = 2, own } = {}) => {
    const client = createClientPool5(
      { socket: { host, port }, RESP: resp, ...credentials(username, password), ...own },
      { minimum: 2, maximum: 8 },
    )
    client.on("error", ignore)
    await client.connect()
    return { client, close: async () => client.destroy() }
  },
  "ioredis 5": async ({ port, username, password }, { own } = {}) => {
    const client = new Redis({ host, port, ...credentials(username, password), ...own })
    client.on("error", ignore)
    return { client, close: async () => client.disconnect() }
  },
  "ioredis 6": async ({ port, username, password }, { resp = 2, own } = {}) => {
    const client = new Redis6({ host, port, protocol: resp, ...credentials(username, password), ...own })
    client.on("error", ignore)
    return { client, close: async () => client.disconnect() }
  },
}

/** A client of node-redis that hands out bytes in the place of strings. */
export const openBytes: OpenClient = async ({ port }) => {
  const client = createClient({ socket: { host, port } })
  client.on("error", ignore)
  await client.connect()
  const bytes = client.withTypeMapping({
    [RESP_TYPES.BLOB_STRING]: Buffer,
    [RESP_TYPES.SIMPLE_STRING]: Buffer,
  })
  return { client: bytes, close: async () => client.destroy() }
}

export const clusterDrivers: Readonly<Record<string, OpenCluster>> = {
  "node-redis 6": async (ports, { username, password, by, own } = {}) => {
    const client = createCluster({
      rootNodes: ports.map((port) => ({ socket: { host, port } })),
      defaults: credentials(username, password),
      ...(by === undefined ? undefined : { nodeAddressMap: mapped(by) }),
      ...own,
    })
    client.on("error", ignore)
    await client.connect()
    return { client, close: async () => client.destroy() }
  },
  "node-redis 5": async (ports, { username, password, by, own } = {}) => {
    const client = createCluster5({
      rootNodes: ports.map((port) => ({ socket: { host, port } })),
      defaults: credentials(username, password),
      ...(by === undefined ? undefined : { nodeAddressMap: mapped(by) }),
      ...own,
    })
    client.on("error", ignore)
    await client.connect()
    return { client, close: async () => client.destroy() }
  },
  "ioredis 5": async (ports, { username, password, by, own } = {}) => {
    const client = new Cluster(
      ports.map((port) => ({ host, port })),
      {
        redisOptions: credentials(username, password),
        ...(by === undefined ? undefined : { natMap: mapped(by) }),
        ...own,
      },
    )
    client.on("error", ignore)
    return { client, close: async () => client.disconnect() }
  },
  "ioredis 6": async (ports, { username, password, by, own } = {}) => {
    const client = new Cluster6(
      ports.map((port) => ({ host, port })),
      {
        redisOptions: credentials(username, password),
        ...(by === undefined ? undefined : { natMap: mapped(by) }),
        ...own,
      },
    )
    client.on("error", ignore)
    return { client, close: async () => client.disconnect() }
  },
}

export const sentinelDrivers: Readonly<Record<string, OpenSentinel>> = {
  "node-redis 6": async (port, name, { by } = {}) => {
    const client = createSentinel({
      name,
      sentinelRootNodes: [{ host, port }],
      ...(by === undefined ? undefined : { nodeAddressMap: mapped(by) }),
    })
    client.on("error", ignore)
    await client.connect()
    return { client, close: async () => client.destroy() }
  },
  "node-redis 5": async (port, name, { by } = {}) => {
    const client = createSentinel5({
      name,
      sentinelRootNodes: [{ host, port }],
      ...(by === undefined ? undefined : { nodeAddressMap: mapped(by) }),
    })
    client.on("error", ignore)
    await client.connect()
    return { client, close: async () => client.destroy() }
  },
  "ioredis 5": async (port, name, { by } = {}) => {
    const client = new Redis({
      name,
      sentinels: [{ host, port }],
      ...(by === undefined ? undefined : { natMap: mapped(by) }),
    })
    client.on("error", ignore)
    return { client, close: async () => client.disconnect() }
  },
  "ioredis 6": async (port, name, { by } = {}) => {
    const client = new Redis6({
      name,
      sentinels: [{ host, port }],
      ...(by === undefined ? undefined : { natMap: mapped(by) }),
    })
    client.on("error", ignore)
    return { client, close: async () => client.disconnect() }
  },
}

function credentials(
  username: string | undefined,
  password: string | undefined,
): { username?: string; password?: string } {
  return {
    ...(username === undefined ? undefined : { username }),
    ...(password === undefined ? undefined : { password }),
  }
}

function mapped(by: ReadonlyMap<number, number>): Record<string, { host: string; port: number }> {
  return Object.fromEntries([...by].map(([from, port]) => [`${host}:${from}`, { host, port }]))
}
