import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { SystemProcessRunner } from '../../../src/node/process-runner.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';

const runner = new SystemProcessRunner({ clock: new SystemClock() });
const limits = { timeoutMs: 20_000, outputBytesMax: 4096 };
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

/** Whether the process lives (a zombie does not). */
function alive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function waitGone(pid: number): Promise<void> {
  while (alive(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('a program of the host', () => {
  test('gives its exit code and both its outputs', async () => {
    const result = await runner.run(['sh', '-c', 'echo out; echo err >&2; exit 3'], limits);
    expect(result).toMatchObject({ exitCode: 3, signal: null, timedOut: false, outputBytesTotal: 8 });
    expect(text(result.output).split('\n').sort()).toEqual(['', 'err', 'out']);
  });

  test('keeps the end of its output and counts all of it', async () => {
    const result = await runner.run(['sh', '-c', 'printf 0123456789'], { ...limits, outputBytesMax: 4 });
    expect([text(result.output), result.outputBytesTotal]).toEqual(['6789', 10]);
  });

  test('has stdin at its end, the environment of the agent and what is added', async () => {
    const result = await runner.run(['sh', '-c', 'cat; echo "$PATH:$ADDED"'], { ...limits, env: { ADDED: 'yes' } });
    expect(text(result.output)).toBe(`${process.env['PATH']}:yes\n`);
  });

  test('gets its input, and its output is told as it comes', async () => {
    const seen: string[] = [];
    const result = await runner.run(['sh', '-c', 'read line; echo "got $line"; cat >&2'], {
      ...limits,
      input: Buffer.from('one\ntwo\n'),
      onOutput: (chunk) => seen.push(text(chunk)),
    });
    expect(seen.join('').split('\n').sort()).toEqual(['', 'got one', 'two']);
    expect(result.outputBytesTotal).toBe('got one\ntwo\n'.length);
  });

  test('need not read its input', async () => {
    const result = await runner.run(['true'], { ...limits, input: Buffer.alloc(1_000_000) });
    expect(result.exitCode).toBe(0);
  });

  test('killed by a signal: the signal is told', async () => {
    expect(await runner.run(['sh', '-c', 'kill -9 $$'], limits)).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  });

  test('at its timeout the whole group is killed, also who ignores other signals', async () => {
    const seen: string[] = [];
    const result = await runner.run(['sh', '-c', 'trap "" TERM HUP; sleep 1000 & echo $!; echo $$; wait'], {
      ...limits,
      timeoutMs: 300,
      onTimeout: (output) => seen.push(text(output)),
    });
    expect(result).toMatchObject({ timedOut: true, signal: 'SIGKILL' });
    const pids = text(result.output).trim().split('\n').map(Number);
    expect(pids).toHaveLength(2);
    expect(seen).toEqual([text(result.output)]);
    for (const pid of pids) await waitGone(pid);
  });

  test('who left the group and holds the output does not hold the result', async () => {
    const result = await runner.run(['sh', '-c', 'setsid sleep 5 & sleep 5'], { ...limits, timeoutMs: 200 });
    expect(result.timedOut).toBe(true);
  });

  test('an abort kills the group and rejects with the reason', async () => {
    const abort = new AbortController();
    const running = runner.run(['sleep', '1000'], { ...limits, signal: abort.signal });
    abort.abort(new Error('agent stops'));
    await expect(running).rejects.toThrow('agent stops');
  });

  test('that cannot start says why in Go’s words', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'portolan-runner-'));
    try {
      writeFileSync(join(dir, 'plain'), 'text', { mode: 0o644 });
      const start = async (path: string): Promise<string | undefined> => (await runner.run([path], limits)).startError;
      expect(await start('/no/such/program')).toBe('fork/exec /no/such/program: no such file or directory');
      expect(await start(join(dir, 'plain'))).toBe(`fork/exec ${dir}/plain: permission denied`);
      expect(await start('no-such-program')).toBe('exec: "no-such-program": executable file not found in $PATH');
      vi.stubEnv('PATH', dir);
      expect(await start('plain')).toBe('exec: "plain": executable file not found in $PATH');
    } finally {
      vi.unstubAllEnvs();
      rmSync(dir, { recursive: true });
    }
  });
});
