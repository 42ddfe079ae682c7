import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createLogger, type LoggerOptions, monitorLinesMax } from '../../../src/node/logger.ts';
import { logFileParts } from '../../../src/node/logger-file.ts';
import { type LogFields, type Logger, type LogLevel, logLevels } from '../../../src/ports/index.ts';

/** A clock whose time is set by hand. */
function handClock(wallMs = Date.UTC(2026, 10, 20, 10, 14, 2, 104)) {
  return {
    wall: wallMs,
    mono: 0,
    monotonicMs: () => clock.mono,
    wallMs: () => clock.wall,
    after: () => ({ cancel() {} }),
  };
}
let clock = handClock();

function open(options: Partial<LoggerOptions> = {}) {
  clock = handClock();
  const written: string[] = [];
  const deferred: (() => void)[] = [];
  const log = createLogger({
    level: 'info',
    json: false,
    stdout: { write: (text) => written.push(text) },
    clock,
    color: false,
    defer: (callback) => deferred.push(callback),
    ...options,
  });
  return {
    ...log,
    written,
    runDeferred: () => deferred.splice(0).forEach((callback) => callback()),
  };
}

/** Walks down to the logger of a full name. */
const at = (root: Logger, name: string): Logger =>
  name
    .split('.')
    .slice(1)
    .reduce((logger, part) => logger.named(part), root);

const directories: string[] = [];
afterEach(() => directories.splice(0).forEach((path) => rmSync(path, { recursive: true })));
function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'portolan-log-'));
  directories.push(path);
  return path;
}

describe('the text form', () => {
  // Lines of golden/cli/agent-client-lifecycle.txt, agent-bad-service.txt, agent-retry-max.txt and agent-server-sigint.txt.
  const lines: [string, LogLevel, string, string, LogFields?][] = [
    [
      '    2026-11-20T10:14:02.104Z [INFO]  agent.client.serf.lan: serf: EventMemberJoin: cl 127.0.0.2\n',
      'info',
      'agent.client.serf.lan',
      'serf: EventMemberJoin: cl 127.0.0.2',
    ],
    [
      '    2026-11-20T10:14:02.104Z [INFO]  agent: Started DNS server: address=127.0.0.2:8600 network=udp\n',
      'info',
      'agent',
      'Started DNS server',
      { address: '127.0.0.2:8600', network: 'udp' },
    ],
    [
      '    2026-11-20T10:14:02.104Z [INFO]  agent: (LAN) joining: lan_addresses=[127.0.0.1]\n',
      'info',
      'agent',
      '(LAN) joining',
      { lan_addresses: ['127.0.0.1'] },
    ],
    [
      '    2026-11-20T10:14:02.104Z [ERROR] agent.anti_entropy: failed to sync remote state: error="No known Consul servers"\n',
      'error',
      'agent.anti_entropy',
      'failed to sync remote state',
      { error: new Error('No known Consul servers') },
    ],
    [
      '    2026-11-20T10:14:02.104Z [WARN]  agent: Join cluster failed, will retry: cluster=LAN retry_interval=1s error=<nil>\n',
      'warn',
      'agent',
      'Join cluster failed, will retry',
      { cluster: 'LAN', retry_interval: '1s', error: null },
    ],
    [
      '    2026-11-20T10:14:02.104Z [WARN]  agent.server.raft: heartbeat timeout reached, starting election: last-leader=\n',
      'warn',
      'agent.server.raft',
      'heartbeat timeout reached, starting election',
      { 'last-leader': '' },
    ],
    [
      '    2026-11-20T10:14:02.104Z [ERROR] agent: Error starting agent: error="Failed to validate checks for service "web": Interval and TTL cannot both be specified"\n',
      'error',
      'agent',
      'Error starting agent',
      { error: 'Failed to validate checks for service "web": Interval and TTL cannot both be specified' },
    ],
    [
      '    2026-11-20T10:14:02.104Z [WARN]  agent: (LAN) couldn\'t join: number_of_nodes=0 error="1 error occurred:\n\t* Failed to join\n\n"\n',
      'warn',
      'agent',
      "(LAN) couldn't join",
      { number_of_nodes: 0, error: '1 error occurred:\n\t* Failed to join\n\n' },
    ],
    ['    2026-11-20T10:14:02.104Z [DEBUG] agent.http: done: took=1.5\n', 'debug', 'agent.http', 'done', { took: 1.5 }],
    ['    2026-11-20T10:14:02.104Z [TRACE] agent: tick: n=1 on=true\n', 'trace', 'agent', 'tick', { n: 1n, on: true }],
  ];

  test.each(lines)('%j', (expected, level, name, message, fields) => {
    const { logger, written } = open({ level: 'trace' });
    at(logger, name)[level](message, fields);
    expect(written).toEqual([expected]);
  });

  test('leaves a pair without value away', () => {
    const { logger, written } = open();
    logger.info('hello', { address: undefined });
    expect(written).toEqual(['    2026-11-20T10:14:02.104Z [INFO]  agent: hello\n']);
  });

  test('disarms terminal control characters that come from outside', () => {
    const { logger, written } = open();
    logger.info('name \u001b[2J', { label: 'a\u0007b\rc' });
    expect(written).toEqual(['    2026-11-20T10:14:02.104Z [INFO]  agent: name \\x1b[2J: label=a\\x07b\\x0dc\n']);
  });

  test('survives values that cannot be written', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const text = open();
    text.logger.info('x', { circle, map: { a: 1n } });
    expect(text.written[0]).toContain('agent: x: circle="[unprintable]" map={"a":"1"}\n');
    const json = open({ json: true });
    json.logger.info('x', { circle, nan: Number.NaN });
    expect(JSON.parse(json.written[0]!)).toMatchObject({ circle: '[unprintable]', nan: 'NaN' });
  });
});

