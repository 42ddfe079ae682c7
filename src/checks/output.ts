/**
 * How much of a check's output is kept, and the texts that say so (reference/agent.md §4.2): programs and HTTP bodies
 * keep their end, where the reason stands; TTL notes keep their beginning.
 */
import { formatGoDurationMs } from '../codec/index.ts';

/** `check_output_max_size`, bytes. */
export const outputBytesDefault = 4096;

/** The smaller of the agent's and the check's limit; a check cannot raise the agent's. */
export function outputLimit(agentBytesMax: number, checkBytesMax: number | undefined): number {
  return checkBytesMax === undefined || checkBytesMax <= 0 ? agentBytesMax : Math.min(agentBytesMax, checkBytesMax);
}

/** A TTL note: its first bytes, and how many there were. */
export function limitNote(note: string, bytesMax: number): string {
  const bytes = Buffer.from(note, 'utf8');
  if (bytes.length <= bytesMax) return note;
  return `${bytes.toString('utf8', 0, bytesMax)} ... (captured ${bytesMax} of ${bytes.length} bytes)`;
}

/** A program's output, of which `tail` was kept. */
export function programOutput(tail: Uint8Array, bytesTotal: number): string {
  const text = Buffer.from(tail).toString('utf8');
  return bytesTotal > tail.length ? `Captured ${tail.length} of ${bytesTotal} bytes\n...\n${text}` : text;
}

export function timeoutOutput(timeoutMs: number, output: string): string {
  const text = `Timed out (${formatGoDurationMs(timeoutMs)}) running check`;
  return output === '' ? text : `${text}\n\n${output}`;
}
