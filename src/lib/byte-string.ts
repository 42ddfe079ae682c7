/**
 * KV keys are bytes, and the peer orders them by bytes, while JavaScript orders strings by UTF-16 units. A
 * `ByteString` is a string whose every character is one byte (latin1), so `<` compares bytes, any byte sequence fits,
 * and maps and ordered trees work unchanged. Convert only at the edge (DESIGN rule 8).
 */
export type ByteString = string;

/** The bytes of `text` in UTF-8, one character a byte. */
export function byteStringFromUtf8(text: string): ByteString {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return Buffer.from(text, 'utf8').toString('latin1');
  }
  return text;
}

/** Decodes the bytes as UTF-8; invalid sequences become U+FFFD, as in Consul's JSON. */
export function byteStringToUtf8(bytes: ByteString): string {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes.charCodeAt(i) > 0x7f) return Buffer.from(bytes, 'latin1').toString('utf8');
  }
  return bytes;
}
