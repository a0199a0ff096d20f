import { type CanActivate, type ExecutionContext, Injectable } from "@nestjs/common"
import { requireFresh, requireUser } from "coatcheck"
import { sessionOf } from "./session.decorator.ts"

/** How long after the sign-in the password may be changed. */
const FRESH = Number(process.env["FRESH_MS"] ?? 5 * 60_000)

/** Lets only requests of signed-in users pass. What it throws has status 401. */
@Injectable()
export class SignedInGuard implements CanActivate {
  async canActivate(context: ExecutionContext): Promise<boolean> {
    await requireUser(sessionOf(context))
    return true
  }
}

/** Lets only requests pass whose user has just signed in. */
@Injectable()
export class FreshSignInGuard implements CanActivate {
  async canActivate(context: ExecutionContext): Promise<boolean> {
    await requireFresh(sessionOf(context), { within: FRESH })
    return true
  }
}
