// Replays recorded command lines about access control with the built program, against an agent with ACLs and default
// deny. Identifiers are made anew: those of our answers stand for the recorded ones in the command lines that follow.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { coordinateCapture, replayedWithAcls } from './cli-acl-captures.ts';
import { type Capture, readCapture } from './cli-capture.ts';
import { built, type Outcome, RecordedAgent, recordedOutcome, withoutVariance } from './recorded-agent.ts';

if (!built) console.log('golden/cli-acl: skipped, dist/portolan.js is not built (npm run build)');

/** The slowest is `debug`, which records for 10 s. */
const timeoutMs = 30_000;

let agent: RecordedAgent;
/** Recorded identifier → ours. */
const ours = new Map<string, string>();
const identifiers = /<management token>|[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}/g;

/** The capture with our identifiers, whole or their first eight letters, in its command line. */
function translated(capture: Capture): Capture {
  const translate = (word: string): string => {
    let result = word;
    for (const [recorded, own] of ours) {
      result = result.replaceAll(recorded, own);
      if (recorded.includes('-'))
        result = result.replace(new RegExp(`=${recorded.slice(0, 8)}$`), `=${own.slice(0, 8)}`);
    }
    return result;
  };
  return {
    ...capture,
    argv: capture.argv.map(translate),
    env: Object.fromEntries(Object.entries(capture.env).map(([name, value]) => [name, translate(value ?? '')])),
  };
}

function learn(recorded: string, own: string): void {
  const found = [...own.matchAll(identifiers)].map(([id]) => id);
  for (const [i, [id]] of [...recorded.matchAll(identifiers)].entries()) {
    if (found[i] !== undefined && !ours.has(id)) ours.set(id, found[i]);
  }
}

/** Tokens are listed by their random identifiers: by what they are instead. Ports of five digits widen a column. */
function comparable(name: string, outcome: Outcome): Outcome {
  if (name === 'members-token-file') return { ...outcome, stdout: outcome.stdout.replaceAll(/ {2,}/g, '  ') };
  if (name !== 'acl-token-list') return outcome;
  return { ...outcome, stdout: outcome.stdout.trimEnd().split('\n\n').toSorted().join('\n\n') };
}

describe.skipIf(!built)('as recorded, with access control', () => {
  beforeAll(async () => {
    agent = await RecordedAgent.start({ acl: { enabled: true, default_policy: 'deny', tokens: {} } });
  }, timeoutMs);
  afterAll(() => agent?.stop());

  test.each(replayedWithAcls)(
    '%s',
    async (name) => {
      const capture = readCapture(name);
      const { raw, ...outcome } = await agent.runRaw(translated(capture));
      learn(capture.stdout.text, raw);
      if (name === 'acl-bootstrap') agent.write({ tokfile: ours.get('<management token>')! });
      expect(comparable(name, outcome)).toEqual(comparable(name, recordedOutcome(capture)));
    },
    timeoutMs,
  );

  // Coordinates of this node come some time after its start; until then there is none to print.
  test(`${coordinateCapture}: a time, or that there is none yet`, async () => {
    const capture = readCapture(coordinateCapture);
    const { exit, stdout, stderr } = await agent.run(translated(capture));
    const figures = (text: string): string => withoutVariance(text).replace(/[\d.]+ ms/, 'N ms');
    if (exit === 0) expect(figures(stdout)).toBe(figures(capture.stdout.text));
    else expect(stderr).toBe('Could not find a coordinate for node "srv-1"\n');
  });
});
