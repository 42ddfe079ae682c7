import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../../../src/node/logger.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';
import { notifyReady } from '../../../src/node/systemd-notify.ts';

let directory = '';
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'portolan-notify-'))));
afterEach(() => rmSync(directory, { recursive: true }));

/** A program in the place of systemd-notify. */
function helper(script: string): string {
  const path = join(directory, 'notify');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

async function notify(variables: Record<string, string>, command: string): Promise<string> {
  const written: string[] = [];
  const stdout = { write: (text: string) => written.push(text) };
  const { logger } = createLogger({ level: 'info', json: false, stdout, clock: new SystemClock(), color: false });
  await notifyReady({ logger, variables, command });
  return written.join('');
}

test('the helper is told the socket and the state', async () => {
  const out = join(directory, 'out');
  const command = helper(`echo "$NOTIFY_SOCKET $*" > ${out}`);
  expect(await notify({ NOTIFY_SOCKET: '/run/n', PATH: '/usr/bin:/bin' }, command)).toBe('');
  expect(readFileSync(out, 'utf8')).toBe('/run/n --ready\n');
});

test('nothing is started without NOTIFY_SOCKET', async () => {
  expect(await notify({ NOTIFY_SOCKET: '' }, '/missing')).toBe('');
});

test.each([
  ['is missing', () => join(directory, 'missing'), /ENOENT/],
  ['fails', () => helper('exit 3'), /exit code 3/],
])('a helper that %s is logged and nothing else', async (_title, command, reason) => {
  const log = await notify({ NOTIFY_SOCKET: '/run/n' }, command());
  expect(log).toMatch(/\[WARN\] {2}agent: systemd was not told that the agent is ready/);
  expect(log).toMatch(reason);
});
