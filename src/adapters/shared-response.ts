import type { Finalized, Outcome } from "../api.ts"
import { SessionError } from "../errors.ts"
import { applyFinalized, type HeaderTarget } from "../headers.ts"
import { ANSWER_HEADERS } from "./shared-adapter.ts"
import { errorResponse, type ErrorResponse } from "../refusal.ts"

/** Tells of an error, and may say what to answer. Never throws, never rejects. */
export type Report = (error: unknown) => ErrorResponse | undefined | Promise<ErrorResponse | undefined>

/** A session whose response is held back until it is saved. */
export interface Guest {
  /** What made the session: a response has at most one session of each. */
  readonly sessions: object
  readonly session: {
    readonly isTouched: boolean
    finalize(outcome?: Outcome): Promise<Finalized>
  }
  readonly report: Report
  /** Whether an answer in place of the handler's keeps what does not speak of the answer's content. */
  readonly keepHeaders?: boolean | undefined
  /** Whether somebody was told already that it could not be saved, and answers in their own way. */
  isTold?: boolean
}

/** What this file uses of the responses of `node:http` and of the compatibility API of `node:http2`. */
export interface NodeResponse {
  [gateKey]?: ResponseGate | undefined
  statusCode: number
  statusMessage: string
  sendDate: boolean
  readonly headersSent: boolean
  readonly writableEnded: boolean
  finished: boolean
  readonly destroyed?: boolean
  /** What the response was destroyed with, if it was not the client that left. */
  readonly errored?: Error | null
  /** Only HTTP/2 has it. */
  readonly stream?: NodeStream
  getHeader(name: string): number | string | readonly string[] | undefined
  getHeaderNames(): string[]
  setHeader(name: string, value: string | readonly string[]): unknown
  appendHeader(name: string, value: string | readonly string[]): unknown
  removeHeader(name: string): void
  emit(event: string): boolean
  destroy(): unknown
  writeHead: Method
  write: Method
  end: Method
  flushHeaders: Method
  /** What `writeHead` of HTTP/1 was once called; it still works. */
  writeHeader?: Method
}

interface NodeStream {
  readonly respond?: unknown
  readonly destroyed: boolean
  readonly errored: Error | null
  close(code: number): void
}

type Method = (...args: unknown[]) => unknown
type Step = "writeHead" | "write" | "end" | "flushHeaders"
type State =
  /** The handler has not begun to answer. */
  | "open"
  /** It has; what it writes is kept until the sessions are saved. */
  | "saving"
  /** Every call goes through: the response is what it would be without us. */
  | "passed"

interface Call {
  readonly step: Step
  readonly args: unknown[]
}

interface Failure {
  readonly error: unknown
  readonly report: Report
}

/** Where a response keeps its gate. A `WeakMap` would cost a request several times as much. */
export const gateKey: unique symbol = Symbol("coatcheck")

const HTTP2_INTERNAL_ERROR = 2

/**
 * Stands before a response's head: whatever begins it (`writeHead`, `write`, `end`, `flushHeaders`) first finalizes the sessions, and is
 * carried out, in order, once they are saved. A response whose sessions are untouched is passed on at once.
 */
export class ResponseGate {
  readonly #response: NodeResponse
  readonly #original: Readonly<Record<Step, Method>>
  readonly #guests: Guest[] = []
  #state: State = "open"
  #queue: Call[] = []
  #queuedSize = 0
  #stalled = false
  #ended = false
  /** Whether another answer was given in place of the handler's, so that what it still writes goes nowhere. */
  #replaced = false
  #handlerFailure: Failure | undefined
  /** What another answer must carry, even if whoever writes it empties the head first. */
  #owed: readonly Finalized[] = []

  constructor(response: NodeResponse) {
    this.#response = response
    const { writeHead, write, end, flushHeaders } = response
    this.#original = { writeHead, write, end, flushHeaders }
    response.writeHead = (...args) => this.#writeHead(args)
    response.write = (...args) => this.#write(args)
    response.end = (...args) => this.#end(args)
    response.flushHeaders = () => this.#flushHeaders()
    if ("writeHeader" in response) response.writeHeader = response.writeHead
  }

  /** Whether a session can still be added. */
  get isOpen(): boolean {
    return this.#state === "open" && !this.#response.headersSent
  }

  get isEnded(): boolean {
    return this.#ended
  }

  /** Whether a write was answered with "wait for drain". */
  get needsDrain(): boolean {
    return this.#stalled && !this.#ended
  }

