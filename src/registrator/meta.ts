/**
 * Service Meta within Consul's limits (reference/registrator.md §5.1, R13, R27). Consul refuses the whole registration
 * for one bad pair; here the pair is mended or dropped, the service is registered, and a note says so.
 */

/** Consul's limits (§5.1): bytes of a key and of a value, pairs of a service. */
const keyBytesMax = 128;
const valueBytesMax = 512;
const pairsMax = 64;
/** Keys with this beginning belong to Consul itself. */
const reservedPrefix = 'consul-';

export interface MetaResult {
  readonly meta: Record<string, string>;
  readonly notes: readonly string[];
}

/**
 * @param wanted pairs of the user with where each comes from, in order; a later key of the same text wins.
 * @param own pairs of ours, which always fit and come first when there are too many.
 */
export function buildMeta(
  wanted: readonly { readonly key: string; readonly value: string; readonly source: string }[],
  own: Readonly<Record<string, string>>,
): MetaResult {
  const notes: string[] = [];
  const meta: Record<string, string> = {};
  for (const { key: asked, value: askedValue, source } of wanted) {
    const key = asked.replaceAll(/[^A-Za-z0-9_-]/g, '_');
    if (key === '') {
      notes.push(`${source}: dropped from Meta, the key is empty; write SERVICE_<KEY>=value`);
      continue;
    }
    if (key.length > keyBytesMax) {
      notes.push(`${source}: dropped from Meta, the key is longer than ${keyBytesMax} characters`);
      continue;
    }
    if (key.startsWith(reservedPrefix)) {
      notes.push(`${source}: dropped from Meta, keys beginning with "${reservedPrefix}" are reserved; rename it`);
      continue;
    }
    if (key in own) {
      notes.push(`${source}: dropped from Meta, "${key}" marks the services Portolan owns; rename it`);
      continue;
    }
    if (key !== asked) notes.push(`${source}: Meta key "${asked}" written as "${key}", allowed are A-Z a-z 0-9 _ -`);
    const value = cutToBytes(askedValue, valueBytesMax);
    if (value !== askedValue) notes.push(`${source}: Meta value cut to ${valueBytesMax} bytes`);
    meta[key] = value;
  }
  const keys = Object.keys(meta).sort();
  const room = pairsMax - Object.keys(own).length;
  if (keys.length > room) {
    const dropped = keys.slice(room);
    for (const key of dropped) delete meta[key];
    notes.push(`Meta is limited to ${pairsMax} pairs; dropped ${dropped.join(', ')}`);
  }
  return { meta: { ...meta, ...own }, notes };
}

/** The longest beginning of `text` that has at most `bytes` bytes of UTF-8. */
export function cutToBytes(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  const buffer = Buffer.from(text);
  let end = bytes;
  // A byte 10xxxxxx continues a character; step back to where one begins.
  while (end > 0 && (buffer[end]! & 0xc0) === 0x80) end--;
  return buffer.subarray(0, end).toString();
}
