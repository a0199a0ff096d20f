/** Whether two types are the same, optional and readonly members included. */
export type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Fails to compile unless `Actual` is exactly `Expected`: `expectType<Same<Actual, Expected>>()`. */
export function expectType<_Holds extends true>(): void {}
