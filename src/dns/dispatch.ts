/**
 * From a question to what is asked for: which zone, and inside our zone which kind of name (reference/dns.md §2-§4).
 * Labels are read from the right until a keyword; what stands left of it says what, what stands right of it says
 * where.
 */
import { recordType } from './message.ts';
import { labelsOf, type Name } from './name.ts';

/** Which handler answers. */
export type Zone = 'reverse' | 'own' | 'other';

/** What a name of our zone asks for. `datacenter` is "" for the local one. */
export type Lookup =
  | { readonly kind: 'node'; readonly node: string; readonly datacenter: string }
  | {
      readonly kind: 'service';
      readonly service: string;
      /** "" = any. */
      readonly tag: string;
      readonly datacenter: string;
      readonly connect: boolean;
      readonly ingress: boolean;
    }
  | { readonly kind: 'query'; readonly query: string; readonly datacenter: string }
  /** `owner`: the lower-cased name under the primary domain; `address` null: neither 4 nor 16 bytes. */
  | { readonly kind: 'address'; readonly owner: string; readonly address: Uint8Array | null }
  | { readonly kind: 'invalid' };

/** The zones we answer for: lower-cased label lists, rightmost label last. */
export interface Domains {
  /** With final dot. */
  readonly primary: string;
  readonly primaryLabels: readonly string[];
  /** Empty = none. */
  readonly altLabels: readonly string[];
}

const invalid: Lookup = { kind: 'invalid' };
const arpa = ['arpa'];
const keywords = new Set(['service', 'connect', 'ingress', 'node', 'query', 'addr']);

export function domainsOf(domain: string, altDomain: string): Domains {
  const split = (text: string): string[] =>
    text
      .toLowerCase()
      .split('.')
      .filter((label) => label !== '');
  const primaryLabels = split(domain);
  return { primary: `${primaryLabels.join('.')}.`, primaryLabels, altLabels: split(altDomain) };
}

/** Lower-cased labels of a name, for {@link zoneOf} and {@link lookupOf}. */
export function lookupLabels(name: Name): string[] {
  return labelsOf(name).map((label) => label.toLowerCase());
}

export function zoneOf(labels: readonly string[], domains: Domains): Zone {
  if (ownSuffixLength(labels, domains) > 0) return 'own';
  return endsWith(labels, arpa) ? 'reverse' : 'other';
}

function endsWith(labels: readonly string[], suffix: readonly string[]): boolean {
  const from = labels.length - suffix.length;
  return from >= 0 && suffix.every((label, i) => labels[from + i] === label);
}

/** Number of labels of the longer of our domains that the name is in; 0 when in none. */
function ownSuffixLength(labels: readonly string[], { primaryLabels, altLabels }: Domains): number {
  const primary = endsWith(labels, primaryLabels) ? primaryLabels.length : 0;
  const alt = endsWith(labels, altLabels) ? altLabels.length : 0;
  return Math.max(primary, alt);
}

/** What the name (in one of our zones) asks for. */
export function lookupOf(labels: readonly string[], type: number, domains: Domains): Lookup {
  const inner = labels.slice(0, labels.length - ownSuffixLength(labels, domains));
  for (let i = inner.length - 1; i >= 0; i--) {
    const label = inner[i]!;
    if (keywords.has(label)) return lookupOfKind(label, inner.slice(0, i), inner.slice(i + 1), domains);
    // RFC 2782 names may leave `service` out, but only when SRV is asked for.
    if (type === recordType.SRV && label.startsWith('_')) {
      return lookupOfKind('service', inner.slice(0, i + 1), inner.slice(i + 1), domains);
    }
  }
  return invalid;
}

function lookupOfKind(kind: string, parts: readonly string[], suffix: readonly string[], domains: Domains): Lookup {
  if (kind === 'addr') {
    const hex = parts[0];
    if (hex === undefined || parts.length !== 1) return invalid;
    const bytes = hex.length >> 1;
    if (bytes !== 4 && bytes !== 16) return { kind: 'address', owner: '', address: null };
    if (!/^(?:[0-9a-f]{2})+$/.test(hex)) return invalid;
    const owner = [...parts, 'addr', ...suffix].join('.');
    return { kind: 'address', owner: `${owner}.${domains.primary}`, address: Uint8Array.from(Buffer.from(hex, 'hex')) };
  }
  const last = parts.at(-1);
  if (last === undefined || suffix.length > 1) return invalid;
  const datacenter = suffix[0] ?? '';
  switch (kind) {
    case 'node':
      return { kind: 'node', node: parts.join('.'), datacenter };
    case 'query':
      return { kind: 'query', query: parts.join('.'), datacenter };
    case 'service': {
      const first = parts[0]!;
      if (parts.length === 2 && first.startsWith('_') && last.startsWith('_')) {
        const tag = last.slice(1);
        return service(first.slice(1), tag === 'tcp' ? '' : tag, datacenter);
      }
      return service(last, parts.slice(0, -1).join('.'), datacenter);
    }
    default:
      return {
        kind: 'service',
        service: last,
        tag: '',
        datacenter,
        connect: kind === 'connect',
        ingress: kind === 'ingress',
      };
  }
}

function service(name: string, tag: string, datacenter: string): Lookup {
  return { kind: 'service', service: name, tag, datacenter, connect: false, ingress: false };
}
