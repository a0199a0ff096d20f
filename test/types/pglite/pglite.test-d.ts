import { PGlite } from "@electric-sql/pglite"
import { postgresStore } from "coatcheck/postgres"

// Apart from the others, for PGlite's declarations need those of a browser.
postgresStore(new PGlite())
