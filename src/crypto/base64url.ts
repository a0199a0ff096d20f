const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const CODES: Uint8Array = Uint8Array.from(ALPHABET, (character) => character.charCodeAt(0))
/** Has a bit no six-bit digit has, and keeps it through every shift that combines digits. */
const INVALID = -1
const DIGITS: Int8Array = digitsByCode()

const ascii = new TextDecoder()

/** Unpadded base64url (RFC 4648, section 5), for runtimes that bring no fast one. */
export function encodeBase64url(bytes: Uint8Array): string {
  const text = new Uint8Array(Math.ceil((bytes.length * 4) / 3))
  let to = 0
  for (let from = 0; from < bytes.length; from += 3) {
    const triple = (bytes[from]! << 16) | ((bytes[from + 1] ?? 0) << 8) | (bytes[from + 2] ?? 0)
    // Writes past the end of a typed array do nothing, which is what the last group needs.
    text[to++] = CODES[triple >> 18]!
    text[to++] = CODES[(triple >> 12) & 63]!
    text[to++] = CODES[(triple >> 6) & 63]!
    text[to++] = CODES[triple & 63]!
  }
  return ascii.decode(text)
}

/** The bytes of canonical unpadded base64url; undefined for everything else. */
export function decodeBase64url(text: string): Uint8Array | undefined {
  const spare = text.length % 4
  if (spare === 1) return undefined
  const bytes = new Uint8Array((text.length * 3) >> 2)
  let seen = 0
  let to = 0
  for (let from = 0; from < text.length; from += 4) {
    const quad =
      (digitAt(text, from) << 18) |
      (digitAt(text, from + 1) << 12) |
      (digitAt(text, from + 2) << 6) |
      digitAt(text, from + 3)
    seen |= quad
    bytes[to++] = quad >> 16
    bytes[to++] = quad >> 8
    bytes[to++] = quad
  }
  if (seen < 0) return undefined
  return lastDigitIsCanonical(text, spare) ? bytes : undefined
}

/** Zero beyond the end, so that the last, shorter group decodes like the others. */
function digitAt(text: string, index: number): number {
  return index < text.length ? (DIGITS[text.charCodeAt(index)] ?? INVALID) : 0
}

/** Two characters carry eight bits and four unused ones, three carry sixteen and two; unused bits must be zero. */
function lastDigitIsCanonical(text: string, spare: number): boolean {
  if (spare === 0) return true
  const unused = spare === 2 ? 0b1111 : 0b11
  return (digitAt(text, text.length - 1) & unused) === 0
}

function digitsByCode(): Int8Array {
  const digits = new Int8Array(128).fill(INVALID)
  for (const [digit, code] of CODES.entries()) digits[code] = digit
  return digits
}
