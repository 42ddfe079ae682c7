// Replays recorded command lines that need a pool of three, with the built program, on loopback.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCapture } from './cli-capture.ts';
import { failing, keyChanges, leaving, roughly, together } from './cli-pool-captures.ts';
import { built, type Outcome, RecordedAgent, recordedOutcome } from './recorded-agent.ts';

if (!built) console.log('golden/cli-pool: skipped, dist/portolan.js is not built (npm run build)');

/** The key that was in force in the recordings. */
const settings = { encrypt: 'cg8StVXbQJ0gPvMd9o7yrg==', disable_remote_exec: false };
/** serf's states, as the API numbers them. */
const status = { alive: 1, leaving: 2, left: 3, failed: 4 } as const;

/** Ports of five digits widen columns; members of equal right answer in any order. */
const cells = ({ exit, stdout, stderr }: Outcome): object => ({
  exit,
  problems: stderr.split('\n').toSorted(),
  lines: stdout.split('\n').map((line) => line.split(/ {2,}/)),
});

describe.skipIf(!built)('as recorded, with a pool', () => {
  let server: RecordedAgent;
  let first: RecordedAgent;
  let second: RecordedAgent;

  beforeAll(async () => {
    server = await RecordedAgent.start(settings);
    await server.untilRegistered();
    first = await server.startClient('cli-1', '127.0.0.2', settings);
    second = await server.startClient('cli-2', '127.0.0.3', settings);
    for (const agent of [first, second]) await agent.untilMembers(({ length }) => length === 3);
  }, 60_000);
  afterAll(() => Promise.all([server, first, second].map((agent) => agent?.stop())));

  const replay = async (name: string): Promise<void> => {
    const capture = readCapture(name);
    expect(cells(await server.run(capture)), name).toEqual(cells(recordedOutcome(capture)));
  };
  const untilIs = (name: string, wanted: number | undefined): Promise<void> =>
    server.untilMembers((members) => members.find((member) => member.Name === name)?.Status === wanted);

  test.each(together)('%s', replay);

  test('info-client: the same sections and names', async () => {
    const capture = readCapture(roughly[0]!);
    const names = (text: string): string[] => text.split('\n').map((line) => line.replace(/ = .*$/, ''));
    expect(names((await server.run(capture)).stdout)).toEqual(names(capture.stdout.text));
  });

  test('exec-multi: the nodes in any order', async () => {
    const capture = readCapture(roughly[1]!);
    const lines = (text: string): string[] => text.split('\n').toSorted();
    const { exit, stdout, stderr } = await server.run(capture);
    expect({ exit, stderr, lines: lines(stdout) }).toEqual({ exit: 0, stderr: '', lines: lines(capture.stdout.text) });
  });

  test(`keys are changed: ${keyChanges.join(', ')}`, async () => {
    for (const name of keyChanges) await replay(name);
  });

  test(`one that died is put away: ${failing.join(', ')}`, async () => {
    await second.stop();
    await untilIs('cli-2', status.failed);
    for (const name of failing) {
      if (name === 'members-after-force-leave') await untilIs('cli-2', status.left);
      if (name === 'members-after-prune') await untilIs('cli-2', undefined);
      await replay(name);
    }
  });

  test(`one that lives is called gone, and goes: ${leaving.join(', ')}`, async () => {
    const [call, after, gone] = leaving as [string, string, string];
    await replay(call);
    await replay(after);
    first.process.kill('SIGTERM');
    await untilIs('cli-1', status.left);
    await replay(gone);
  });
});
