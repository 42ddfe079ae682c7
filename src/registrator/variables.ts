/**
 * Reading `SERVICE_*` from a container's environment and labels, and the same keys from dotted labels
 * (reference/registrator.md §5.1, R22, R23). A variable has a key (`name`, `check_http`) and a scope: everything, a
 * range of ports, one port, one port of one protocol. The narrowest scope wins, then labels over environment, then
 * dotted labels over `SERVICE_` labels, then the later one (labels in byte order, so that nothing is left to chance).
 */
import type { ContainerInspect } from '../ports/index.ts';
import { labelsOf } from './facts.ts';

export interface Variable {
  readonly key: string;
  readonly value: string;
  /** As the user wrote it, for messages: `label SERVICE_80_NAME`. */
  readonly source: string;
  /** From the dotted namespace, where booleans parse and nothing is kept for compatibility. */
  readonly dotted: boolean;
  readonly scope: Scope;
}

export type Scope =
  | { readonly kind: 'all' }
  | { readonly kind: 'range'; readonly from: number; readonly to: number }
  /** `port` is the text as written: `080` is no port (§5.1). */
  | { readonly kind: 'port'; readonly port: string; readonly protocol: string };

/** A port as variables see it. */
export interface PortRef {
  readonly port: number;
  readonly protocol: string;
}

const prefix = 'SERVICE_';

/** The variables of one container. */
export class Variables {
  readonly #variables: readonly Variable[];

  constructor(inspect: ContainerInspect, namespace: string) {
    const variables: Variable[] = [];
    for (const entry of inspect.Config?.Env ?? []) {
      const at = entry.indexOf('=');
      if (at > 0) addLegacy(variables, 'env', entry.slice(0, at), entry.slice(at + 1));
    }
    const labels = Object.entries(labelsOf(inspect)).sort(([a], [b]) => (a < b ? 1 : -1));
    for (const [key, value] of labels) addLegacy(variables, 'label', key, value);
    for (const [key, value] of labels) addDotted(variables, namespace, key, value);
    this.#variables = variables;
  }

  /** What applies to `port`, key → variable; undefined asks for the general ones only (portless services). */
  for(port: PortRef | undefined): Applied {
    const best = new Map<string, { variable: Variable; rank: number }>();
    for (const variable of this.#variables) {
      const rank = rankOf(variable.scope, port);
      if (rank < 0) continue;
      const known = best.get(variable.key);
      if (known === undefined || rank >= known.rank) best.set(variable.key, { variable, rank });
    }
    return new Applied(new Map([...best].map(([key, { variable }]) => [key, variable])));
  }
}

/** Variables in effect for one port. */
export class Applied {
  readonly #byKey: ReadonlyMap<string, Variable>;

  constructor(byKey: ReadonlyMap<string, Variable>) {
    this.#byKey = byKey;
  }

  get(key: string): Variable | undefined {
    return this.#byKey.get(key);
  }

  /** The variable when its value is not empty: for most keys empty means not set. */
  filled(key: string): Variable | undefined {
    const variable = this.#byKey.get(key);
    return variable === undefined || variable.value === '' ? undefined : variable;
  }

  /** A boolean key of ours; undefined when not set. */
  flag(key: string): { readonly value: boolean; readonly source: string } | undefined {
    const variable = this.#byKey.get(key);
    return variable && { value: isTrue(variable.value), source: variable.source };
  }

  all(): Iterable<Variable> {
    return this.#byKey.values();
  }
}

/** `false`, `0`, `no`, `off` and nothing are false, everything else is true (R22). */
export function isTrue(text: string): boolean {
  return !['', '0', 'false', 'no', 'off'].includes(text.trim().toLowerCase());
}

/** Whether a scope names exactly one port (a name from it takes no suffix, §5.2). */
export function isPortSpecific(scope: Scope): boolean {
  return scope.kind !== 'all';
}

function rankOf(scope: Scope, port: PortRef | undefined): number {
  if (scope.kind === 'all') return 0;
  if (port === undefined) return -1;
  if (scope.kind === 'range') return port.port >= scope.from && port.port <= scope.to ? 1 : -1;
  if (scope.port !== String(port.port)) return -1;
  if (scope.protocol === '') return 2;
  return scope.protocol === port.protocol ? 3 : -1;
}

function addLegacy(into: Variable[], origin: 'env' | 'label', name: string, value: string): void {
  if (!name.startsWith(prefix)) return;
  const rest = name.slice(prefix.length).toLowerCase();
  into.push({ ...scoped(rest, '_'), value, source: `${origin} ${name}`, dotted: false });
}

function addDotted(into: Variable[], namespace: string, name: string, value: string): void {
  if (!name.startsWith(`${namespace}.`)) return;
  const { key, scope } = scoped(name.slice(namespace.length + 1).toLowerCase(), '.');
  into.push({ key: key.replaceAll(/[.-]/g, '_'), scope, value, source: `label ${name}`, dotted: true });
}

/** Splits `80_tcp_name`, `10000-20000_ignore`, `name` at `separator`. */
function scoped(rest: string, separator: '_' | '.'): { key: string; scope: Scope } {
  const at = rest.indexOf(separator);
  const head = at < 0 ? '' : rest.slice(0, at);
  const tail = rest.slice(at + 1);
  const range = /^(\d+)-(\d+)$/.exec(head);
  if (range) return { key: tail, scope: { kind: 'range', from: Number(range[1]), to: Number(range[2]) } };
  if (!/^[+-]?\d+$/.test(head)) return { key: rest, scope: { kind: 'all' } };
  const protocol = /^(tcp|udp|sctp)[._](.+)$/.exec(tail);
  if (protocol) return { key: protocol[2]!, scope: { kind: 'port', port: head, protocol: protocol[1]! } };
  return { key: tail, scope: { kind: 'port', port: head, protocol: '' } };
}
