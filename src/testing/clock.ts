import { parseDuration, type Duration } from "../expiry.ts"

/** A clock that stands still until it is told otherwise. Call it for the time; pass it as `clock`. */
export interface FakeClock {
  /** Milliseconds since the epoch. */
  (): number
  now(): number
  /** Moves on by a duration such as `"15m"`, or by milliseconds; below 0, back. */
  advance(by: Duration): void
  set(to: Date | number): void
}

/** A fake clock, at the start of 2030 (UTC) if not told when. */
export function fakeClock(start: Date | number = Date.UTC(2030, 0, 1)): FakeClock {
  let time = instant(start)
  const now = (): number => time
  return Object.assign(now.bind(undefined), {
    now,
    advance(by: Duration): void {
      const milliseconds = typeof by === "number" ? by : parseDuration(by)
      if (milliseconds === undefined || !Number.isFinite(milliseconds)) {
        throw new TypeError('advance takes a duration such as "15m", or milliseconds.')
      }
      time += milliseconds
    },
    set(to: Date | number): void {
      time = instant(to)
    },
  })
}

function instant(value: Date | number): number {
  const milliseconds = Number(value)
  if (Number.isFinite(milliseconds)) return milliseconds
  throw new TypeError("A clock is set to a valid Date, or to milliseconds since the epoch.")
}
