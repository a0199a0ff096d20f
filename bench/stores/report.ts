import type { Contender } from "./contender.ts"
import type { Results, Trial } from "./measure.ts"
import { CONTENDED, DISTINCT, nameOf, OPERATIONS, UNPREPARED } from "./trials.ts"

/** One line for each operation and driver. The peer has one driver, which stands in the title. */
export function operationTable(results: Results, contenders: readonly Contender[]): string {
  const stores = contenders.filter(({ who }) => who === "ours")
  const peer = nameOf(contenders.find(({ who }) => who === "peer") as Contender)
  const lines = OPERATIONS.flatMap((operation) =>
    stores.map((store) => {
      const [ours, bare] = [nameOf(store), nameOf({ who: "bare", driver: store.driver })]
      return [
        operation,
        store.driver,
        microseconds(results.timeOf(operation, ours)),
        microseconds(results.timeOf(operation, bare)),
        ratio(results.ratioOf(operation, ours, bare)),
        microseconds(results.timeOf(operation, peer)),
        ratio(results.ratioOf(operation, peer, ours)),
      ]
    }),
  )
  return table(["", "driver", "ours µs", "bare µs", "ours/bare", "peer µs", "peer/ours"], lines)
}

export function preparationTable(results: Results, contenders: readonly Contender[]): string {
  const lines = contenders
    .filter(({ who }) => who === "ours")
    .map(({ driver }) => [
      "load",
      driver,
      microseconds(results.timeOf(UNPREPARED, `prepared ${driver}`)),
      microseconds(results.timeOf(UNPREPARED, `unprepared ${driver}`)),
      ratio(results.ratioOf(UNPREPARED, `unprepared ${driver}`, `prepared ${driver}`)),
    ])
  return table(["", "driver", "prepared", "unprepared", "ratio"], lines)
}

export function mergingTable(results: Results): string {
  const lines = [DISTINCT, CONTENDED].map((trial) => [
    trial,
    "",
    microseconds(results.timeOf(trial, "ours")),
    microseconds(results.timeOf(trial, "merge")),
    microseconds(results.timeOf(trial, "compare-and-set")),
    ratio(results.ratioOf(trial, "compare-and-set", "merge")),
    ratio(results.ratioOf(trial, "compare-and-set", "ours")),
  ])
  return table(["", "", "ours µs", "merge µs", "CAS µs", "CAS/merge", "CAS/ours"], lines)
}

/** One line for each trial: the times of its subjects, and how they compare with that of the first. */
export function comparisonTable(
  results: Results,
  trials: readonly Trial[],
  titles: readonly string[],
): string {
  const lines = trials.map(({ name, subjects }) => {
    const [base, ...rest] = subjects.map((subject) => subject.name) as [string, ...string[]]
    return [
      name,
      "",
      ...[base, ...rest].map((subject) => microseconds(results.timeOf(name, subject))),
      ...rest.map((subject) => ratio(results.ratioOf(name, subject, base))),
    ]
  })
  const [base, ...rest] = titles
  return table(
    ["", "", ...titles.map((each) => `${each} µs`), ...rest.map((each) => `${each}/${base}`)],
    lines,
  )
}

export function table(titles: readonly string[], lines: readonly (readonly string[])[]): string {
  const rows = [titles, ...lines]
  const widths = titles.map((_title, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) => {
      const cells = row.map((cell, column) => {
        const width = widths[column] as number
        return column < 2 ? cell.padEnd(width) : cell.padStart(Math.max(width, 9))
      })
      return `  ${cells.join("  ").trimEnd()}\n`
    })
    .join("")
}

function microseconds(time: number | undefined): string {
  return time === undefined ? "–" : time.toFixed(time < 100 ? 1 : 0)
}

function ratio(value: number | undefined): string {
  return value === undefined ? "–" : value.toFixed(2)
}
