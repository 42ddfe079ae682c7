// Replays recorded command lines of the real program. Those here need no agent; cli-agent.test.ts replays the others.
// What may differ is what reference/agent.md §1.7 names, and the program's own name.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runAgent } from '../../src/agent/index.ts';
import { run, testDependencies } from '../unit/cli/in-process.ts';
import { type Capture, readCapture, type Recorded, withoutAgent } from './cli-capture.ts';

let dir: string;
let nobody: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'portolan-cli-'));
  mkdirSync(join(dir, 'dir'));
  writeFileSync(join(dir, 'dir/a.json'), '{"log_level": "info"}');
  writeFileSync(join(dir, 'dir/b.hcl'), 'server = false\ndata_dir = "/tmp/x"\n');
  writeFileSync(join(dir, 'dir/c.txt'), 'not read');
  writeFileSync(join(dir, 'c.json'), '{"frob": 1}');
  writeFileSync(join(dir, 'bad.json'), '{"data_dir": "/tmp/x", "frob": 1}');
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  nobody = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  await new Promise((resolve) => server.close(resolve));
});
afterAll(() => rmSync(dir, { recursive: true }));

/** Names of files in the captures' folder; they stand in ours. */
const files = new Set(['dir', 'bad.json', 'nope', 'nope.json', 'web.json']);

async function replay(capture: Capture): Promise<void> {
  const inDir = (word: string): string =>
    files.has(word) && capture.argv[0] !== 'kv' ? join(dir, word) : word.replace('-config-file=', `$&${dir}/`);
  const argv = capture.argv.map(inDir);
  const outcome = await run(argv, {
    stdin: capture.stdin,
    env: { CONSUL_HTTP_ADDR: nobody, ...capture.env },
    dependencies: { ...testDependencies, runAgent },
  });
  const seen = (text: string): string => text.replaceAll(`${dir}/`, '').replaceAll(nobody, '127.0.0.1:8500');
  expectStream(seen(outcome.stdout), capture.stdout);
  expectStream(seen(outcome.stderr), capture.stderr);
  expect(outcome.exit).toBe(capture.exit);
}

function expectStream(text: string, { text: recorded, usageOmitted }: Recorded): void {
  const expected = recorded.replace('Usage: consul ', 'Usage: portolan ');
  if (!usageOmitted) {
    expect(text).toBe(expected);
    return;
  }
  expect(text.slice(0, expected.length)).toBe(expected);
  expect(text.length).toBeGreaterThan(expected.length);
}

describe('as recorded, without an agent', () => {
  test.each(withoutAgent)('%s', (name) => replay(readCapture(name)));
});

describe('as recorded, but for the name and number of the program', () => {
  test.each(['version', 'version-v', 'version-flag'])('%s', async (name) => {
    const { argv, stdout, exit } = readCapture(name);
    const outcome = await run(argv);
    expect(outcome.exit).toBe(exit);
    const lines = outcome.stdout.split('\n');
    expect(lines[0]).toMatch(/^Portolan v\d+\.\d+\.\d+$/);
    expect(lines).toContain('Consul-compatible 1.8.7');
    expect(lines).toContain(stdout.text.split('\n')[1]);
  });

  test.each(['version-json', 'double-dash-flag'])('%s', async (name) => {
    const { argv, stdout, exit } = readCapture(name);
    const outcome = await run(argv);
    expect(outcome.exit).toBe(exit);
    expect(JSON.parse(outcome.stdout)).toEqual({
      ...(JSON.parse(stdout.text) as object),
      Version: '0.1.0',
      ConsulCompatible: '1.8.7',
    });
    expect(outcome.stdout.split('\n')[1]).toMatch(/^ {3}"Version"/);
  });

  test('keygen: another key of the same form', async () => {
    const { argv, stdout } = readCapture('keygen');
    const outcome = await run(argv);
    expect(outcome.stdout).toHaveLength(stdout.text.length);
    expect(Buffer.from(outcome.stdout, 'base64')).toHaveLength(32);
    expect(outcome.stdout).not.toBe((await run(argv)).stdout);
  });
});
