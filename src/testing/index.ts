export {
  cookieAgent,
  type AgentCookieJar,
  type AgentRequestInit,
  type CookieAgent,
  type CookieAgentOptions,
  type Site,
} from "./agent.ts"
export { fakeClock, type FakeClock } from "./clock.ts"
export {
  signedInCookie,
  type PlaywrightCookie,
  type SignedInCookie,
  type SignedInOptions,
} from "./signed-in.ts"
export { spyStore, type Hold, type SpyStore, type StoreCall, type StoreOperation } from "./spy-store.ts"
export {
  type ConformanceOptions,
  type OpenStore,
  storeConformance,
  type StoreCase,
  type StoreHarness,
} from "./store-conformance.ts"
