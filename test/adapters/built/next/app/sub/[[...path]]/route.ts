export { answer as GET, answer as POST } from "../../../sessions.ts"
