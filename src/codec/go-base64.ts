/**
 * Standard base64 as Go decodes it: padding required, line feeds skipped, and the first byte that does not fit is
 * named. Node's own decoder takes anything and says nothing.
 */

/** @throws Error `illegal base64 data at input byte N`. */
export function decodeGoBase64(text: string): Buffer {
  const corrupt = (at: number): Error => new Error(`illegal base64 data at input byte ${at}`);
  const lineFeedsFrom = (at: number): number => at + /^[\r\n]*/.exec(text.slice(at))![0].length;
  const at = text.search(/[^A-Za-z\d+/\r\n]/);
  const digits = (at === -1 ? text : text.slice(0, at)).replaceAll(/[\r\n]/g, '').length;
  /** Digits in the last group of four. */
  const place = digits % 4;
  if (at === -1) {
    if (place !== 0) throw corrupt(text.length - place);
  } else {
    if (text[at] !== '=' || place < 2) throw corrupt(at);
    let end = at + 1;
    if (place === 2) {
      end = lineFeedsFrom(end);
      if (end === text.length) throw corrupt(end);
      if (text[end] !== '=') throw corrupt(end - 1);
      end++;
    }
    end = lineFeedsFrom(end);
    if (end < text.length) throw corrupt(end);
  }
  return Buffer.from(text, 'base64');
}
