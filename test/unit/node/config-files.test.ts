import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/config/index.ts';
import { readConfigFiles } from '../../../src/node/config-files.ts';

describe('readConfigFiles', () => {
  let dir = '';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'portolan-config-'));
    writeFileSync(join(dir, 'b.json'), '{}');
    writeFileSync(join(dir, 'a.hcl'), '');
    writeFileSync(join(dir, 'c.txt'), 'x');
    mkdirSync(join(dir, 'sub.json'));
    writeFileSync(join(dir, 'sub.json', 'd.json'), '{}');
    symlinkSync(join(dir, 'sub.json', 'd.json'), join(dir, 'e.json'));
  });
  afterEach(() => {
    rmSync(dir, { recursive: true });
  });

  test('a directory gives its files by name, and a warning for the others', () => {
    const { files, warnings } = readConfigFiles([join(dir, 'b.json'), dir]);
    expect(files.map(({ path, format }) => `${path.slice(dir.length + 1)} ${format}`)).toEqual([
      'b.json json',
      'a.hcl hcl',
      'b.json json',
      'e.json json',
    ]);
    expect(warnings).toEqual([
      `skipping file ${join(dir, 'c.txt')}, extension must be .hcl or .json, or config format must be set`,
    ]);
  });

  test('a format makes every file one of it', () => {
    expect(readConfigFiles([join(dir, 'c.txt')], 'hcl').files).toEqual([
      { path: join(dir, 'c.txt'), text: 'x', format: 'hcl' },
    ]);
  });

  test('a path that is not there is an error', () => {
    expect(() => readConfigFiles(['nope.json'])).toThrow(
      new ConfigError('config: Open failed on nope.json. open nope.json: no such file or directory'),
    );
  });
});
