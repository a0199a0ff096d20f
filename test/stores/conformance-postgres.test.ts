import { postgresDrivers } from "./clients.ts"
import { describeLaws } from "./conformance.ts"

for (const [driver, open] of Object.entries(postgresDrivers)) {
  describeLaws("postgres", `postgresStore through ${driver}`, open)
}
