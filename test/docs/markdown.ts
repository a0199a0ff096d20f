import { readdirSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"

/** A page of the documentation. */
export interface Page {
  /** From the root of the repository, with slashes. */
  readonly path: string
  /** Its text without the blocks. */
  readonly prose: string
  readonly blocks: readonly Block[]
  readonly links: readonly Link[]
  readonly tables: readonly Table[]
  /** What a link may name behind `#`, as GitHub makes it from the headings. */
  readonly anchors: ReadonlySet<string>
}

/** A fenced block. */
export interface Block {
  /** What stands behind the fence: the language, and words for the tests. */
  readonly info: string
  /** The line of its first line of code, from 1. */
  readonly line: number
  readonly code: string
}

export interface Link {
  readonly text: string
  readonly target: string
  readonly line: number
}

export interface Table {
  readonly line: number
  readonly header: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** Every page of the repository that is written for readers. */
export function readPages(root: string): Page[] {
  const top = readdirSync(root).map((name) => join(root, name))
  const docs = readdirSync(join(root, "docs"), { recursive: true }).map((name) =>
    join(root, "docs", String(name)),
  )
  return [...top, ...docs].filter((file) => file.endsWith(".md")).map((file) => readPage(root, file))
}

function readPage(root: string, file: string): Page {
  const lines = readFileSync(file, "utf8").split("\n")
  const blocks = blocksOf(lines)
  const prose = withoutBlocks(lines, blocks)
  return {
    path: relative(root, file).replaceAll("\\", "/"),
    prose: prose.join("\n"),
    blocks,
    links: linksOf(prose),
    tables: tablesOf(prose),
    anchors: anchorsOf(prose),
  }
}

function blocksOf(lines: readonly string[]): Block[] {
  const blocks: Block[] = []
  for (let index = 0; index < lines.length; index++) {
    const fence = /^\s*(`{3,})(.*)$/.exec(lines[index] ?? "")
    if (fence === null) continue
    const end = lines.findIndex((line, at) => at > index && line.trim() === fence[1])
    if (end === -1) throw new Error(`The block that starts in line ${index + 1} has no end.`)
    const code = lines.slice(index + 1, end).join("\n")
    blocks.push({ info: (fence[2] as string).trim(), line: index + 2, code })
    index = end
  }
  return blocks
}

/** The lines in their places, those of blocks and their fences blank. */
function withoutBlocks(lines: readonly string[], blocks: readonly Block[]): string[] {
  const prose = [...lines]
  for (const { line, code } of blocks) {
    const first = line - 2
    prose.fill("", first, first + code.split("\n").length + 2)
  }
  return prose
}

function linksOf(prose: readonly string[]): Link[] {
  return prose.flatMap((line, index) =>
    [...line.matchAll(/\[((?:[^\]\\]|\\.)*)\]\(([^)\s]+)\)/g)].map(([, text = "", target = ""]) => ({
      text,
      target,
      line: index + 1,
    })),
  )
}

function tablesOf(prose: readonly string[]): Table[] {
  const tables: Table[] = []
  for (let index = 1; index < prose.length; index++) {
    if (!/^\|(?:\s*:?-+:?\s*\|)+$/.test(prose[index] ?? "")) continue
    const rows: string[][] = []
    let next = index + 1
    for (; prose[next]?.startsWith("|") === true; next++) rows.push(cellsOf(prose[next] as string))
    tables.push({ line: index, header: cellsOf(prose[index - 1] ?? ""), rows })
    index = next
  }
  return tables
}

function cellsOf(row: string): string[] {
  const cells = row.split(/(?<!\\)\|/).slice(1, -1)
  return cells.map((cell) => cell.trim().replaceAll("\\|", "|"))
}

function anchorsOf(prose: readonly string[]): Set<string> {
  const anchors = new Set<string>()
  for (const line of prose) {
    const heading = /^#{1,6} (.*)$/.exec(line)?.[1]
    if (heading === undefined) continue
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase()
    anchors.add(plain.replaceAll(/[^\p{Letter}\p{Number}\- _]/gu, "").replaceAll(" ", "-"))
  }
  return anchors
}

/** What stands between backticks. */
export function codeIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => code as string)
}
