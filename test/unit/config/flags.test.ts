import { describe, expect, test } from 'vitest';
import { FlagError, parseFlags } from '../../../src/config/flags.ts';
import type { FlagTable } from '../../../src/config/flags.ts';

const table = {
  server: 'bool',
  node: 'string',
  'http-port': 'int',
  wait: 'duration',
  'retry-join': 'list',
  meta: 'map',
  'node-meta': 'colon-map',
} as const satisfies FlagTable;

describe('parseFlags', () => {
  test.each([
    [['-node=a'], { node: 'a' }, []],
    [['--node=a'], { node: 'a' }, []],
    [['-node', 'a'], { node: 'a' }, []],
    [['-node', '-a'], { node: '-a' }, []],
    [['-http-port', '-1'], { 'http-port': -1 }, []],
    [['-http-port=0x1F'], { 'http-port': 31 }, []],
    [['-node='], { node: '' }, []],
    [['-node=a=b'], { node: 'a=b' }, []],
    [['-node=a\nb'], { node: 'a\nb' }, []],
    [['-node=a', '-node=b'], { node: 'b' }, []],
    [['-server', 'true'], { server: true }, ['true']],
    [['-server=F'], { server: false }, []],
    [['-wait=1m30s'], { wait: 90_000 }, []],
    [['-retry-join=a', '-retry-join', 'b'], { 'retry-join': ['a', 'b'] }, []],
    [['-meta=k=v=w', '-meta', 'k=x', '-meta=__proto__=y'], { meta: { k: 'x', ['__proto__']: 'y' } }, []],
    [['-node-meta=k:v:w', '-node-meta=j'], { 'node-meta': { k: 'v:w', j: '' } }, []],
    [['-server', 'extra', '-node=a'], { server: true }, ['extra', '-node=a']],
    [['-server', '--', '-node=a'], { server: true }, ['-node=a']],
    [['-'], {}, ['-']],
    [[], {}, []],
  ])('%j', (argv, values, args) => {
    const parsed = parseFlags(table, argv);
    expect(parsed.values).toEqual(values);
    expect(parsed.args).toEqual(args);
    expect(parsed.help).toBe(false);
  });

  test.each([
    [['-frob'], 'flag provided but not defined: -frob'],
    [['-toString'], 'flag provided but not defined: -toString'],
    [['---node'], 'bad flag syntax: ---node'],
    [['-=a'], 'bad flag syntax: -=a'],
    [['-node'], 'flag needs an argument: -node'],
    [
      ['-server=maybe'],
      'invalid boolean value "maybe" for -server: strconv.ParseBool: parsing "maybe": invalid syntax',
    ],
    [['-http-port=x'], 'invalid value "x" for flag -http-port: strconv.ParseInt: parsing "x": invalid syntax'],
    [['-wait=5'], 'invalid value "5" for flag -wait: time: missing unit in duration "5"'],
    [['-meta=k'], 'invalid value "k" for flag -meta: Missing "=" value in argument: k'],
  ])('%j is refused in the words of Go', (argv, message) => {
    expect(() => parseFlags(table, argv)).toThrow(new FlagError(message));
  });

  test.each(['-h', '-help', '--help'])('%s asks for help', (word) => {
    expect(parseFlags(table, ['-server', word, '-frob']).help).toBe(true);
  });

  test('the order over several flags is kept', () => {
    expect(parseFlags(table, ['-node=a', '-retry-join=b', '-node=c']).given).toEqual([
      { name: 'node', text: 'a' },
      { name: 'retry-join', text: 'b' },
      { name: 'node', text: 'c' },
    ]);
  });
});
