// Remote execution as the one who asks sees it: keys in the KV store of a whole server, in virtual time.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RemoteExec, type RemoteExecOptions } from '../../../src/agent/remote-exec.ts';
import { byteStringFromUtf8, byteStringToUtf8 } from '../../../src/lib/index.ts';
import type { ProcessResult, ProcessRunner } from '../../../src/ports/index.ts';
import type { Server } from '../../../src/server/index.ts';
import type { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../helpers/logger.ts';
import { singleServer } from '../server/single.ts';

type Options = Parameters<ProcessRunner['run']>[1];

/** A program that says and ends what the test tells it to. */
class Program implements ProcessRunner {
  argv: readonly string[] = [];
  options: Options | undefined;
  #end: ((result: ProcessResult) => void) | undefined;

  run(argv: readonly string[], options: Options): Promise<ProcessResult> {
    this.argv = argv;
    this.options = options;
    return new Promise((resolve, reject) => {
      this.#end = resolve;
      options.signal?.addEventListener('abort', () => reject(options.signal!.reason as Error));
    });
  }

  say(text: string): void {
    this.options!.onOutput!(Buffer.from(text));
  }

  end(result: Partial<ProcessResult> = {}): void {
    const output = new Uint8Array();
    this.#end!({ exitCode: 0, signal: null, output, outputBytesTotal: 0, timedOut: false, ...result });
  }
}

const target = { Datacenter: 'dc1' };
let server: Server;
let clock: VirtualClock;
let program: Program;
let session: string;
let running: Promise<void> | undefined;
let stored: string[];

beforeEach(async () => {
  ({ server, clock } = singleServer({}));
  await server.start();
  await server.caller.call('Catalog.Register', { ...target, Node: 'asker', Address: '10.0.0.1' });
  session = await server.caller.call('Session.Apply', {
    ...target,
    Op: 'create',
    Session: { Node: 'asker', Name: 'Remote Exec', Behavior: 'delete', Checks: [], LockDelay: 0, TTL: '', ID: '' },
  });
  program = new Program();
  stored = [];
});
afterEach(() => server.stop());

async function put(key: string, value: unknown): Promise<void> {
  const Value = Buffer.from(JSON.stringify(value));
  const DirEnt = { Key: byteStringFromUtf8(key), Value, Session: session };
  await server.caller.call('KVS.Apply', { ...target, Op: 'lock', DirEnt });
}

/** What this node wrote, by the names below its folder. */
async function written(): Promise<Record<string, string>> {
  const { Entries } = await server.caller.call('KVS.List', { ...target, Key: byteStringFromUtf8('_rexec/') });
  const mine = (Entries ?? []).map(
    ({ Key, Value }) => [byteStringToUtf8(Key), Buffer.from(Value ?? []).toString()] as const,
  );
  const prefix = `_rexec/${session}/node-a/`;
  return Object.fromEntries(
    mine.filter(([key]) => key.startsWith(prefix)).map(([key, value]) => [key.slice(prefix.length), value]),
  );
}

function remoteExec(given: Partial<RemoteExecOptions> = {}): RemoteExec {
  return new RemoteExec({
    caller: server.caller,
    datacenter: 'dc1',
    nodeName: 'node-a',
    token: () => '',
    clock,
    logger: silentLogger,
    processRunner: program,
    storeScript: async (script) => {
      stored.push(Buffer.from(script).toString());
      return { path: '/tmp/script', remove: async () => void stored.push('removed') };
    },
    shell: '/bin/sh',
    disabled: false,
    ...given,
  });
}

async function begin(job: unknown, exec = remoteExec()): Promise<void> {
  await put(`_rexec/${session}/job`, job);
  const Payload = Buffer.from(JSON.stringify({ Prefix: '_rexec', Session: session }));
  running = exec.handle({ ID: 'e', Payload });
  await clock.advance(1);
}

test('is acknowledged, writes what the command says, and its exit code', async () => {
  await begin({ Command: 'echo hello', Wait: 2e9 });
  expect(program.argv).toEqual(['/bin/sh', '-c', 'echo hello']);
  expect(await written()).toEqual({ ack: '' });
  program.say('hello\n');
  program.end({ exitCode: 3 });
  await clock.advance(1);
  await running;
  expect(await written()).toEqual({ ack: '', 'out/00000': 'hello\n', exit: '3' });
});

test('words run without a shell; a script is stored, run by the shell, and removed', async () => {
  await begin({ Args: ['echo', 'a  b'] });
  expect(program.argv).toEqual(['echo', 'a  b']);
  program.end();
  await running;
  await begin({ Script: Buffer.from('#!/bin/x\n').toString('base64') });
  expect(program.argv).toEqual(['/bin/sh', '-c', '/tmp/script']);
  program.end();
  await running;
  expect(stored).toEqual(['#!/bin/x\n', 'removed']);
});

test('output is written in full pieces at once, the rest after half a second of silence', async () => {
  await begin({ Command: 'x', Wait: 60e9 });
  program.say('a'.repeat(5000));
  await clock.advance(1);
  expect(await written()).toEqual({ ack: '', 'out/00000': 'a'.repeat(4096) });
  await clock.advance(500);
  expect((await written())['out/00001']).toBe('a'.repeat(904));
  program.end();
  await running;
});

test('a command that says nothing gives a sign of life as often as the job wants', async () => {
  await begin({ Command: 'sleep', Wait: 1e9 });
  await clock.advance(2500);
  expect(await written()).toEqual({ ack: '', 'out/00000': '', 'out/00001': '' });
  program.end();
  await running;
});

describe('exit codes', () => {
  test.each<[string, Partial<ProcessResult>, string]>([
    ['a signal', { exitCode: null, signal: 'SIGKILL' }, '-1'],
    ['a program that does not start', { exitCode: null, startError: 'fork/exec x: no such file' }, '255'],
  ])('after %s', async (_, result, code) => {
    await begin({ Command: 'x' });
    program.end(result);
    await running;
    expect((await written()).exit).toBe(code);
  });
});

test('nothing runs when it is disabled, without a job, or for a session that is gone', async () => {
  await begin({ Command: 'x' }, remoteExec({ disabled: true }));
  expect([program.argv, await written()]).toEqual([[], {}]);
  await remoteExec().handle({ ID: 'e', Payload: Buffer.from(JSON.stringify({ Prefix: 'no', Session: session })) });
  await remoteExec().handle({ ID: 'e', Payload: Buffer.from('no JSON') });
  expect(program.argv).toEqual([]);
  const gone = '00000000-0000-0000-0000-000000000000';
  const Value = Buffer.from('{"Command":"x"}');
  await server.caller.call('KVS.Apply', {
    ...target,
    Op: 'set',
    DirEnt: { Key: byteStringFromUtf8(`_rexec/${gone}/job`), Value },
  });
  await remoteExec().handle({ ID: 'e', Payload: Buffer.from(JSON.stringify({ Prefix: '_rexec', Session: gone })) });
  expect(program.argv).toEqual([]);
});

test('the command is killed when the session goes', async () => {
  await begin({ Command: 'x', Wait: 60e9 });
  await server.caller.call('Session.Apply', { ...target, Op: 'destroy', Session: { ID: session } });
  program.say('a'.repeat(4096));
  await clock.advance(1);
  await running;
  expect(program.options!.signal!.aborted).toBe(true);
  expect(await written()).toEqual({});
});

test('a command that says more than can be written is killed', async () => {
  await begin({ Command: 'yes', Wait: 60e9 });
  for (let i = 0; i < 5; i++) program.say('y'.repeat(1024 * 1024));
  expect(program.options!.signal!.aborted).toBe(true);
  await running;
  expect((await written()).exit).toBe('255');
});

test('no more than 32 at a time', async () => {
  await put(`_rexec/${session}/job`, { Command: 'x' });
  let started = 0;
  const counting: ProcessRunner = {
    run: () => {
      started++;
      return new Promise(() => undefined);
    },
  };
  const many = remoteExec({ processRunner: counting });
  const Payload = Buffer.from(JSON.stringify({ Prefix: '_rexec', Session: session }));
  for (let i = 0; i < 40; i++) void many.handle({ ID: 'e', Payload });
  await clock.advance(10);
  expect(started).toBe(32);
  many.stop();
});
