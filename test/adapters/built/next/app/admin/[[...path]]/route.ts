export { answerAdmins as GET, answerAdmins as POST } from "../../../sessions.ts"
