import { mysqlDrivers } from "./clients.ts"
import { describeLaws } from "./conformance.ts"

for (const [driver, open] of Object.entries(mysqlDrivers)) {
  describeLaws("mysql", `mysqlStore through ${driver}`, open)
}