describe('the JSON form', () => {
  const recorded = readFileSync(join(import.meta.dirname, '../../fixtures/log/agent-dev.jsonl'), 'utf8')
    .trimEnd()
    .split('\n');

  test('equals every line that the real agent wrote', () => {
    expect(recorded.length).toBeGreaterThan(40);
    const { logger, written } = open({ json: true });
    for (const line of recorded) {
      const { '@level': level, '@message': message, '@module': name, '@timestamp': time, ...fields } = JSON.parse(line);
      clock.wall = Date.parse(time) + Number(time.slice(23, 26)) / 1000;
      at(logger, name)[level as LogLevel](message, fields);
    }
    expect(written).toEqual(recorded.map((line) => `    ${line}\n`));
  });
});

describe('the level', () => {
  test.each(logLevels)('%s lets pass itself and everything above', (level) => {
    const { logger, written } = open({ level });
    for (const each of logLevels) logger[each](each);
    expect(written.map((line) => line.trim().split(' ').at(-1))).toEqual(logLevels.slice(logLevels.indexOf(level)));
  });

  test('changes at run time for loggers that exist already', () => {
    const { logger, written, setLevel, level } = open({ level: 'error' });
    const http = logger.named('http');
    http.debug('before');
    setLevel('debug');
    http.debug('after');
    expect(level()).toBe('debug');
    expect(written).toEqual(['    2026-11-20T10:14:02.104Z [DEBUG] agent.http: after\n']);
  });

  test('a call below every level does not look at its fields', () => {
    const { logger } = open({ level: 'warn' });
    const fields = Object.defineProperty({}, 'expensive', {
      enumerable: true,
      get: () => {
        throw new Error('read');
      },
    });
    expect(() => logger.debug('x', fields)).not.toThrow();
  });
});

describe('colour', () => {
  test('is on the level word only', () => {
    const { logger, written } = open({ color: true });
    logger.warn('x');
    expect(written).toEqual(['    2026-11-20T10:14:02.104Z \u001b[33m[WARN] \u001b[0m agent: x\n']);
  });

  test('never reaches the JSON form or a monitor reader', () => {
    const { logger, written, subscribe, flush } = open({ color: true, json: true });
    const lines: string[] = [];
    subscribe({ level: 'info', json: false }, (line) => lines.push(line));
    logger.warn('x');
    flush();
    expect([...written, ...lines].join('')).not.toContain('\u001b');
  });
});

describe('a monitor reader', () => {
  test('gets lines below the level of stdout, without margin, in its own form', () => {
    const { logger, written, subscribe, runDeferred } = open({ level: 'error' });
    const text: string[] = [];
    const json: string[] = [];
    subscribe({ level: 'debug', json: false }, (line) => void text.push(line));
    subscribe({ level: 'warn', json: true }, (line) => void json.push(line));
    logger.trace('too low');
    logger.debug('detail', { a: 1 });
    logger.warn('careful');
    runDeferred();
    expect(written).toEqual([]);
    expect(text).toEqual([
      '2026-11-20T10:14:02.104Z [DEBUG] agent: detail: a=1',
      '2026-11-20T10:14:02.104Z [WARN]  agent: careful',
    ]);
    expect(json).toEqual([
      '{"@level":"warn","@message":"careful","@module":"agent","@timestamp":"2026-11-20T10:14:02.104000Z"}',
    ]);
  });

  test('gets nothing after it left, not even what waited', () => {
    const { logger, subscribe, runDeferred } = open();
    const lines: string[] = [];
    const leave = subscribe({ level: 'info', json: false }, (line) => void lines.push(line));
    logger.info('x');
    leave();
    leave();
    logger.info('y');
    runDeferred();
    expect(lines).toEqual([]);
  });

  test('may log while it reads without calling itself', () => {
    const { logger, subscribe, runDeferred } = open();
    const lines: string[] = [];
    subscribe({ level: 'info', json: false }, (line) => {
      lines.push(line);
      if (lines.length < 3) logger.info('again');
    });
    logger.info('first');
    runDeferred();
    expect(lines).toHaveLength(1);
    runDeferred();
    expect(lines).toHaveLength(2);
  });

  test('that is too slow loses lines, and their number is logged when it leaves', () => {
    const { logger, written, subscribe, runDeferred } = open();
    let taken = 0;
    const leave = subscribe({ level: 'info', json: false }, () => ++taken <= 500);
    for (let n = 0; n < monitorLinesMax + 7; n++) logger.info('x');
    runDeferred();
    expect(taken).toBe(monitorLinesMax);
    written.length = 0;
    leave();
    expect(written).toEqual([
      `    2026-11-20T10:14:02.104Z [WARN]  agent: Dropped logs during monitor request: dropped_count=${monitorLinesMax - 500 + 7}\n`,
    ]);
  });
});

