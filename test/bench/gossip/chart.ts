/** Line charts as SVG, with nothing but text and paths: they show in any browser and in a code host's preview. */

export interface Chart {
  /** File name without ending. */
  readonly name: string;
  readonly title: string;
  readonly svg: string;
}

interface LineChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly isLogX: boolean;
  readonly x: readonly number[];
  readonly lines: readonly { readonly name: string; readonly y: readonly number[] }[];
}

const width = 720;
const height = 400;
const margin = { left: 64, right: 24, top: 40, bottom: 88 };
const colors = ['#1f77b4', '#d62728', '#2ca02c', '#7f7f7f', '#9467bd', '#ff7f0e'];
const ticksY = 5;

export function lineChart(name: string, { title, xLabel, yLabel, isLogX, x, lines }: LineChart): Chart {
  const scale = (value: number): number => (isLogX ? Math.log10(value) : value);
  const [left, right] = [scale(Math.min(...x)), scale(Math.max(...x))];
  const yMax = roundUp(Math.max(1e-9, ...lines.flatMap(({ y }) => y)));
  const atX = (value: number): number =>
    margin.left + ((scale(value) - left) / (right - left || 1)) * (width - margin.left - margin.right);
  const atY = (value: number): number =>
    height - margin.bottom - (value / yMax) * (height - margin.top - margin.bottom);
  const text = (at: { x: number; y: number }, content: string, more = ''): string =>
    `<text x="${at.x.toFixed(1)}" y="${at.y.toFixed(1)}" ${more}>${escape(content)}</text>`;
  const parts: string[] = [text({ x: width / 2, y: 22 }, title, 'text-anchor="middle" font-weight="bold"')];
  for (let tick = 0; tick <= ticksY; tick++) {
    const value = (yMax * tick) / ticksY;
    const y = atY(value);
    parts.push(
      `<path d="M${margin.left} ${y.toFixed(1)}H${width - margin.right}" stroke="#ddd"/>`,
      text({ x: margin.left - 8, y: y + 4 }, String(Number(value.toPrecision(3))), 'text-anchor="end"'),
    );
  }
  for (const value of x) {
    parts.push(text({ x: atX(value), y: height - margin.bottom + 18 }, String(value), 'text-anchor="middle"'));
  }
  parts.push(
    text(
      { x: (margin.left + width - margin.right) / 2, y: height - margin.bottom + 38 },
      xLabel,
      'text-anchor="middle"',
    ),
    text({ x: 12, y: margin.top - 12 }, yLabel),
  );
  for (const [i, line] of lines.entries()) {
    const color = colors[i % colors.length]!;
    const points = line.y.map((value, at) => `${atX(x[at]!).toFixed(1)} ${atY(value).toFixed(1)}`);
    parts.push(`<path d="M${points.join('L')}" fill="none" stroke="${color}" stroke-width="2"/>`);
    for (const point of points) {
      const [cx, cy] = point.split(' ');
      parts.push(`<circle cx="${cx}" cy="${cy}" r="3" fill="${color}"/>`);
    }
    const legendX = margin.left + (i % 3) * 220;
    const legendY = height - 28 + Math.floor(i / 3) * 18;
    parts.push(
      `<path d="M${legendX} ${legendY - 4}h18" stroke="${color}" stroke-width="2"/>`,
      text({ x: legendX + 24, y: legendY }, line.name),
    );
  }
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">\n` +
    `<rect width="${width}" height="${height}" fill="#fff"/>\n${parts.join('\n')}\n</svg>\n`;
  return { name, title, svg };
}

/** The next 1, 2 or 5 times a power of ten. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value)!;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