  /** How much is kept back. */
  get queuedSize(): number {
    return this.#queuedSize
  }

  sessionOf(sessions: object): Guest["session"] | undefined {
    return this.#guests.find((guest) => guest.sessions === sessions)?.session
  }

  /** What answers from now on need not say again that this session could not be saved. */
  tell(sessions: object): void {
    for (const guest of this.#guests) if (guest.sessions === sessions) guest.isTold = true
  }

  add(guest: Guest): void {
    this.#guests.push(guest)
  }

  /** Its framework will say itself, in an answer that it makes, what there is to say of this session. */
  remove(session: Guest["session"]): void {
    const index = this.#guests.findIndex((guest) => guest.session === session)
    if (index !== -1) this.#guests.splice(index, 1)
  }

  /** The handler failed: answers in its place, or cuts off what it had begun. */
  fail(failure: Failure): void {
    const response = this.#response
    if (this.#state === "saving" && !this.#ended) {
      // The head is still here, so the client can be told, and gets its cookies.
      this.#handlerFailure ??= failure
    } else if (response.headersSent || response.writableEnded || this.#replaced) {
      void failure.report(failure.error)
      if (!response.writableEnded && !this.#replaced) cutOff(response)
    } else {
      this.#resetHead()
      this.#answer([failure], [])
    }
  }

  #writeHead(args: unknown[]): unknown {
    const response = this.#response
    if (this.#state === "saving") throw headersSentError(response)
    if (this.#state !== "open") return this.#pass("writeHead", args)
    const [status, message] = args
    checkStatus(response, status)
    if (this.#isUntouched()) {
      this.#close(Number(status))
      return this.#pass("writeHead", args)
    }
    const hasMessage = typeof message === "string"
    response.statusCode = Number(status)
    setHeaders(response, args[2] ?? (hasMessage ? undefined : message))
    if (hasMessage && !isHttp2(response)) response.statusMessage = checkMessage(message)
    this.#save()
    this.#enqueue("writeHead", hasMessage ? [status, message] : [status])
    return response
  }

  #write(args: unknown[]): unknown {
    if (this.#replaced) return swallow(args, undefined, false)
    if (this.#state === "passed") return this.#pass("write", args)
    if (this.#ended) return swallow(args, ended("ERR_STREAM_WRITE_AFTER_END"), false)
    checkChunk(this.#response, args[0])
    if (this.#begin()) return this.#pass("write", args)
    this.#enqueue("write", args)
    this.#stalled = true
    return false
  }

  #end(args: unknown[]): unknown {
    if (this.#replaced) return swallow(args, undefined, this.#response)
    if (this.#state === "passed") return this.#pass("end", args)
    // Kept back, it would be an error that nobody is there to hear of.
    if (this.#ended) return swallow(args, ended("ERR_STREAM_ALREADY_FINISHED"), this.#response)
    const [chunk] = args
    if (Boolean(chunk) && typeof chunk !== "function") checkChunk(this.#response, chunk)
    if (this.#begin()) return this.#pass("end", args)
    this.#enqueue("end", args)
    this.#ended = true
    if (!isHttp2(this.#response)) this.#response.finished = true
    return this.#response
  }

  #flushHeaders(): unknown {
    if (this.#replaced) return undefined
    if (this.#state === "passed" || this.#begin()) return this.#pass("flushHeaders", [])
    this.#enqueue("flushHeaders", [])
    return undefined
  }

  #pass(step: Step, args: unknown[]): unknown {
    if (this.#owed.length > 0) {
      announce(this.#response, this.#owed)
      this.#owed = []
    }
    return Reflect.apply(this.#original[step], this.#response, args)
  }

  #enqueue(step: Step, args: unknown[]): void {
    this.#queue.push({ step, args })
    const [chunk] = args
    if (typeof chunk === "string" || ArrayBuffer.isView(chunk)) this.#queuedSize += lengthOf(chunk)
  }

  /** @returns whether the response may go on at once. */
  #begin(): boolean {
    if (this.#state === "saving") return false
    const { statusCode } = this.#response
    checkStatus(this.#response, statusCode)
    if (this.#isUntouched()) {
      this.#close(statusCode)
      return true
    }
    this.#save()
    return false
  }

  #isUntouched(): boolean {
    for (const guest of this.#guests) if (guest.session.isTouched) return false
    return true
  }

  /** An untouched session has nothing to say, so nobody waits for it; finalize only makes later changes throw. */
  #close(status: number): void {
    this.#state = "passed"
    for (const guest of this.#guests) guest.session.finalize({ status }).catch(guest.report)
  }

  #save(): void {
    const response = this.#response
    const { statusCode } = response
    const isHttp1 = !isHttp2(response)
    const statusMessage = isHttp1 ? response.statusMessage : ""
    const outcome: Outcome = { status: statusCode, headersLost: response.headersSent }
    if (response.headersSent) this.#reportLostHead()
    this.#state = "saving"
    const unguard = guard(response)
    const release = (results: readonly (Finalized | Failure)[]): void => {
      unguard()
      // Node keeps it on the response itself; it will set it again.
      if (isHttp1 && this.#ended) response.finished = false
      // The head was fixed when the handler began it, whatever it has assigned since.
      response.statusCode = statusCode
      if (isHttp1) response.statusMessage = statusMessage
      this.#release(results)
    }
    const saving = Promise.all(this.#guests.map((guest) => finalize(guest, outcome)))
    void saving.then(release).catch((error: unknown) => this.#giveUp([{ error, report: this.#report }]))
  }

  /** Somebody went past us, by `stream.respond` of HTTP/2 for one. */
  #reportLostHead(): void {
    const error = new SessionError(
      "The head of the response was sent by a way the session cannot see, so it could not be saved before, nor send its cookie.",
    )
    for (const { session, report } of this.#guests) if (session.isTouched) void report(error)
  }

  #release(results: readonly (Finalized | Failure)[]): void {
    const finalized = results.filter((result) => "headers" in result)
    const failures = results.filter((result) => "error" in result)
    if (this.#handlerFailure !== undefined) failures.push(this.#handlerFailure)
    if (failures.length > 0) {
      if (this.#response.headersSent) this.#giveUp(failures)
      else this.#refuse(failures, finalized)
      return
    }
    this.#state = "passed"
    try {
      announce(this.#response, finalized)
      this.#replay()
    } catch (error) {
      // What Node would have thrown at the handler; nobody is left to catch it.
      const failure = { error, report: this.#report }
      if (this.#response.headersSent) this.#giveUp([failure])
      else this.#refuse([failure], finalized)
    }
  }

  /** The client has got a part of an answer that cannot go on. */
  #giveUp(failures: readonly Failure[]): void {
    this.#state = "passed"
    this.#drop(failures[0]?.error)
    for (const { error, report } of failures) void report(error)
    cutOff(this.#response)
  }

  /** Of what is nobody's session's fault. */
  get #report(): Report {
    return (this.#guests[0] as Guest).report
  }

  #replay(): void {
    const replaced = this.#replaced
    this.#replaced = false
    let hasRoom = true
    for (let call = this.#queue.shift(); call !== undefined; call = this.#queue.shift()) {
      const result = this.#pass(call.step, call.args)
      if (call.step === "write" && result === false) hasRoom = false
    }
    this.#replaced = replaced
    // With no room left, Node emits the event itself. A listener that throws is none of the caller's business.
    if (this.#stalled && hasRoom && !this.#ended) queueMicrotask(() => this.#response.emit("drain"))
  }

  /** Another answer goes out in place of the handler's. It carries the cookies of the sessions that were saved. */
  #refuse(failures: readonly Failure[], finalized: readonly Finalized[]): void {
    this.#drop(failures[0]?.error)
    this.#resetHead()
    announce(this.#response, finalized)
    this.#owed = finalized
    this.#state = "passed"
    this.#replaced = false
    this.#answer(failures, finalized)
  }

  #resetHead(): void {
    resetHead(
      this.#response,
      this.#guests.some((guest) => guest.keepHeaders === true),
    )
  }

  #drop(error: unknown): void {
    for (const { args } of this.#queue) swallow(args, error, undefined)
    this.#queue = []
  }

  #answer(failures: readonly Failure[], finalized: readonly Finalized[]): void {
    const reports = failures.map(({ error, report }) => report(error))
    const reply = (replies: readonly (ErrorResponse | undefined)[]): void => {
      this.#replaced = false
      this.#reply(replies, failures, finalized)
    }
    if (!reports.some((report) => report instanceof Promise)) {
      reply(reports as (ErrorResponse | undefined)[])
      return
    }
    // A handler that has not ended its answer must not write into the one that is being made.
    this.#replaced = this.#state === "passed" && !this.#ended && !this.#response.headersSent
    void Promise.all(reports.map(async (report) => report)).then(reply)
  }

  #reply(
    replies: readonly (ErrorResponse | undefined)[],
    failures: readonly Failure[],
    finalized: readonly Finalized[],
  ): void {
    const [{ error, report }] = failures as [Failure]
    try {
      this.#send(replies.find((reply) => reply !== undefined) ?? errorResponse(error), finalized)
    } catch (wrongReply) {
      void report(wrongReply)
      this.#sendPlain(wrongReply, finalized)
    }
    if (this.#response.writableEnded) this.#replaced = true
  }

  #sendPlain(error: unknown, finalized: readonly Finalized[]): void {
    try {
      this.#resetHead()
      this.#send(errorResponse(error), finalized)
    } catch {
      cutOff(this.#response)
    }
  }

  #send({ status, headers = {}, body = "" }: ErrorResponse, finalized: readonly Finalized[]): void {
    const response = this.#response
    if (response.headersSent || response.writableEnded) return
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body
    response.statusCode = status
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    if (bytes.byteLength > 0) response.setHeader("Content-Length", String(bytes.byteLength))
    announce(response, finalized)
    this.#end([bytes])
  }
}

async function finalize(guest: Guest, outcome: Outcome): Promise<Finalized | Failure> {
  try {
    return await guest.session.finalize(outcome)
  } catch (error) {
    return guest.isTold === true ? { headers: [] } : { error, report: guest.report }
  }
}

function announce(response: NodeResponse, finalized: readonly Finalized[]): void {
  if (response.headersSent) return
  for (const one of finalized) applyFinalized(headersOf(response), one)
}

function headersOf(response: NodeResponse): HeaderTarget {
  return {
    get(name) {
      const value = response.getHeader(name)
      return typeof value === "object" ? value.join(", ") : value?.toString()
    },
    getSetCookie() {
      const value = response.getHeader("Set-Cookie") ?? []
      return typeof value === "object" ? value : [String(value)]
    },
    set: (name, value) => void response.setHeader(name, value),
    append: (name, value) => void response.appendHeader(name, value),
    delete: (name) => response.removeHeader(name),
  }
}

/** The forms `writeHead` takes: an object, name and value in turn, or pairs. Lists may name a header several times. */
function setHeaders(response: NodeResponse, headers: unknown): void {
  if (typeof headers !== "object" || headers === null) return
  if (!Array.isArray(headers)) {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value as string)
    return
  }
  const pairs = Array.isArray(headers[0]) ? (headers as [string, string][]) : inPairs(headers as string[])
  for (const [name] of pairs) response.removeHeader(name)
  for (const [name, value] of pairs) response.appendHeader(name, value)
}

function inPairs(list: readonly string[]): [string, string][] {
  if (list.length % 2 !== 0) {
    throw coded(new TypeError("The headers are a name without a value."), "ERR_INVALID_ARG_VALUE")
  }
  const pairs: [string, string][] = []
  for (let index = 0; index < list.length; index += 2) {
    pairs.push([list[index] as string, list[index + 1] as string])
  }
  return pairs
}

/**
 * Takes back what the handler has set, but for how the connection goes on.
 * @param onlyContent leave what concerns every answer, such as the headers that let pages of other origins read it
 */
function resetHead(response: NodeResponse, onlyContent: boolean): void {
  const { sendDate } = response
  const names = onlyContent ? ANSWER_HEADERS : response.getHeaderNames()
  for (const name of names) if (name !== "connection") response.removeHeader(name)
  // Removing a `Date` of the handler's own would otherwise leave the answer without one.
  response.sendDate = sendDate
  if (!isHttp2(response)) response.statusMessage = ""
}

/**
 * Makes a response look as if its head were sent, by a prototype of our own: properties of the response itself, which have to
 * be deleted again, cost a request ten times as much. Only a framework that has changed the prototype needs them: Express changes it again
 * when a request enters or leaves an application that is mounted in another.
 * @returns a function that ends it.
 */
function guard(response: NodeResponse): () => void {
  const native = Object.getPrototypeOf(response) as object
  if (!Object.hasOwn(native, "writeHead")) return guardItself(response, native)
  let guarded = guardedPrototypes.get(native)
  if (guarded === undefined) {
    guarded = Object.create(native, guardsOf(native)) as object
    guardedPrototypes.set(native, guarded)
  }
  Object.setPrototypeOf(response, guarded)
  return () => {
    if (Object.getPrototypeOf(response) === guarded) Object.setPrototypeOf(response, native)
  }
}

function guardItself(response: NodeResponse, native: object): () => void {
  const guards = Object.entries(guardsOf(native)).filter(([name]) => !Object.hasOwn(response, name))
  for (const [name, descriptor] of guards) {
    Object.defineProperty(response, name, { ...descriptor, configurable: true })
  }
  return () => {
    for (const [name] of guards) Reflect.deleteProperty(response, name)
  }
}

const guardedPrototypes = new WeakMap<object, object>()

function guardsOf(native: object): PropertyDescriptorMap {
  const refuse = {
    value(this: NodeResponse): never {
      throw headersSentError(this)
    },
  }
  const guards: PropertyDescriptorMap = {
    headersSent: { get: () => true },
    writableEnded: seenFrom((gate) => gate.isEnded),
    finished: seenFrom((gate) => gate.isEnded),
    writableFinished: { get: () => false },
    writableNeedDrain: seenFrom((gate) => gate.needsDrain),
    writableLength: seenFrom(
      (gate, response) => Number(Reflect.get(native, "writableLength", response)) + gate.queuedSize,
    ),
    setHeader: refuse,
    setHeaders: refuse,
    appendHeader: refuse,
    removeHeader: refuse,
    // Older middleware calls it when it finds `_header` empty.
    _implicitHeader: { value: () => undefined },
  }
  for (const name of Object.keys(guards)) if (!(name in native)) delete guards[name]
  return guards
}

function seenFrom(view: (gate: ResponseGate, response: NodeResponse) => unknown): PropertyDescriptor {
  return {
    get(this: NodeResponse) {
      return view(this[gateKey] as ResponseGate, this)
    },
  }
}

/** Ends a response in a way the client cannot take for its end. */
function cutOff(response: NodeResponse): void {
  if (isHttp2(response)) response.stream.close(HTTP2_INTERNAL_ERROR)
  else response.destroy()
}

export function isHttp2(response: NodeResponse): response is NodeResponse & { stream: NodeStream } {
  return response.stream?.respond !== undefined
}

/** What is written goes nowhere; its callback learns why. @returns `result`. */
function swallow<Result>(args: readonly unknown[], error: unknown, result: Result): Result {
  const callback = args.findLast((argument) => typeof argument === "function")
  if (callback !== undefined) {
    const reason =
      error ?? coded(new Error("Another answer was sent in place of this one."), "ERR_STREAM_DESTROYED")
    queueMicrotask(() => (callback as (error: unknown) => void)(reason))
  }
  return result
}

/** Bytes, or UTF-16 units: near enough for `writableLength`. */
function lengthOf(chunk: string | ArrayBufferView): number {
  return typeof chunk === "string" ? chunk.length : chunk.byteLength
}

// What Node would throw at once must be thrown at once, while the handler can still answer otherwise.

function checkStatus(response: NodeResponse, status: unknown): void {
  if (isHttp2(response)) response.statusCode = status as number
  const code = Math.trunc(Number(status))
  if (code >= 100 && code <= 999) return
  throw coded(new RangeError(`Invalid status code: ${String(status)}`), "ERR_HTTP_INVALID_STATUS_CODE")
}

function checkMessage(message: string): string {
  if (!/[^\t\x20-\x7e\x80-\xff]/.test(message)) return message
  throw coded(new TypeError("Invalid character in statusMessage"), "ERR_INVALID_CHAR")
}

function checkChunk(response: NodeResponse, chunk: unknown): void {
  if (typeof chunk === "string" || chunk instanceof Uint8Array) return
  if (isHttp2(response) && ArrayBuffer.isView(chunk)) return
  const wanted = "The chunk must be a string, a Buffer or a Uint8Array."
  throw coded(new TypeError(wanted), chunk === null ? "ERR_STREAM_NULL_VALUES" : "ERR_INVALID_ARG_TYPE")
}

function ended(code: string): Error {
  return coded(new Error("The response has been ended already."), code)
}

function headersSentError(response: NodeResponse): Error {
  const code = isHttp2(response) ? "ERR_HTTP2_HEADERS_SENT" : "ERR_HTTP_HEADERS_SENT"
  return coded(new Error("The response has begun: its headers cannot be changed any more."), code)
}

function coded<E extends Error>(error: E, code: string): E & { code: string } {
  return Object.assign(error, { code })
}
