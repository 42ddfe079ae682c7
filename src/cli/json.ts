import { encodeGoJson } from '../codec/index.ts';
import type { CliIo } from './command.ts';

/** Prints `value` as indented JSON, 64-bit integers with all digits. */
export function writeJson(io: CliIo, value: unknown): void {
  io.stdout.write(encodeGoJson(value, { pretty: true }));
}
