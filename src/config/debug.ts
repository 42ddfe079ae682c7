/** The configuration for `/v1/agent/self`: one flat map, secrets replaced (reference/http-api.md §9.1). */
import type { Config } from './config.ts';

const hidden = 'hidden';
/** Names of settings, and of keys in maps, whose values are secrets. */
const secret = /token|secret|password|authorization|accesskey|privatekey/i;

/** Dotted path → value, for every leaf; lists are kept as lists. Empty secrets stay empty: that they are unset is no secret. */
export function debugConfig(config: Config): Readonly<Record<string, unknown>> {
  const result: [string, unknown][] = [];
  const visit = (value: unknown, path: string, isSecret: boolean): void => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [key, field] of Object.entries(value)) {
        visit(field, path === '' ? key : `${path}.${key}`, isSecret || isSecretKey(path, key));
      }
      return;
    }
    const set =
      value !== '' && value !== null && value !== undefined && typeof value !== 'boolean' && typeof value !== 'number';
    result.push([path, isSecret && set ? hidden : sanitized(value)]);
  };
  visit(config, '', false);
  return Object.fromEntries(result.sort(([a], [b]) => (a < b ? -1 : Number(a > b))));
}

/** `acl.tokens.*`, the gossip key and everything named like a secret. Join strings may hold cloud credentials. */
function isSecretKey(path: string, key: string): boolean {
  if (path === 'join') return false;
  return path === 'acl.tokens' || (path === 'gossip' && key === 'encrypt') || secret.test(key.replaceAll('_', ''));
}

function sanitized(value: unknown): unknown {
  if (typeof value === 'string') return withoutCredentials(value);
  if (Array.isArray(value)) return value.map(sanitized);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => [
      key,
      isSecretKey('', key) && field !== '' && (typeof field === 'string' || Array.isArray(field))
        ? hidden
        : sanitized(field),
    ]),
  );
}

/** `provider=aws … secret_access_key=x`. */
function withoutCredentials(text: string): string {
  if (!text.includes('provider=')) return text;
  return text.replaceAll(
    /((?:[\w-]*(?:secret|token|password|access_key)[\w-]*)=)(?:"(?:[^"\\]|\\.)*"|\S+)/g,
    `$1${hidden}`,
  );
}
