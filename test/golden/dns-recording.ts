// A recording of DNS answers, as far as the tests look into it.
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
