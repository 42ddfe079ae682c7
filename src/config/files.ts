/**
 * One configuration file, text to settings: JSON, HCL 1 or YAML 1.2 by the ending of its name or `-config-format`.
 * Errors name the file and the place in it.
 */
import { parseDocument } from 'yaml';
import { GoJsonError, HclError, parseGoJson, parseHcl } from '../codec/index.ts';
import { agentKeys, checkAliases, type RawConfig } from './keys.ts';
import { ConfigError, decode } from './schema.ts';

export const configFormats = ['json', 'hcl', 'yaml'] as const;
export type ConfigFormat = (typeof configFormats)[number];

/** Aliases a YAML file may expand, against the file that explodes. */
const yamlAliasesMax = 100;

/** A file that was read, in the order in which it was named. */
export interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

/** Format by the name's ending; undefined for files a directory may hold beside the configuration. */
export function configFormatOf(path: string): ConfigFormat | undefined {
  const ending = /\.([^./]+)$/.exec(path)?.[1];
  if (ending === 'yml') return 'yaml';
  return configFormats.find((format) => format === ending);
}

/**
 * HCL that opens with a brace is JSON, as in HCL 1's own parser: `-hcl '{"datacenter": "dc2"}'`.
 * @throws ConfigError
 */
export function parseConfigFile({ path, text }: ConfigFile, given: ConfigFormat): RawConfig {
  const format = given === 'hcl' && text.trimStart().startsWith('{') ? 'json' : given;
  const value = text.trim() === '' ? {} : parse(path, text, format);
  const raw = decode(agentKeys, value ?? {}, { path, text, checkAliases, hcl: format === 'hcl' });
  const { service, check, ...rest } = raw;
  return {
    ...rest,
    ...(service === undefined ? {} : { services: [...(raw.services ?? []), service] }),
    ...(check === undefined ? {} : { checks: [...(raw.checks ?? []), check] }),
  };
}

function parse(path: string, text: string, format: ConfigFormat): unknown {
  try {
    switch (format) {
      case 'json': {
        const value = parseGoJson(text);
        if (Array.isArray(value))
          throw new ConfigError(`failed to parse ${path}: settings must be an object, got a list`);
        return value;
      }
      case 'hcl':
        return parseHcl(text);
      case 'yaml':
        return parseYaml(path, text);
    }
  } catch (error) {
    if (error instanceof HclError) throw new ConfigError(`failed to parse ${path}: ${error.message}`);
    if (error instanceof GoJsonError) {
      throw new ConfigError(`failed to parse ${path}: ${error.message} (line ${error.line}, column ${error.column})`);
    }
    throw error;
  }
}

function parseYaml(path: string, text: string): unknown {
  const document = parseDocument(text, { version: '1.2', merge: false, prettyErrors: false, uniqueKeys: true });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const before = text.slice(0, problem.pos[0]);
    const line = before.split('\n').length;
    const column = before.length - before.lastIndexOf('\n');
    throw new ConfigError(`failed to parse ${path}: ${problem.message} (line ${line}, column ${column})`);
  }
  try {
    return document.toJS({ maxAliasCount: yamlAliasesMax }) as unknown;
  } catch (error) {
    throw new ConfigError(`failed to parse ${path}: ${(error as Error).message}`);
  }
}
