import { describe, expect, test } from 'vitest';
import { agentFlags, settingsOfFlags } from '../../../src/config/agent-flags.ts';
import type { FlagKind } from '../../../src/config/index.ts';
import { agentKeys } from '../../../src/config/keys.ts';
import type { Schema, Spec } from '../../../src/config/schema.ts';

const samples = { bool: true, string: 'x', int: 1, list: ['x'], 'colon-map': { a: 'x' } } as const;
const specs: Readonly<Record<string, Spec>> = {
  bool: 'bool',
  string: 'string',
  int: 'int',
  list: 'strings',
  'colon-map': 'map',
};
const sources = ['dev', 'config-file', 'config-dir', 'config-format', 'hcl'];

describe('settingsOfFlags', () => {
  test.each(Object.entries(agentFlags).filter(([name]) => !sources.includes(name)))(
    '-%s sets a key of its type',
    (name, kind: FlagKind) => {
      const { lists, scalars } = settingsOfFlags({ [name]: samples[kind as keyof typeof samples] });
      const [[key, value] = ['', undefined]] = Object.entries({ ...lists, ...scalars });
      let spec = (agentKeys as Schema)[key];
      if (typeof spec === 'object' && 'block' in spec) spec = spec.block[Object.keys(value as object)[0]!];
      expect(spec).toBe(specs[kind]);
    },
  );

  test('lists lie under the files, but for the addresses that may write', () => {
    expect(settingsOfFlags({ 'retry-join': ['a'], 'allow-write-http-from': ['b'], node: 'n' })).toEqual({
      lists: { retry_join: ['a'] },
      scalars: { http_config: { allow_write_http_from: ['b'] }, node_name: 'n' },
    });
  });
});
