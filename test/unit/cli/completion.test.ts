// Completion: what the scripts offer, asked of the shells themselves where they are installed; and their installation.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from './in-process.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'portolan-completion-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

describe('bash offers', () => {
  test.each([
    [['k'], ['keygen', 'keyring', 'kv']],
    [
      ['kv', ''],
      ['delete', 'export', 'get', 'import', 'put'],
    ],
    [
      ['kv', 'get', '-s'],
      ['-separator', '-stale'],
    ],
    [['acl', 'token', 'cr'], ['create']],
    [['kv', 'get', '-stale', 'key', '-det'], ['-detailed']],
    [['registrator', 'expl'], ['explain']],
    [['nothing', 'of', 'the', 'kind', 'zz'], []],
  ])('after %j: %j', async (words, expected) => {
    const { stdout } = await run(['completion', 'bash']);
    const script = join(dir, 'completion.bash');
    writeFileSync(script, stdout);
    const offered = execFileSync(
      'bash',
      [
        '-c',
        'source "$1"; shift; COMP_WORDS=(portolan "$@"); COMP_CWORD=$#; _portolan; printf "%s\\n" "${COMPREPLY[@]}"',
        'bash',
        script,
        ...words,
      ],
      { encoding: 'utf8' },
    )
      .split('\n')
      .filter((line) => line !== '');
    expect(offered).toEqual(expected);
  });
});

test.each(['zsh', 'fish'])('%s: every command and flag is in the script, quoted', async (shell) => {
  const { exit, stdout } = await run(['completion', shell]);
  expect(exit).toBe(0);
  for (const word of ['kv get', 'acl auth-method create', 'datacenter', 'leave']) expect(stdout).toContain(word);
  // Quotes come in pairs once those that are escaped are taken out.
  expect((stdout.replaceAll(`'\\''`, '').match(/'/g) ?? []).length % 2).toBe(0);
});

test('another shell is refused', async () => {
  expect(await run(['completion', 'csh'])).toMatchObject({ exit: 1, stderr: 'Name one shell: bash, zsh, fish\n' });
});

describe('installing', () => {
  const home = (): string => join(dir, 'home');
  test('adds a line to the start files there are, once, and takes it out again', async () => {
    mkdirSync(join(home(), '.config/fish'), { recursive: true });
    writeFileSync(join(home(), '.bashrc'), 'alias x=y');
    const install = (): Promise<unknown> => run(['-autocomplete-install'], { env: { HOME: home() } });
    await install();
    const once = readFileSync(join(home(), '.bashrc'), 'utf8');
    expect(once).toMatch(/^alias x=y\n.*portolan completion bash.*\n$/);
    await install();
    expect(readFileSync(join(home(), '.bashrc'), 'utf8')).toBe(once);
    const fish = join(home(), '.config/fish/completions/portolan.fish');
    expect(readFileSync(fish, 'utf8')).toContain('complete -c portolan');
    expect(existsSync(join(home(), '.zshrc'))).toBe(false);

    await run(['-autocomplete-uninstall'], { env: { HOME: home() } });
    expect(readFileSync(join(home(), '.bashrc'), 'utf8')).toBe('alias x=y\n');
    expect(existsSync(fish)).toBe(false);
    expect((await run(['-autocomplete-uninstall'], { env: { HOME: home() } })).stdout).toContain('Nothing to do');
  });
});
