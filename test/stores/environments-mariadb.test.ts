import { describeEnvironments } from "./environments-mysql.ts"

describeEnvironments("mariadb")
