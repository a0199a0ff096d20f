/** A private database server, and how it is asked for. */

export type Engine = "postgres" | "mariadb" | "mysql"
export type KeyValueEngine = "redis" | "valkey"

export interface ServerOptions {
  /** Settings of the server by name; they win over those that the harness chooses. */
  readonly settings?: Readonly<Record<string, string>>
  /** Environment variables of the server, such as `TZ`. It sees no others but `PATH`. */
  readonly env?: Readonly<Record<string, string>>
}

/** What a driver needs to connect. */
export interface Address {
  readonly host: "127.0.0.1"
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

export interface DatabaseServer<E extends Engine | KeyValueEngine = Engine> extends Address {
  readonly engine: E
  readonly version: string
  /** The process that listens; another one after `start`. */
  readonly pid: number
  /** The folder of its own, which holds the data and the log. */
  readonly folder: string
  /** An ordinary stop, after which nothing is left of the server. */
  stop(): Promise<void>
  /** Ends the server at once with SIGKILL, as a crash does. */
  kill(): Promise<void>
  /** An ordinary stop that keeps the data. */
  shutDown(): Promise<void>
  /** Starts the stopped or killed server again, on the same port and the same data. */
  start(): Promise<void>
}
