import { describeServerFaults } from "./faults-servers.ts"

describeServerFaults("mysql")
