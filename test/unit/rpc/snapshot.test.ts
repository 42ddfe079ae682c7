import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { requestSnapshot, serveSnapshot, type SnapshotHandler, snapshotOps } from '../../../src/rpc/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger, silentLogger } from '../../helpers/logger.ts';
import { record, streamPair } from '../../helpers/stream-pair.ts';

const { vectors } = JSON.parse(readFileSync('test/fixtures/rpc/snapshot.json', 'utf8')) as {
  readonly vectors: readonly {
    readonly request_hex: string;
    readonly request: { AllowStale: boolean; Datacenter: string; Op: number; Token: string };
    readonly response_hex: string;
    readonly response: { Error: string; Index: number; LastContact: number; KnownLeader: boolean };
  }[];
};

/** Both ends of a connection, and time for promises to run. */
function meet() {
  const wire = streamPair();
  const clock = new VirtualClock();
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 40; turn++) {
      wire.settle(50_000);
      await clock.advance(0);
    }
  };
  return { ...wire, clock, settle };
}

async function collect(archive: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of archive) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe.each(vectors.map((vector, at) => [at, vector] as const))('the recorded exchange %i', (_, vector) => {
  test('is asked for byte for byte', async () => {
    const { a, b, clock, settle } = meet();
    const seen = record(b);
    const asked = requestSnapshot(a, vector.request, { clock }).then(
      ({ reply }) => reply,
      (error: Error) => error,
    );
    await settle();
    expect(seen.bytes.toString('hex')).toBe(vector.request_hex.slice(2));
    expect(seen.ended).toBe(true);
    b.write(Buffer.from(vector.response_hex, 'hex'));
    b.end();
    await settle();
    if (vector.response.Error === '') expect(await asked).toEqual(vector.response);
    else expect(await asked).toMatchObject({ kind: 'server', message: vector.response.Error });
  });

  test('is answered byte for byte', async () => {
    const { a, b, clock, settle } = meet();
    const seen = record(a);
    const requests: unknown[] = [];
    void serveSnapshot(
      b,
      async (request) => {
        requests.push(request);
        return { reply: vector.response };
      },
      { clock, logger: silentLogger },
    );
    a.write(Buffer.from(vector.request_hex.slice(2), 'hex'));
    a.end();
    await settle();
    expect(requests).toEqual([vector.request]);
    expect(seen.bytes.toString('hex')).toBe(vector.response_hex);
    expect(seen.ended).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('between our own sides', () => {
  const archive = Buffer.alloc(5_000_000, 'snapshot');

  test('a large archive crosses both ways', async () => {
    const { a, b, clock, settle } = meet();
    const handler: SnapshotHandler = async (request, sent) => {
      const received = await collect(sent);
      expect(received.equals(archive)).toBe(true);
      return { reply: { Index: request.Op }, archive: [received, received] };
    };
    void serveSnapshot(b, handler, { clock, logger: silentLogger });
    const asked = requestSnapshot(a, { Op: snapshotOps.restore }, { clock, archive: [archive] });
    let received: Buffer | undefined;
    void asked.then(async (answer) => (received = await collect(answer.archive)));
    for (let turn = 0; turn < 20; turn++) await settle();
    expect((await asked).reply).toMatchObject({ Index: 1, Error: '' });
    expect(received?.length).toBe(archive.length * 2);
  });

  test('a refusal is heard though the archive is not taken', async () => {
    const { a, b, clock, settle } = meet();
    const refuse: SnapshotHandler = async () => {
      throw new Error('Permission denied');
    };
    void serveSnapshot(b, refuse, { clock, logger: silentLogger });
    const asked = requestSnapshot(a, { Op: snapshotOps.restore }, { clock, archive: [archive, archive] });
    const failed = expect(asked).rejects.toThrow(/^Permission denied$/);
    await settle();
    await failed;
    await settle();
    expect(clock.pendingTimers).toBe(0);
  });

  test('a handler that stops in the middle of the archive is heard too', async () => {
    const { a, b, clock, settle } = meet();
    const half: SnapshotHandler = async (_, sent) => {
      for await (const piece of sent) throw new Error(`cannot read ${piece.length > 0}`);
      return { reply: {} };
    };
    void serveSnapshot(b, half, { clock, logger: silentLogger });
    const failed = expect(requestSnapshot(a, { Op: 1 }, { clock, archive: [archive] })).rejects.toThrow(
      'cannot read true',
    );
    await settle();
    await failed;
  });

  test('a client that never ends its request is not waited for', async () => {
    const { a, b, clock, settle } = meet();
    void serveSnapshot(b, async () => ({ reply: {} }), { clock, logger: silentLogger });
    record(a);
    a.write(Buffer.from(vectors[0]!.request_hex.slice(2), 'hex'));
    await settle();
    await clock.advance(9_999);
    expect(b.closed).toBe(false);
    await clock.advance(10_001);
    expect(b.closed).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  test('the wait for an answer is bounded, and ends when it is given up', async () => {
    const slow = meet();
    const late = expect(requestSnapshot(slow.a, {}, { clock: slow.clock, timeoutMs: 1_000 })).rejects.toMatchObject({
      kind: 'timeout',
    });
    await slow.clock.advance(1_000);
    await late;
    const given = meet();
    const abort = new AbortController();
    const gone = expect(
      requestSnapshot(given.a, {}, { clock: given.clock, signal: abort.signal }),
    ).rejects.toMatchObject({ kind: 'aborted' });
    await given.clock.advance(0);
    abort.abort();
    await gone;
    expect(given.a.closed).toBe(true);
    expect(given.clock.pendingTimers).toBe(0);
  });

  test.each(['ff', 'c1', 'db7fffffff', 'a0'])('a request that is none, %s, ends the connection only', async (hex) => {
    const { a, b, clock, settle } = meet();
    const { logger, lines } = recordingLogger();
    void serveSnapshot(b, async () => ({ reply: {} }), { clock, logger });
    record(a);
    a.write(Buffer.from(hex, 'hex'));
    await settle();
    expect(b.closed).toBe(true);
    expect(lines.join()).toContain('a snapshot connection failed');
  });
});
