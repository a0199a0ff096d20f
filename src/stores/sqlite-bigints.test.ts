import BetterSqlite from "better-sqlite3"
import { describeConformance } from "./sqlite-conformance.test-helper.ts"

describeConformance("better-sqlite3 with bigints", (path) => new BetterSqlite(path).defaultSafeIntegers(true))
