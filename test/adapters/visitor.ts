/** A client with a cookie jar that keeps `Secure` cookies on plain http, as no browser would. */
export class Visitor {
  readonly #url: string
  readonly #cookies = new Map<string, string>()

  constructor(url: string) {
    this.#url = url
  }

  cookie(name: string): string | undefined {
    return this.#cookies.get(name)
  }

  setCookie(name: string, value: string): void {
    this.#cookies.set(name, value)
  }

  get(path: string, options: VisitOptions = {}): Promise<Visit> {
    return this.request("GET", path, options)
  }

  /** Without headers of one's own, as a browser would from a page of this site. */
  post(path: string, options: VisitOptions = {}): Promise<Visit> {
    const { headers = { "Sec-Fetch-Site": "same-origin" } } = options
    return this.request("POST", path, { ...options, headers })
  }

  async request(method: string, path: string, options: VisitOptions = {}): Promise<Visit> {
    const response = await this.#send(method, path, options)
    return { status: response.status, headers: response.headers, text: await response.text() }
  }

  /** Reads a body as it comes. */
  async stream(path: string): Promise<Visit & { readonly pieces: readonly string[] }> {
    const response = await this.#send("GET", path, {})
    const pieces: string[] = []
    const decoder = new TextDecoder()
    for await (const piece of response.body ?? []) pieces.push(decoder.decode(piece, { stream: true }))
    return { status: response.status, headers: response.headers, text: pieces.join(""), pieces }
  }

  /** What the session holds, as `/read` tells. */
  async read(): Promise<Record<string, unknown>> {
    const { status, text } = await this.get("/read")
    if (status !== 200) throw new Error(`/read was answered with ${status}: ${text}`)
    return JSON.parse(text) as Record<string, unknown>
  }

  async control(query: string): Promise<void> {
    const { status, text } = await this.get(`/control?${query}`)
    if (status !== 200) throw new Error(`/control was answered with ${status}: ${text}`)
  }

  /** What the store was asked since the last reset. */
  async operations(): Promise<string[]> {
    return JSON.parse((await this.get("/control")).text) as string[]
  }

  async #send(method: string, path: string, { headers = {}, body }: VisitOptions): Promise<Response> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ")
    const response = await fetch(`${this.#url}${path}`, {
      method,
      redirect: "manual",
      headers: { ...(cookie === "" ? undefined : { Cookie: cookie }), ...headers },
      ...(body === undefined ? undefined : { body }),
    })
    for (const line of response.headers.getSetCookie()) this.#keep(line)
    return response
  }

  #keep(line: string): void {
    const [pair = "", ...attributes] = line.split(";")
    const [name = "", ...value] = pair.split("=")
    const isRemoval = attributes.some((attribute) =>
      /^\s*(?:max-age=0|expires=thu, 01 jan 1970)/i.test(attribute),
    )
    if (isRemoval) this.#cookies.delete(name)
    else this.#cookies.set(name, value.join("="))
  }
}

export interface VisitOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: URLSearchParams | string
}

export interface Visit {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}
