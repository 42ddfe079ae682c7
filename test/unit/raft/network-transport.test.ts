import { describe, expect, test } from 'vitest';
import {
  NetworkTransport,
  protocolVersion,
  type RaftAnswer,
  type RaftRequest,
  type SnapshotBody,
  UnsupportedRequest,
} from '../../../src/raft/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { type MemoryStream, record, streamPair } from '../../helpers/stream-pair.ts';
import { command, quiet } from './support.ts';

const peer = { id: 'b', address: '127.0.0.2:8300' };

function append(prev: number, term = 3): RaftRequest {
  return {
    rpc: 'appendEntries',
    request: {
      Entries: [command(prev + 1)],
      Leader: '127.0.0.1:8300',
      LeaderCommitIndex: prev,
      PrevLogEntry: prev,
      PrevLogTerm: 1,
      ProtocolVersion: protocolVersion,
      Term: term,
    },
  };
}

function vote(term: number, version: number = protocolVersion): RaftRequest {
  return {
    rpc: 'requestVote',
    request: {
      Candidate: '127.0.0.1:8300',
      LastLogIndex: 1,
      LastLogTerm: 1,
      LeadershipTransfer: false,
      ProtocolVersion: version,
      Term: term,
    },
  };
}

function snapshot(size: number): RaftRequest {
  return {
    rpc: 'installSnapshot',
    request: {
      Configuration: null,
      ConfigurationIndex: 1,
      LastLogIndex: 9,
      LastLogTerm: 2,
      Leader: '127.0.0.1:8300',
      Peers: null,
      ProtocolVersion: protocolVersion,
      Size: size,
      SnapshotVersion: 1,
      Term: 3,
    },
  };
}

const appended = (lastLog: number): RaftAnswer => ({
  error: '',
  message: {
    rpc: 'appendEntries',
    response: { LastLog: lastLog, NoRetryBackoff: false, ProtocolVersion: protocolVersion, Success: true, Term: 3 },
  },
});
const voted: RaftAnswer = {
  error: '',
  message: {
    rpc: 'requestVote',
    response: { Granted: true, Peers: null, ProtocolVersion: protocolVersion, Term: 3 },
  },
};
const installed: RaftAnswer = {
  error: '',
  message: { rpc: 'installSnapshot', response: { ProtocolVersion: 0, Success: true, Term: 3 } },
};

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

type Handler = (request: RaftRequest, body: SnapshotBody | undefined) => Promise<RaftAnswer>;

/** A transport that dials another one in memory; bytes cross in pieces of `pieceBytes`. */
function connected(handler: Handler, pieceBytes = 7) {
  const clock = new VirtualClock();
  const server = new NetworkTransport({ clock, logger: quiet, dial: () => Promise.reject(new Error('no')) });
  server.serve(handler);
  const dialled: MemoryStream[] = [];
  const client = new NetworkTransport({
    clock,
    logger: quiet,
    dial: async () => {
      const { a, b } = streamPair();
      dialled.push(a);
      server.accept(b);
      return a;
    },
  });
  /** Lets bytes and promises run until nothing moves. */
  const settle = async (): Promise<void> => {
    for (let still = 0; still < 20;) {
      await new Promise(setImmediate);
      const moved = dialled.flatMap((a) => [a.step(pieceBytes), a.peer.step(pieceBytes)]).includes(true);
      still = moved ? 0 : still + 1;
    }
  };
  return { clock, client, server, dialled, settle };
}

