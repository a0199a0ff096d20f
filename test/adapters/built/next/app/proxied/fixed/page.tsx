/** Static: it asks for nothing of the request. */
export default function Page() {
  return <p>the same for everybody</p>
}
