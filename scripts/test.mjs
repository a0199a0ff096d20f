import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isContinuousIntegration, tasks } from "./tasks.mjs"

/** Quick and quiet: two run at a time, and each prints when it is done. */
const checks = [
  "check:types",
  "check:examples",
  "lint",
  "format:check",
  "test:types",
  "check:unused",
  "check:package",
]

/** Vitest projects: one after the other, because some of them measure time. CI has the time for those that build applications, too. */
const suites = [
  "test:unit",
  "test:stores",
  "test:adapters",
  "test:browser",
  ...(isContinuousIntegration() ? ["test:built"] : []),
  "test:runtimes",
  "test:package",
]

/** Runs every check and every test, whatever fails on the way, and sums up. */
export async function testEverything(context) {
  const reports = mkdtempSync(join(tmpdir(), "test-reports-"))
  const began = Date.now()
  try {
    const outcomes = [await step("build", context)]
    const buildWorks = outcomes[0].code === 0
    outcomes.push(
      ...(await twoAtATime(checks, (name) => step(name, { ...context, capture: true }, buildWorks))),
    )
    for (const name of suites) {
      const report = ["--reporter=default", "--reporter=json", `--outputFile.json=${reportOf(reports, name)}`]
      outcomes.push(await step(name, { ...context, args: report }, buildWorks))
    }
    return { code: summarise(outcomes, reports, seconds(began)), output: "" }
  } finally {
    rmSync(reports, { recursive: true, force: true })
  }
}

async function step(name, context, buildWorks = true) {
  const task = tasks[name]
  if (task.afterBuild && !buildWorks) return { name, code: 1, note: "not run: the build failed" }
  const work = task.afterBuild ?? task
  const began = Date.now()
  if (!context.capture) heading(name)
  let result
  try {
    result = await work(context)
  } catch (error) {
    result = { code: 1, output: `${error.message}\n` }
    if (!context.capture) process.stdout.write(result.output)
  }
  const took = seconds(began)
  if (context.capture) {
    heading(name)
    if (result.code !== 0) process.stdout.write(result.output)
  }
  console.log(result.code === 0 ? `ok, ${took} s` : `FAILED (exit code ${result.code}), ${took} s`)
  return { name, code: result.code, note: `${took} s` }
}

async function twoAtATime(names, work) {
  const outcomes = []
  const left = names.entries()
  const worker = async () => {
    for (const [index, name] of left) outcomes[index] = await work(name)
  }
  await Promise.all([worker(), worker()])
  return outcomes
}

function summarise(outcomes, reports, took) {
  heading("summary")
  for (const { name, code, note } of outcomes)
    console.log(`${code === 0 ? "ok    " : "FAILED"}  ${name}  (${note})`)
  const failed = outcomes.filter(({ code }) => code !== 0)
  if (failed.length > 0) {
    const again = failed.map(({ name }) => `npm run ${name}`).join(", ")
    console.log(
      `\n${failed.length} of ${outcomes.length} steps failed after ${took} s. To run them alone: ${again}`,
    )
  } else {
    console.log(`\nAll ${outcomes.length} steps succeeded in ${took} s.`)
  }
  const counts = countTests(reports)
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ""
  console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`)
  return failed.length > 0 || counts.failed > 0 ? 1 : 0
}

function countTests(reports) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  for (const name of suites) {
    const report = readReport(reportOf(reports, name))
    counts.passed += report.numPassedTests
    counts.failed += report.numFailedTests + filesThatDidNotLoad(report)
    counts.skipped += report.numPendingTests + report.numTodoTests
  }
  return counts
}

function filesThatDidNotLoad(report) {
  const files = report.testResults ?? []
  return files.filter(({ status, assertionResults }) => status === "failed" && assertionResults.length === 0)
    .length
}

/** A suite that found no test, or never ran, has written none. */
function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"))
  } catch {
    return { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0 }
  }
}

function reportOf(folder, name) {
  return join(folder, `${name.replace(":", "-")}.json`)
}

function heading(text) {
  console.log(`\n=== ${text} ===`)
}

function seconds(since) {
  return ((Date.now() - since) / 1000).toFixed(1)
}
