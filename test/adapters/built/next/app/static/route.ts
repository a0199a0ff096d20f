import { shop } from "../../sessions.ts"

export const dynamic = "force-static"

/** Made when the application is built, and kept for everybody. */
export const GET = shop.withSession(async (session) => {
  const note = (await session.get("note")) ?? "none"
  try {
    session.set("note", "for everybody")
    return Response.json([note, "written"])
  } catch (error) {
    return Response.json([note, String(error)])
  }
})
