const named: Readonly<Record<string, string>> = {
  '\u0007': String.raw`\a`,
  '\b': String.raw`\b`,
  '\f': String.raw`\f`,
  '\n': String.raw`\n`,
  '\r': String.raw`\r`,
  '\t': String.raw`\t`,
  '\v': String.raw`\v`,
  '"': String.raw`\"`,
  '\\': String.raw`\\`,
};

/** Text in quotes as Go's `%q` writes it: many error texts carry a name or a key so. */
export function goQuote(text: string): string {
  const escaped = text.replaceAll(/["\\]|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, (c) => {
    if (named[c] !== undefined) return named[c];
    const code = c.codePointAt(0)!;
    if (code < 0x80) return String.raw`\x${code.toString(16).padStart(2, '0')}`;
    return code < 0x10000
      ? String.raw`\u${code.toString(16).padStart(4, '0')}`
      : String.raw`\U${code.toString(16).padStart(8, '0')}`;
  });
  return `"${escaped}"`;
}
