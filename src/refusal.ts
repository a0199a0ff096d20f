/** An answer in place of the one that failed. */
export interface ErrorResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | Uint8Array | undefined
}

/**
 * What a failure is answered with unless you say otherwise: 503 with a `Retry-After` of five seconds when the store is unavailable, and of one
 * when too many requests write at once; 401 when somebody must sign in first, or was signed out meanwhile; 403 for a cross-site request; else 500.
 */
export function errorResponse(error: unknown): ErrorResponse {
  const headers = { "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store" }
  switch (codeOf(error)) {
    case "ERR_SESSION_STORE":
      return { status: 503, headers: { ...headers, "Retry-After": "5" }, body: "Service Unavailable\n" }
    case "ERR_SESSION_VERSION_CONFLICT":
      return { status: 503, headers: { ...headers, "Retry-After": "1" }, body: "Service Unavailable\n" }
    case "ERR_SESSION_SIGN_IN_REQUIRED":
    case "ERR_SESSION_ENDED":
      return { status: 401, headers, body: "Unauthorized\n" }
    case "ERR_SESSION_CSRF":
      return { status: 403, headers, body: "Forbidden\n" }
    default:
      return { status: 500, headers, body: "Internal Server Error\n" }
  }
}

/** The same as a web `Response`; undefined for an error that is none of a session's, and so not for this library to answer. */
export function sessionErrorResponse(error: unknown): Response | undefined {
  if (!isSessionError(error)) return undefined
  const { status, headers, body } = errorResponse(error)
  return new Response(body as string, { status, ...(headers === undefined ? undefined : { headers }) })
}

/** Whether this is an error of a session's, or the one with this code. By code rather than by class, for a bundle may hold this library twice. */
export function isSessionError<Code extends `ERR_SESSION${string}`>(
  error: unknown,
  code?: Code,
): error is Error & { readonly code: Code } {
  const own = codeOf(error)
  return code === undefined ? own?.startsWith("ERR_SESSION") === true : own === code
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined
}
