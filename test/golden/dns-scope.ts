// Which DNS recordings Portolan cannot answer yet, and why. Everything else must pass.
export interface DnsStep {
  readonly path?: string;
  readonly body?: unknown;
  readonly sleep?: number;
}

export interface DnsCase {
  readonly id: string;
  readonly query: { readonly name?: string; readonly proto?: string };
  readonly before?: readonly DnsStep[];
  readonly expect: { readonly noResponse?: boolean; readonly rcode?: string; readonly firstAnswerVaries?: boolean };
}

export interface DnsRecording {
  readonly name: string;
  readonly agent: {
    readonly node: string;
    readonly config?: Readonly<Record<string, unknown>>;
    readonly acl?: unknown;
  };
  readonly recursors?: Readonly<Record<string, { readonly answers: unknown }>>;
  readonly peers?: readonly unknown[];
  readonly setup: readonly DnsStep[];
  readonly cases: readonly DnsCase[];
}

/** Why the case is left out; null when it must pass. */
export function outOfScope(recording: DnsRecording, { query, expect }: DnsCase): string | null {
  if (recording.peers !== undefined) return 'other datacenters are not there';
  const found = expect.rcode === 'NOERROR';
  const name = query.name?.toLowerCase() ?? '';
  // Names that are not found are answered all the same.
  if (found && name.includes('.ingress.')) return 'ingress gateways are not there';
  return null;
}

/** HTTP calls of a set-up for what is not there; the cases in scope do not need them. */
export function stepInScope({ path = '' }: DnsStep): boolean {
  return path !== '/v1/config';
}

/** The recording with nothing but what is in scope. */
export function inScope(recording: DnsRecording): DnsRecording {
  return {
    ...recording,
    setup: recording.setup.filter(stepInScope),
    cases: recording.cases.filter((each) => outOfScope(recording, each) === null),
  };
}
