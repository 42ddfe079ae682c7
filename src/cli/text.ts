/** Plain text for terminals: tables whose columns line up, wrapped paragraphs, colours. */

/** Width of help texts, columns. */
const lineWidth = 80;

// oxlint-disable-next-line no-control-regex
const escapes = /\u001b\[\d+m/g;

/** Columns a text takes on the screen: characters, colours not counted. */
export function widthOf(text: string): number {
  return Array.from(text.replaceAll(escapes, '')).length;
}

/**
 * Columns as wide as their widest cell, two spaces between, nothing behind the last one (reference/agent.md §1.1).
 * @returns the lines, without final line feed.
 */
export function formatTable(rows: readonly (readonly string[])[], gap = 2): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, widthOf(cell));
  }
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === row.length - 1 ? cell : cell + ' '.repeat(widths[i]! + gap - widthOf(cell))))
        .join(''),
    )
    .join('\n');
}

/** Breaks a paragraph into lines that begin with `indent` spaces. */
export function wrap(paragraph: string, indent: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of paragraph.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > lineWidth) {
      lines.push(line);
      line = word;
    } else {
      line += (line === '' ? '' : ' ') + word;
    }
  }
  return [...lines, line].map((text) => ' '.repeat(indent) + text);
}

const colors = { green: 32, yellow: 33, red: 31 } as const;

/** `text` in a colour, when `enabled`. */
export function paint(text: string, color: keyof typeof colors, enabled: boolean): string {
  return enabled ? `\u001b[${colors[color]}m${text}\u001b[0m` : text;
}

/** Strings in the order of their bytes, as the reference program sorts. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
