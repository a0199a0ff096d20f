import { type ArgumentsHost, Catch, type ExceptionFilter } from "@nestjs/common"
import { HttpAdapterHost } from "@nestjs/core"
import { errorResponse, SessionEndedError, SessionError, SignInRequiredError } from "coatcheck"

/** Answers what sessions fail with, a failed save included, which comes when the handler is done. */
@Catch(SessionError)
export class SessionErrorFilter implements ExceptionFilter<SessionError> {
  private readonly host: HttpAdapterHost

  constructor(host: HttpAdapterHost) {
    this.host = host
  }

  catch(error: SessionError, context: ArgumentsHost): void {
    const { httpAdapter } = this.host
    const response: unknown = context.switchToHttp().getResponse()
    if (error instanceof SessionEndedError) return httpAdapter.redirect(response, 303, "/sign-in?ended")
    if (error instanceof SignInRequiredError) {
      return httpAdapter.redirect(response, 303, error.reason === "stale" ? "/sign-in?again" : "/sign-in")
    }
    // 503 with `Retry-After` while the store is unavailable.
    const { status, headers = {}, body } = errorResponse(error)
    for (const [name, value] of Object.entries(headers)) httpAdapter.setHeader(response, name, value)
    httpAdapter.reply(response, body, status)
  }
}
