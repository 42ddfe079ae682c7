/**
 * Standard base64 as Go decodes it: padding required, line feeds skipped, and the first byte that does not fit is
 * named. Node's own decoder takes anything and says nothing.
 */
const digit = /[A-Za-z\d+/]/;

/** @throws Error `illegal base64 data at input byte N`. */
export function decodeGoBase64(text: string): Buffer {
  const corrupt = (at: number): Error => new Error(`illegal base64 data at input byte ${at}`);
  let place = 0;
  let quantum = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === '\n' || character === '\r') continue;
    if (character === '=') {
      if (place < 2) throw corrupt(at);
      const rest = text.slice(at).replaceAll(/[\r\n]/g, '');
      if (place === 2 && !rest.startsWith('==')) throw corrupt(rest === '=' ? text.length : at + 1);
      if (rest.length > 4 - place) throw corrupt(at + 4 - place);
      return Buffer.from(text, 'base64');
    }
    if (!digit.test(character)) throw corrupt(at);
    if (place === 0) quantum = at;
    place = (place + 1) % 4;
  }
  if (place !== 0) throw corrupt(quantum);
  return Buffer.from(text, 'base64');
}
