import BetterSqlite from "better-sqlite3"
import { describeConformance } from "./sqlite-conformance.test-helper.ts"

describeConformance("better-sqlite3", (path) => new BetterSqlite(path))
