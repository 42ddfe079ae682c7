/** Ratios as bars: one column to read from top to bottom, on a logarithmic axis where 1 is "as good as the peer". */

export interface Bar {
  readonly name: string;
  /** How many times as good as the peer; above 1 is better. */
  readonly value: number;
  /** The numbers behind it. */
  readonly text: string;
  readonly goal?: number;
}

export interface BarChart {
  readonly title: string;
  readonly bars: readonly Bar[];
}

// All in pixels.
const width = 860;
const left = 300;
const right = 190;
const top = 64;
const rowHeight = 24;
const barHeight = 14;
/** Where the axis ends; longer bars are cut there, their number stands beside them. */
const valueMax = 32;

/** A picture that needs no font, script or style from elsewhere. */
export function barChart({ title, bars }: BarChart): string {
  const finite = bars.filter(({ value }) => Number.isFinite(value) && value > 0);
  const ends = finite.flatMap(({ value, goal }) => [value, goal ?? 1]);
  const low = Math.log2(Math.min(0.5, ...ends));
  const high = Math.log2(Math.min(valueMax, Math.max(2, ...ends)));
  const x = (value: number): number => left + ((Math.log2(value) - low) / (high - low)) * (width - left - right);
  const height = top + finite.length * rowHeight + 16;
  const ticks = Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, at) => 2 ** (Math.ceil(low) + at));
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="16" y="26" font-size="15" font-weight="600" fill="#1c2733">${escaped(title)}</text>`,
    ...ticks.map(
      (tick) =>
        `<path d="M${round(x(tick))} ${top - 8}V${height - 12}" stroke="${tick === 1 ? '#5b6875' : '#e3e7eb'}"/>` +
        `<text x="${round(x(tick))}" y="${top - 12}" text-anchor="middle" fill="#5b6875">${tick}×</text>`,
    ),
  ];
  for (const [at, { name, value, text, goal }] of finite.entries()) {
    const y = top + at * rowHeight;
    const [from, to] = [x(1), x(Math.min(value, valueMax))].toSorted((a, b) => a - b) as [number, number];
    parts.push(
      `<text x="${left - 12}" y="${y + barHeight - 3}" text-anchor="end" fill="#1c2733">${escaped(name)}</text>`,
      `<rect x="${round(from)}" y="${y}" width="${round(to - from)}" height="${barHeight}" rx="2" fill="${value >= 1 ? '#1f7a8c' : '#c8553d'}"/>`,
      `<text x="${width - right + 12}" y="${y + barHeight - 3}" fill="#5b6875">${value.toFixed(2)}× (${escaped(text)})</text>`,
    );
    if (goal !== undefined) {
      parts.push(`<path d="M${round(x(goal))} ${y - 3}v${barHeight + 6}" stroke="#1c2733" stroke-width="2"/>`);
    }
  }
  return `${parts.join('\n')}\n</svg>\n`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
