/** The certificate authority of the mesh and what it issues (reference/server-rpc.md §4.12). */
import type { RaftIndex } from './catalog.ts';
import type { DCSpecificRequest, QueryMeta, WriteRequest } from './query.ts';

export interface CARoot extends RaftIndex {
  /** Fingerprint of the certificate: hex pairs with colons. */
  readonly ID: string;
  readonly Name: string;
  readonly SerialNumber: number;
  /** Id of its key, in the same form. */
  readonly SigningKeyID: string;
  /** Cluster ID of the trust domain it signs for. */
  readonly ExternalTrustDomain: string;
  /** RFC 3339. */
  readonly NotBefore: string;
  readonly NotAfter: string;
  /** PEM. */
  readonly RootCert: string;
  readonly IntermediateCerts: readonly string[] | null;
  readonly Active: boolean;
  /** PEM; the built-in provider keeps its key in its own state and leaves both out. */
  readonly SigningCert?: string;
  readonly SigningKey?: string;
  /** RFC 3339; when it stopped being the active one. */
  readonly RotatedOutAt?: string;
  readonly PrivateKeyType: string;
  readonly PrivateKeyBits: number;
}

export interface CAConfiguration extends RaftIndex {
  /** UUID; the trust domain is `ClusterID.consul`. */
  readonly ClusterID: string;
  readonly Provider: string;
  readonly Config: Readonly<Record<string, unknown>> | null;
  readonly State: Readonly<Record<string, string>> | null;
  readonly ForceWithoutCrossSigning: boolean;
}

/** What the built-in provider keeps of an authority. */
export interface CAProviderState extends Partial<RaftIndex> {
  readonly ID: string;
  /** PEM. */
  readonly PrivateKey: string;
  readonly RootCert: string;
  /** Of a secondary datacenter. */
  readonly IntermediateCert?: string;
}

/** With a ModifyIndex it is written only over the configuration that has it. */
type GivenConfig = Omit<CAConfiguration, keyof RaftIndex> & Partial<RaftIndex>;

/** How the authority's state changes. */
export type CARequest = WriteRequest & {
  /** Roots are written only when their table's index is this one; left out they always are. */
  readonly Index?: number;
} & (
    | { readonly Op: 'set-config'; readonly Config: GivenConfig }
    | { readonly Op: 'set-roots'; readonly Roots: readonly Omit<CARoot, keyof RaftIndex>[] }
    | {
        readonly Op: 'set-roots-config';
        readonly Roots: readonly Omit<CARoot, keyof RaftIndex>[];
        readonly Config: GivenConfig;
      }
    | { readonly Op: 'set-provider-state' | 'delete-provider-state'; readonly ProviderState: CAProviderState }
    | { readonly Op: 'increment-provider-serial' }
  );

/** Takes a number for a certificate: the index of the command. Stores nothing. */
export interface CALeafRequest extends WriteRequest {
  readonly Op: 'increment-index';
}

export interface IssuedCert extends RaftIndex {
  /** Hex pairs with colons. */
  readonly SerialNumber: string;
  /** PEM. */
  readonly CertPEM: string;
  /** Only where the agent made the key. */
  readonly PrivateKeyPEM?: string;
  readonly Service: string;
  readonly ServiceURI: string;
  /** Node name, in place of a service, and the next. */
  readonly Agent?: string;
  readonly AgentURI?: string;
  /** RFC 3339. */
  readonly ValidAfter: string;
  readonly ValidBefore: string;
}

export interface CASignRequest extends WriteRequest {
  /** PEM. */
  readonly CSR: string;
}

export interface ConnectCaCalls {
  'ConnectCA.Roots': {
    request: DCSpecificRequest;
    reply: QueryMeta & {
      readonly ActiveRootID: string;
      readonly TrustDomain: string;
      readonly Roots: readonly CARoot[];
    };
  };
  'ConnectCA.ConfigurationGet': { request: DCSpecificRequest; reply: CAConfiguration };
  'ConnectCA.ConfigurationSet': {
    request: WriteRequest & { readonly Config: Omit<CAConfiguration, keyof RaftIndex | 'ClusterID'> };
    reply: null;
  };
  'ConnectCA.Sign': { request: CASignRequest; reply: IssuedCert };
}
