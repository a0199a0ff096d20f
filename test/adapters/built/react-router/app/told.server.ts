/** What `handleError` was told. */
export const told: string[] = []
