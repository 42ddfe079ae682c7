/** What names this machine for good: its firmware's UUID, else the system's machine id. */
import { readFile } from 'node:fs/promises';

const files = ['/sys/class/dmi/id/product_uuid', '/etc/machine-id', '/proc/sys/kernel/random/boot_id'] as const;
const uuidDigits = /^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$/;

/** A lower case UUID; undefined when the system tells none. */
export async function readHostId(): Promise<string | undefined> {
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const parts = uuidDigits.exec(text.trim().toLowerCase());
    if (parts !== null) return parts.slice(1).join('-');
  }
  return undefined;
}
