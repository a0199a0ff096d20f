/**
 * Import this for its effect where `node:crypto` exists but is not chosen by itself: in workerd with the
 * `nodejs_compat` flag. Cookies stay the same. Measure whether it pays: in workerd the other one is as fast once it is warm.
 */
import { usePrimitives } from "./index.ts"
import { primitives } from "./node.ts"

usePrimitives(primitives)
