/**
 * Import this for its effect where `node:crypto` exists but is not chosen by itself: in workerd with the
 * `nodejs_compat` flag. Cookies stay the same; they are opened and sealed several times faster.
 */
import { usePrimitives } from "./index.ts"
import { primitives } from "./node.ts"

usePrimitives(primitives)
