// The recorded HTTP conversations, held with client agents of a real server: whatever a real client answers, ours does,
// also where that is not what the recorded agent, a server itself, has answered.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWith, realConsul } from './support/clients.ts';

const root = resolve(import.meta.dirname, '../..');
const fixtures = join(root, 'test/fixtures/golden');
const binary = process.env['PORTOLAN_BUNDLE'] ?? join(root, 'dist/portolan.js');

/** Scenarios that start several agents, or whose answers are about the agent that is a server. */
const notForClients = new Set([
  'client-agent',
  'join-and-leave',
  'no-leader',
  'no-servers',
  'server-catalog-self',
  'two-datacenters',
]);
/** What each agent says of itself. */
const ownMatter = /\/v1\/agent\/(?:self|members|metrics|monitor|host)/;
/**
 * A real server that refuses a restore leaves the archive unread, and its kernel then drops what it has said: whether a
 * client hears the refusal or finds the connection broken is chance, with real clients too.
 */
const refusedUnread = /PUT \/v1\/snapshot\?stale/;
const brokenOff = /half close snapshot connection|failed to decode response|EOF|ECONNRESET|EPIPE/;
/** For this long after its start a real client may remember that the anonymous token was not there yet (ms). */
const startMs = 90_000;
/** Longest run of all scenarios (ms), of both together, on a machine that has other work too. */
const replayTimeoutMs = 1_800_000;

const scenarios = readdirSync(join(fixtures, 'http'))
  .map((file) => file.replace(/\.json$/, ''))
  .filter((name) => !notForClients.has(name));

/** What an agent has answered otherwise than recorded: scenario → step → field → value. */
type Deviations = ReadonlyMap<string, ReadonlyMap<string, ReadonlyMap<string, string>>>;

describeWith('client agents of a real server', { consul: realConsul() }, ({ consul }) => {
  const directory = mkdtempSync(join(tmpdir(), 'portolan-pairs-'));
  let real: Deviations;
  let ours: Deviations;

  beforeAll(async () => {
    if (!existsSync(binary)) throw new Error(`${binary} is missing: run "npm run build" first`);
    mkdirSync(join(directory, 'http'));
    for (const name of scenarios) {
      const recorded = JSON.parse(readFileSync(join(fixtures, 'http', `${name}.json`), 'utf8')) as Scenario;
      writeFileSync(join(directory, 'http', `${name}.json`), JSON.stringify(forClients(recorded)));
    }
    [real, ours] = await Promise.all([
      replay(consul, directory, 'real', consul),
      replay(consul, directory, 'ours', `${process.execPath} ${binary}`),
    ]);
  }, replayTimeoutMs);

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test.each(scenarios)('%s', (name) => {
    expect(plain(ours.get(name))).toEqual(plain(real.get(name)));
  });
});

interface Scenario {
  readonly agents?: readonly {
    readonly config: { readonly acl?: object };
    readonly ready: readonly object[];
  }[];
  readonly steps: readonly { readonly expect?: object }[];
}

/** As a client agent can be asked: it writes no JSON for readers, as one with -dev does, and it learns of tokens later. */
function forClients(scenario: Scenario): Scenario {
  return {
    ...scenario,
    steps: scenario.steps.map((step) =>
      step.expect === undefined ? step : { ...step, expect: { ...step.expect, format: undefined } },
    ),
    ...(scenario.agents === undefined
      ? {}
      : {
          agents: scenario.agents.map((agent) => ({
            ...agent,
            ready: [
              ...agent.ready,
              ...(agent.config.acl === undefined ? [] : [{ path: '/v1/agent/services', match: '^\\{\\}' }]),
            ],
          })),
        }),
  };
}

async function replay(consul: string, directory: string, who: string, client: string): Promise<Deviations> {
  const pair = `${process.execPath} ${join(import.meta.dirname, 'support/client-pair.mjs')} ${client}`;
  const child = spawn(
    process.execPath,
    [
      join(fixtures, 'run-http.mjs'),
      '--bin',
      pair,
      '--keep-going',
      '--whole',
      '--jobs',
      '4',
      '--start-ms',
      String(startMs),
      '--logs',
      join(directory, who),
      join(directory, 'http'),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, PAIR_CONSUL: consul } },
  );
  let output = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => (output += chunk));
  await new Promise((done, fail) => child.once('error', fail).once('exit', done));
  // Every agent of every group must have started.
  expect(output).not.toContain('did not start');
  expect(output).toMatch(/\d+ passed, \d+ failed\s*$/);
  return deviations(output);
}

function deviations(output: string): Deviations {
  const found = new Map<string, Map<string, Map<string, string>>>();
  for (const block of output.split(/^(?=FAIL )/m)) {
    const name = /^FAIL (\S+)/.exec(block)?.[1];
    if (name === undefined) continue;
    const steps = new Map<string, Map<string, string>>();
    for (const step of block.split(/^(?= {2}step )/m).slice(1)) {
      const [head = ''] = step.split('\n', 1);
      if (ownMatter.test(head)) continue;
      const fields = new Map<string, string>();
      for (const [, field = '', actual = ''] of step.matchAll(/^ {4}(\S.*)\n {6}expected: .*\n {6}actual: {3}(.*)/gm)) {
        if (refusedUnread.test(head) && field === 'body text' && brokenOff.test(actual)) continue;
        fields.set(settled(field), settled(actual));
      }
      if (fields.size > 0) steps.set(settled(head), fields);
    }
    if (steps.size > 0) found.set(name, steps);
  }
  return found;
}

/** Without what is chosen anew at each run. */
function settled(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<uuid>')
    .replaceAll(/127\.0\.0\.1:\d+/g, '<address>')
    .replaceAll(/(Port\\*":)6[1-5]\d{3}\b/g, '$1<port>')
    .replaceAll(/(index=|Index\\?":)\d+/gi, '$1<index>')
    .replaceAll(/"\d+"/g, '<number>');
}

function plain(steps: ReadonlyMap<string, ReadonlyMap<string, string>> | undefined): unknown {
  return Object.fromEntries([...(steps ?? [])].map(([step, fields]) => [step, Object.fromEntries(fields)]));
}
