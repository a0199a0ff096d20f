/** Markup that goes into a page as it is. Everything else is escaped. */
export class Html {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** What a template takes: nothing is shown for null, undefined and false. */
export type Content = Html | string | number | false | null | undefined | readonly Content[]

/** A template for HTML whose values are escaped for text and for quoted attributes. */
export function markup(strings: TemplateStringsArray, ...values: Content[]): Html {
  return new Html(String.raw({ raw: strings }, ...values.map(textOf)))
}

function textOf(content: Content): string {
  if (content instanceof Html) return content.text
  if (content === false || content === null || content === undefined) return ""
  if (typeof content === "string" || typeof content === "number") return escape(String(content))
  return content.map(textOf).join("")
}

const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "")
}
