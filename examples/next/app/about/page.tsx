/** It asks for no session, so it is rendered once, when the shop is built. */
export default function About() {
  return <h1>About the Cloakroom</h1>
}
