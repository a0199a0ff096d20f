import { describeServerFaults } from "./faults-servers.ts"

describeServerFaults("mariadb")
