/** What the tests' Workers use of a module that workerd alone has. */
declare module "cloudflare:workers" {
  export const env: Readonly<Record<string, string>>
}
