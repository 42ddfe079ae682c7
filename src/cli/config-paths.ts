/** Configuration files as commands read them: `validate` all of it, `services` only the definitions inside. */
import { hostname } from 'node:os';
import { existsSync, statSync } from 'node:fs';
import { type ConfigFormat, loadConfig, type LoadedConfig } from '../config/index.ts';
import type { ServiceDefinition } from '../model/index.ts';
import { readConfigFiles } from '../node/config-files.ts';
import { findDefaultInterface, listInterfaces } from '../node/interfaces.ts';
import { CliError } from './command.ts';

/**
 * Loads files and directories as the agent would. `dev` takes the defaults of `-dev`, which need no further settings.
 * @throws ConfigError
 */
export function loadConfigPaths(
  paths: readonly string[],
  options: { readonly dev?: boolean; readonly format?: ConfigFormat | undefined } = {},
): LoadedConfig {
  const { files, warnings } = readConfigFiles(paths, options.format);
  const defaultInterface = findDefaultInterface();
  const loaded = loadConfig({
    flags: { dev: options.dev ?? false },
    files,
    host: {
      hostname: hostname(),
      interfaces: listInterfaces(),
      ...(defaultInterface !== undefined && { defaultInterface }),
      isOtherThanDirectory: (path) => existsSync(path) && !statSync(path).isDirectory(),
    },
  });
  return { config: loaded.config, warnings: [...warnings, ...loaded.warnings] };
}

/** Services defined in the files, in order. @throws CliError `Error: …`. */
export function servicesFromFiles(paths: readonly string[]): readonly ServiceDefinition[] {
  try {
    return loadConfigPaths(paths, { dev: true }).config.services;
  } catch (error) {
    throw new CliError(`Error: ${(error as Error).message}`, { cause: error });
  }
}
