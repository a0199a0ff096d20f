import type { Diagnostics } from "./diagnostics.ts"
import type { Gateway } from "./gateway.ts"

interface Sweep {
  /** Milliseconds between two sweeps. */
  readonly every: number
  /** How many records one batch removes. */
  readonly limit: number
  readonly gateway: Gateway
  readonly diagnostics: Diagnostics
}

const LONGEST_TIMER = 2 ** 31 - 1
/** Servers that were started together must not sweep together. */
const JITTER = 0.2

/** Removes expired records every so often until stopped. Does not keep the process alive; a failed sweep is tried again next time. */
export function startSweeper(sweep: Sweep): () => void {
  let stopped = false
  let timer: ReturnType<typeof setTimeout> | undefined

  const plan = (): void => {
    const wait = sweep.every * (1 - JITTER / 2 + Math.random() * JITTER)
    timer = setTimeout(() => void run(), Math.min(wait, LONGEST_TIMER))
    ;(timer as { unref?: () => void }).unref?.()
  }
  const run = async (): Promise<void> => {
    await sweepOnce(sweep, () => stopped)
    if (!stopped) plan()
  }

  plan()
  return () => {
    stopped = true
    clearTimeout(timer)
  }
}

/** Batch after batch, so that no single store call is long. */
async function sweepOnce({ limit, gateway, diagnostics }: Sweep, isStopped: () => boolean): Promise<void> {
  let total = 0
  try {
    for (let count = limit; count >= limit && !isStopped(); total += count)
      count = await gateway.deleteExpired({ limit })
  } catch {
    // The gateway has told onEvent.
  }
  if (total > 0) diagnostics.emit({ type: "swept", count: total })
}
