// Draws main-job.txt, the transcript of a real run, as main-job.svg: node .github/images/render.mjs
import { readFileSync, writeFileSync } from 'node:fs';

const here = new URL('.', import.meta.url);
const lines = readFileSync(new URL('main-job.txt', here), 'utf8').trimEnd().split('\n');
const [left, top, lineHeight, charWidth, fontSize] = [20, 52, 19, 7.83, 13];
const width = Math.ceil(left * 2 + Math.max(...lines.map((line) => line.length)) * charWidth);
const height = top + lines.length * lineHeight + 8;
const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const span = (color, text) => `<tspan fill="${color}">${escape(text)}</tspan>`;

const draw = (line) => {
  if (!line.startsWith('$')) return span(/passing/.test(line) ? '#7ee2a8' : '#c9d4de', line);
  const at = line.search(/\s+# /);
  const [command, comment] = at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at)];
  return span('#5fb3f9', '$') + span('#ffffff', command.slice(1)) + (comment ? span('#8b98a5', comment) : '');
};
const dots = ['#ff5f57', '#febc2e', '#28c840'].map((fill, i) => `<circle cx="${left + i * 18}" cy="20" r="6" fill="${fill}"/>`);
const text = lines.map((line, i) => `<text x="${left}" y="${top + i * lineHeight}" xml:space="preserve">${draw(line)}</text>`);
writeFileSync(
  new URL('main-job.svg', here),
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="A terminal: two containers start, appear as services in the catalog, in DNS and with their health, and vanish when removed" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="${fontSize}">
<rect width="${width}" height="${height}" rx="8" fill="#16202b"/>
${dots.join('')}
${text.join('\n')}
</svg>
`,
);
