/** A field of the form that a request brings; empty if it is not there. */
export async function fieldOf(request: Request, name: string): Promise<string> {
  const value = (await request.formData()).get(name)
  return typeof value === "string" ? value.trim() : ""
}
