import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AgentDoor } from '../../../src/http/index.ts';
import { start, stopAll } from './harness.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'portolan-ui-'));
  const ui = join(directory, 'ui');
  mkdirSync(join(ui, 'assets'), { recursive: true });
  writeFileSync(join(ui, 'index.html'), '<p>start</p>');
  writeFileSync(join(ui, 'assets/app.js'), 'run()');
  writeFileSync(join(directory, 'secret'), 'secret');
  symlinkSync(join(directory, 'secret'), join(ui, 'link'));
});
afterAll(() => rmSync(directory, { recursive: true }));
afterEach(stopAll);

const serve = () => start({}, { ui: { contentPath: '/ui/', dir: join(directory, 'ui') } });

describe('files of ui_dir', () => {
  test.each([
    ['/ui/', 'text/html; charset=utf-8', '<p>start</p>'],
    ['/ui/assets/app.js', 'text/javascript; charset=utf-8', 'run()'],
    // A page of the UI, which has routes of its own.
    ['/ui/dc1/services', 'text/html; charset=utf-8', '<p>start</p>'],
    ['/ui/assets/', 'text/html; charset=utf-8', '<p>start</p>'],
    ['/ui/link', 'text/html; charset=utf-8', '<p>start</p>'],
  ])('%s', async (path, type, body) => {
    const got = await (await serve()).get(path);
    expect([got.status, got.headers['Content-Type'], got.body]).toEqual([200, type, body]);
  });

  test('do not lie above the directory', async () => {
    const { get } = await serve();
    expect(await get('/ui/%2e%2e%2fsecret')).toMatchObject({ status: 301, headers: { Location: '/secret' } });
  });

  test('carry the configured headers, and the way to them is shown', async () => {
    const { get } = await start(
      {},
      { ui: { contentPath: '/board/', dir: join(directory, 'ui') }, responseHeaders: { 'x-a': 'b' } },
    );
    expect((await get('/board/')).headers).toMatchObject({ 'X-A': 'b' });
    expect(await get('/')).toMatchObject({ status: 301, headers: { Location: '/board/' } });
    expect(await get('/board')).toMatchObject({ status: 301, headers: { Location: '/board/' } });
    expect((await get('/ui/')).status).toBe(404);
  });
});

test('without a directory it is said what to set', async () => {
  const { get } = await start({}, { ui: { contentPath: '/ui/', dir: '' } });
  const got = await get('/ui/');
  expect(got).toMatchObject({ status: 404 });
  expect(got.body).toContain('Set ui_dir');
});

describe('profiles', () => {
  test('are refused without enable_debug', async () => {
    const { get } = await start();
    expect(await get('/debug/pprof/heap')).toMatchObject({ status: 401, body: 'ACL support disabled' });
  });

  test('take rights where there are any, whatever is enabled', async () => {
    const acl = { enabled: true, defaultToken: () => '', resolve: () => Promise.resolve({ maySingle: () => false }) };
    const { get } = await start({}, { enableDebug: true }, { acl } as unknown as Partial<AgentDoor>);
    expect(await get('/debug/pprof/cmdline')).toMatchObject({ status: 403, body: '' });
  });

  test.each(['', 'heap', 'goroutine', 'cmdline'])('/debug/pprof/%s', async (name) => {
    const { get } = await start({}, { enableDebug: true });
    const got = await get(`/debug/pprof/${name}`);
    expect(got.status).toBe(200);
    expect(got.bytes.length).toBeGreaterThan(0);
  });

  test('of the CPU take the time asked for, one at a time', async () => {
    const { get, clock } = await start({}, { enableDebug: true });
    const timers = clock.pendingTimers;
    const profile = get('/debug/pprof/profile?seconds=5');
    while (clock.pendingTimers === timers) await new Promise((resolve) => setImmediate(resolve));
    expect((await get('/debug/pprof/trace')).body).toContain('already in use');
    await clock.advance(5_000);
    const { body } = await profile;
    expect(Object.keys(JSON.parse(body) as object)).toContain('nodes');
    expect((await get('/debug/pprof/nope')).status).toBe(404);
  });
});
