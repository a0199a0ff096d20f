import { describeServerFaults } from "./faults-servers.ts"

describeServerFaults("postgres")