describe('the log file', () => {
  const read = (path: string): string[] =>
    readdirSync(path)
      .sort()
      .map((name) => readFileSync(join(path, name), 'utf8'));

  test('is named after base and nanosecond, mode 0640, and has the same lines as stdout', () => {
    const path = directory();
    const { logger, written } = open({ color: true, file: { path: join(path, 'agent.txt') } });
    logger.info('x');
    expect(readdirSync(path)).toEqual([`agent-${clock.wall}000000.txt`]);
    expect(statSync(join(path, `agent-${clock.wall}000000.txt`)).mode & 0o777 & ~process.umask()).toBe(
      0o640 & ~process.umask(),
    );
    expect(read(path)).toEqual(['    2026-11-20T10:14:02.104Z [INFO]  agent: x\n']);
    expect(written).toHaveLength(1);
  });

  test.each([
    ['directory/', { directory: 'directory/', base: 'consul', extension: '.log' }],
    ['logs/agent', { directory: 'logs', base: 'agent', extension: '.log' }],
    ['logs/agent.txt', { directory: 'logs', base: 'agent', extension: '.txt' }],
    [tmpdir(), { directory: tmpdir(), base: 'consul', extension: '.log' }],
  ])('%s is split into directory, base and extension', (path, parts) => {
    expect(logFileParts(path)).toEqual(parts);
  });

  test('is replaced by a new one after rotateBytes', () => {
    const path = directory();
    const { logger } = open({ file: { path: `${path}/`, rotateBytes: 60 } });
    for (const message of ['one', 'two', 'three']) logger.info(message);
    expect(read(path).map((text) => text.trim().split('\n').length)).toEqual([2, 1]);
  });

  test('is replaced by a new one after 24 hours', () => {
    const path = directory();
    const { logger } = open({ file: { path: `${path}/` } });
    logger.info('one');
    clock.mono += 24 * 60 * 60 * 1000 - 1;
    logger.info('two');
    clock.mono += 1;
    clock.wall += 24 * 60 * 60 * 1000;
    logger.info('three');
    expect(read(path).map((text) => text.trim().split('\n').length)).toEqual([2, 1]);
  });

  test.each([
    [0, 4],
    [2, 3],
    [-1, 1],
  ])('with filesMax %i leaves %i files after four', (filesMax, left) => {
    const path = directory();
    const { logger } = open({ file: { path: `${path}/`, rotateBytes: 1, filesMax } });
    for (const message of ['one', 'two', 'three', 'four']) logger.info(message);
    const files = read(path);
    expect(files).toHaveLength(left);
    expect(files.at(-1)).toContain('four');
  });

  test('rotation touches no file of another name', () => {
    const path = directory();
    const first = open({ file: { path: join(path, 'other-1'), filesMax: -1 } });
    first.logger.info('x');
    const { logger } = open({ file: { path: join(path, 'other'), rotateBytes: 1, filesMax: -1 } });
    logger.info('one');
    logger.info('two');
    expect(readdirSync(path).filter((name) => name.startsWith('other-1-'))).toHaveLength(1);
  });

  test('in a directory that does not exist is an error that says what to do', () => {
    const path = join(directory(), 'missing');
    expect(() => open({ file: { path: `${path}/` } })).toThrow(
      new RegExp(`log_file: cannot open .*ENOENT.*Create the directory ${path}`),
    );
  });

  test('is not written to after close, stdout is', () => {
    const path = directory();
    const { logger, close, written } = open({ file: { path: `${path}/` } });
    close();
    logger.info('x');
    expect(read(path)).toEqual(['']);
    expect(written).toHaveLength(1);
  });
});
