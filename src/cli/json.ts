import { encodeGoJson } from '../codec/index.ts';
import type { CliIo } from './command.ts';

/** Prints `value` as indented JSON, 64-bit integers with all digits. */
export function writeJson(io: CliIo, value: unknown): void {
  io.stdout.write(encodeGoJson(value, { pretty: true }));
}

/** `value` as JSON with another indentation than four blanks a level, without final line feed. */
export function indentedJson(value: unknown, indent: string): string {
  // Strings hold no line feeds of their own, so leading blanks are always indentation.
  return encodeGoJson(value, { pretty: true })
    .trimEnd()
    .replaceAll(/^ +/gm, (blanks) => indent.repeat(blanks.length / 4));
}
