// The front of the program: commands, help, wrong flags, exit codes.
import { describe, expect, test } from 'vitest';
import { agentFlags, FlagError } from '../../../src/config/index.ts';
import { run, testDependencies } from './in-process.ts';

describe('help', () => {
  test.each([['-h'], ['-help'], ['--help']])('%s prints the list of commands on stdout', async (flag) => {
    const { exit, stdout, stderr } = await run([flag]);
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    expect(stdout).toMatch(/^Usage: portolan \[--version\] \[--help\] <command> \[<args>\]\n/);
    for (const name of ['agent', 'kv', 'catalog', 'members', 'registrator', 'doctor', 'health']) {
      expect(stdout).toMatch(new RegExp(`^    ${name} `, 'm'));
    }
  });

  test('of a group lists its commands', async () => {
    const { exit, stdout } = await run(['kv', '-h']);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/^Usage: portolan kv <subcommand> \[options\] \[args\]\n/);
    expect([...stdout.matchAll(/^ {4}(\w+) /gm)].map(([, name]) => name)).toEqual([
      'delete',
      'export',
      'get',
      'import',
      'put',
    ]);
  });

  test('is given wherever it is asked for, but not behind --', async () => {
    expect((await run(['kv', 'put', 'key', 'value', '-h'])).stdout).toMatch(/^Usage: portolan kv put /);
    expect((await run(['kv', 'get', '--', '-h', 'x'])).stderr).toBe('Error! Too many arguments (expected 1, got 2)\n');
  });

  test('names every flag of the command and fits on a terminal', async () => {
    const { stdout } = await run(['kv', 'get', '-h']);
    for (const flag of ['http-addr', 'token-file', 'datacenter', 'stale', 'recurse', 'separator']) {
      expect(stdout).toMatch(new RegExp(`^  -${flag}\\b`, 'm'));
    }
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
  });
});

describe('a wrong command line', () => {
  test.each([
    [['members', '-frob'], 'flag provided but not defined: -frob'],
    [['members', '-wan=maybe'], 'invalid boolean value "maybe" for -wan'],
    [['members', '-status'], 'flag needs an argument: -status'],
    [['catalog', 'nodes', '-node-meta=x'], 'invalid value "x" for flag -node-meta'],
  ])('%j: Go says so, then the usage, exit code 1', async (argv, message) => {
    const { exit, stdout, stderr } = await run(argv);
    expect({ exit, stdout }).toEqual({ exit: 1, stdout: '' });
    expect(stderr.split('\n')[0]).toContain(message);
    expect(stderr).toContain('\nUsage:\n');
  });

  test('an address nobody understands', async () => {
    expect(await run(['members', '-http-addr=ftp://x'])).toEqual({
      exit: 1,
      stdout: '',
      stderr: 'Error connecting to Consul agent: Unknown protocol scheme: ftp\n',
    });
  });
});

describe('agent', () => {
  test('gets its words untouched and decides the exit code', async () => {
    const seen: (readonly string[])[] = [];
    const runAgent = async (argv: readonly string[]): Promise<number> => {
      seen.push(argv);
      return 3;
    };
    const { exit } = await run(['agent', '-dev', '-node', 'n'], { dependencies: { ...testDependencies, runAgent } });
    expect({ exit, seen }).toEqual({ exit: 3, seen: [['-dev', '-node', 'n']] });
  });

  test('has help that names every flag', async () => {
    const { exit, stdout } = await run(['agent', '-dev', '-h']);
    expect(exit).toBe(0);
    expect([...stdout.matchAll(/^ {2}-([\w-]+)/gm)].map(([, name]) => name)).toEqual(Object.keys(agentFlags).sort());
  });

  test('that cannot read its flags prints the usage', async () => {
    const runAgent = async (): Promise<number> => {
      throw new FlagError('flag provided but not defined: -frob');
    };
    const { exit, stderr } = await run(['agent', '-frob'], { dependencies: { ...testDependencies, runAgent } });
    expect(exit).toBe(1);
    expect(stderr).toMatch(/^flag provided but not defined: -frob\nUsage:\n {2}portolan agent \[options\]\n/);
  });
});

test('version names the build when it is known', async () => {
  const dependencies = { ...testDependencies, version: { version: '1.2.3', revision: 'abcdef12', consul: '1.8.7' } };
  expect((await run(['version'], { dependencies })).stdout.split('\n').slice(0, 3)).toEqual([
    'Portolan v1.2.3',
    'Revision abcdef12',
    'Consul-compatible 1.8.7',
  ]);
});
