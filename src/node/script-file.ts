/** Scripts that came over the network, as files that can be run. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Its owner may run it, nobody else may even read it. */
const scriptMode = 0o700;

/** Writes `script` into a folder of its own, so that no other user can put something else in its place. */
export async function storeScript(
  script: Uint8Array,
): Promise<{ readonly path: string; readonly remove: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'rexec-'));
  const path = join(folder, 'script');
  await writeFile(path, script, { mode: scriptMode });
  return { path, remove: () => rm(folder, { recursive: true, force: true }) };
}