describe('requests', () => {
  test('are served without waiting for each other, and answered in their order', async () => {
    const waiting: ((answer: RaftAnswer) => void)[] = [];
    const { client, dialled, settle } = connected(() => new Promise((resolve) => waiting.push(resolve)));
    const answers = [0, 1, 2].map((prev) => client.call(peer, append(prev)));
    await settle();
    expect(waiting).toHaveLength(3);
    expect(dialled).toHaveLength(1);
    waiting[2]!(appended(2));
    waiting[1]!(appended(1));
    await settle();
    waiting[0]!(appended(0));
    await settle();
    const lastLogs = (await Promise.all(answers)).map(({ response }) => 'LastLog' in response && response.LastLog);
    expect(lastLogs).toEqual([0, 1, 2]);
  });

  test('for votes do not wait behind entries', async () => {
    const { client, settle } = connected((request) =>
      request.rpc === 'requestVote' ? Promise.resolve(voted) : new Promise(() => {}),
    );
    client.call(peer, append(0)).catch(() => {});
    const granted = client.call(peer, vote(4));
    await settle();
    expect((await granted).response).toMatchObject({ Granted: true });
    await client.close();
  });

  test('of another protocol version are refused in the words of the peer, and the connection stays', async () => {
    const { client, dialled, settle } = connected(() => Promise.resolve(voted));
    const refused = client.call(peer, vote(4, 1));
    refused.catch(() => {});
    const taken = client.call(peer, vote(4, 2));
    await settle();
    await expect(refused).rejects.toThrow('operation not supported with current protocol version');
    expect((await taken).response).toMatchObject({ Granted: true });
    expect(dialled).toHaveLength(1);
  });

  test('that are not known there say so', async () => {
    const { client, settle } = connected(() => Promise.resolve({ ...voted, error: 'unexpected command' }));
    const refused = client.call(peer, vote(1));
    refused.catch(() => {});
    await settle();
    await expect(refused).rejects.toThrow(UnsupportedRequest);
  });

  test('without an answer fail after ten seconds, and the next one dials again', async () => {
    const { client, clock, dialled, settle } = connected(() => new Promise(() => {}));
    const lost = client.call(peer, append(0));
    lost.catch(() => {});
    await settle();
    await clock.advance(9999);
    expect(dialled[0]!.closed).toBe(false);
    await clock.advance(1);
    await expect(lost).rejects.toThrow('i/o timeout');
    client.call(peer, append(0)).catch(() => {});
    await settle();
    expect(dialled).toHaveLength(2);
    await client.close();
  });

  test('fail together when the connection breaks', async () => {
    const { client, dialled, settle } = connected(() => new Promise(() => {}));
    const calls = [client.call(peer, append(0)), client.call(peer, append(1))];
    for (const call of calls) call.catch(() => {});
    await settle();
    dialled[0]!.destroy(new Error('connection reset by peer'));
    for (const call of calls) await expect(call).rejects.toThrow('connection reset by peer');
  });

  test('to a server that moved go to its new address', async () => {
    const { client, dialled, settle } = connected(() => Promise.resolve(appended(1)));
    const first = client.call(peer, append(0));
    await settle();
    await first;
    const second = client.call({ ...peer, address: '127.0.0.9:8300' }, append(1));
    await settle();
    await second;
    expect(dialled.map(({ closed }) => closed)).toEqual([true, false]);
  });
});

describe('a connection', () => {
  test.each([
    ['of an unknown type', '0980'],
    ['that are no request', '01c3'],
    ['with a float for a term', '0181a45465726dcb4000000000000000'],
  ])('is closed without a word after bytes %s', async (_, hex) => {
    const { server } = connected(() => Promise.resolve(voted));
    const pair = streamPair();
    const { a, b } = pair;
    const seen = record(a);
    server.accept(b);
    a.write(Buffer.from(hex, 'hex'));
    pair.settle();
    expect(seen.closed).toBeDefined();
    expect(seen.bytes).toHaveLength(0);
  });

  test('is closed when it is not used for half a minute', async () => {
    const { client, clock, dialled, settle } = connected(() => Promise.resolve(appended(1)));
    const call = client.call(peer, append(0));
    await settle();
    await call;
    await clock.advance(29_999);
    expect(dialled[0]!.closed).toBe(false);
    await clock.advance(1);
    expect(dialled[0]!.closed).toBe(true);
  });
});

describe('a snapshot', () => {
  const state = Buffer.alloc(200_000, 'state ');

  test('arrives whole, over a connection of its own that ends with it', async () => {
    const got: Uint8Array[] = [];
    const { client, dialled, settle } = connected(async (_, body) => {
      for await (const piece of body!.pieces) got.push(piece);
      return installed;
    }, 4096);
    const answer = client.call(peer, snapshot(state.length), { size: state.length, pieces: inPieces(state, 65_536) });
    await settle();
    expect((await answer).response).toMatchObject({ Success: true });
    expect(Buffer.concat(got).equals(state)).toBe(true);
    expect(dialled.map(({ closed }) => closed)).toEqual([true]);
  });

  test('that is refused is read over, so that the next request is found', async () => {
    const { server } = connected(() => Promise.resolve(installed));
    const pair = streamPair();
    const { a, b } = pair;
    const seen = record(a);
    server.accept(b);
    const { encodeRequest } = await import('../../../src/raft/wire.ts');
    a.write(encodeRequest(snapshot(5)));
    a.write(Buffer.from('12345'));
    a.write(encodeRequest(snapshot(0)));
    pair.settle(3);
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    pair.settle();
    const one = Buffer.from('a083af50726f746f636f6c56657273696f6e00a753756363657373c3a45465726d03', 'hex');
    expect(seen.bytes.toString('hex')).toBe(Buffer.concat([one, one]).toString('hex'));
  });

  test('that breaks off is an error where it is read', async () => {
    let failure: Error | undefined;
    const { client, dialled, settle } = connected(async (_, body) => {
      try {
        for await (const piece of body!.pieces) void piece;
      } catch (error) {
        failure = error as Error;
      }
      return installed;
    }, 4096);
    const answer = client.call(peer, snapshot(10), { size: 10, pieces: inPieces(Buffer.from('12345'), 5) });
    answer.catch(() => {});
    await settle();
    dialled[0]!.destroy();
    await settle();
    expect(failure?.message).toBe('short read');
    await expect(answer).rejects.toThrow('EOF');
  });
});
