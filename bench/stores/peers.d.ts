/** What is used of packages that have no declarations of their own. */

declare module "express-session" {
  const session: { readonly Store: unknown }
  export default session
  // connect-redis is declared in their terms.
  export const Store: new () => object
  export type SessionData = Record<string, unknown>
}

declare module "connect-pg-simple" {
  interface Store {
    get(id: string, callback: (error: unknown, session?: unknown) => void): void
    set(id: string, session: object, callback: (error?: unknown) => void): void
    touch(id: string, session: object, callback: (error?: unknown) => void): void
    destroy(id: string, callback: (error?: unknown) => void): void
  }
  export default function connect(session: unknown): new (options: object) => Store
}

declare module "express-mysql-session" {
  interface Store {
    get(id: string, callback: (error: unknown, session?: unknown) => void): void
    set(id: string, session: object, callback: (error?: unknown) => void): void
    touch(id: string, session: object, callback: (error?: unknown) => void): void
    destroy(id: string, callback: (error?: unknown) => void): void
    onReady(): Promise<void>
  }
  export default function connect(session: unknown): new (options: object, connection: unknown) => Store
}
