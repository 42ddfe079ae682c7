/**
 * All sources to one configuration. Later wins: defaults, dev defaults, list flags, files in order, scalar and map
 * flags, `-hcl` fragments (reference/agent.md §2.1). Files come in already read; nothing here touches the system.
 */
import { type AgentFlags, settingsOfFlags } from './agent-flags.ts';
import { buildConfig, type ConfigHost } from './build.ts';
import type { Config } from './config.ts';
import { defaults, devDefaults } from './defaults.ts';
import { type ConfigFile, type ConfigFormat, parseConfigFile } from './files.ts';
import { agentKeys, type RawConfig } from './keys.ts';
import { merge } from './schema.ts';

export interface ConfigInput {
  readonly flags: AgentFlags;
  /** In the order in which they count. */
  readonly files: readonly (ConfigFile & { readonly format: ConfigFormat })[];
  readonly host: ConfigHost;
}

export interface LoadedConfig {
  readonly config: Config;
  /** For the log, or the error stream of `validate`. */
  readonly warnings: readonly string[];
}

/** @throws ConfigError with the text for the user. */
export function loadConfig({ flags, files, host }: ConfigInput): LoadedConfig {
  const devMode = flags.dev ?? false;
  const { lists, scalars } = settingsOfFlags(flags);
  const fragments = (flags.hcl ?? []).map((text) => parseConfigFile({ path: '-hcl', text }, 'hcl'));
  const layers: RawConfig[] = [
    ...(devMode ? [devDefaults] : []),
    lists,
    ...files.map((file) => parseConfigFile(file, file.format)),
    scalars,
    ...fragments,
  ];
  const merged = layers.reduce<RawConfig>((under, over) => merge(agentKeys, under, over), defaults);
  const warnings: string[] = [];
  const config = buildConfig(merged, devMode, host, (text) => warnings.push(text));
  return { config, warnings };
}
