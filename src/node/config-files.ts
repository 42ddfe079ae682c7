/**
 * Reading configuration files and directories (reference/agent.md §2.1): a directory's files by name, not below it,
 * symbolic links followed; a file without a known ending is skipped with a warning unless a format is given.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, type ConfigFile, type ConfigFormat, configFormatOf } from '../config/index.ts';

/** Largest configuration file, bytes; nobody writes that much, but a wrong path can lead to a database. */
const fileBytesMax = 16 * 1024 * 1024;
/** Most files of one directory. */
const directoryFilesMax = 10_000;

export interface ConfigFiles {
  readonly files: readonly (ConfigFile & { readonly format: ConfigFormat })[];
  readonly warnings: readonly string[];
}

/**
 * Reads `paths` (files and directories, in order). `format` makes every file one of that format.
 * @throws ConfigError when something cannot be read.
 */
export function readConfigFiles(paths: readonly string[], format?: ConfigFormat): ConfigFiles {
  const files: (ConfigFile & { format: ConfigFormat })[] = [];
  const warnings: string[] = [];
  const read = (path: string): void => {
    const ofFile = format ?? configFormatOf(path);
    if (ofFile === undefined) {
      warnings.push(`skipping file ${path}, extension must be .hcl or .json, or config format must be set`);
    } else {
      files.push({ path, text: attempt('ReadFile', 'open', path, () => readText(path)), format: ofFile });
    }
  };
  for (const path of paths) {
    if (!attempt('Open', 'open', path, () => statSync(path)).isDirectory()) {
      read(path);
      continue;
    }
    const names = attempt('Readdir', 'open', path, () => readdirSync(path)).sort();
    if (names.length > directoryFilesMax) {
      throw new ConfigError(
        `config: ${path} holds ${names.length} files, more than ${directoryFilesMax}. Is it the right one?`,
      );
    }
    for (const name of names) {
      const entry = join(path, name);
      if (!attempt('Stat', 'stat', entry, () => statSync(entry)).isDirectory()) read(entry);
    }
  }
  return { files, warnings };
}

function readText(path: string): string {
  const { size } = statSync(path);
  if (size > fileBytesMax) throw new ConfigError(`config: ${path} has ${size} bytes, more than ${fileBytesMax}`);
  return readFileSync(path, 'utf8');
}

/** What the C library says, by code. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  ENOTDIR: 'not a directory',
  ELOOP: 'too many levels of symbolic links',
  EISDIR: 'is a directory',
};

function attempt<T>(step: string, call: string, path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw new ConfigError(`config: ${step} failed on ${path}. ${call} ${path}: ${reasons[code] ?? message}`);
  }
}
