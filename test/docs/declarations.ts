/** The members of an interface, in order. Relies on the formatter's indentation. */
export function membersOf(source: string, name: string): string[] {
  const lines = source.split("\n")
  const start = lines.findIndex((line) => new RegExp(`^export interface ${name}\\b`).test(line))
  if (start === -1) throw new Error(`There is no interface ${name}.`)
  const end = lines.indexOf("}", start)
  const body = lines.slice(start + 1, end)
  const members = body.map((line) => /^ {2}(?:readonly )?(\w+)[?(<:]/.exec(line)?.[1])
  return [...new Set(members.filter((member) => member !== undefined))]
}
