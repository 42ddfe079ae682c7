/**
 * `ConnectCA.*`: the built-in certificate authority. The leader makes one root for the datacenter; agents send requests
 * for the certificates of their services and get them signed (reference/server-rpc.md §4.12).
 */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { decodePem, DerError, encodePem, makeCertificate, readCertificateRequest, x509KeyId } from '../codec/index.ts';
import {
  type CAConfiguration,
  CallError,
  type CARoot,
  type CARoots,
  type IssuedCert,
  parseSpiffeId,
  type SpiffeId,
  spiffeUri,
} from '../model/index.ts';
import type { Random } from '../ports/index.ts';
import { leafTtlMs, requireValidCaSettings } from './ca-config.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter } from './endpoint.ts';

const hourMs = 3_600_000;
/** Validity of the root. */
const rootTtlMs = 10 * 365 * 24 * hourMs;
/** Validity of another datacenter's authority. */
const intermediateTtlMs = 365 * 24 * hourMs;
/** Certificates begin so long before now, for clocks that are behind. */
const backdatingMs = 60_000;
const defaultConfig = { LeafCertTTL: '72h', RotationPeriod: '2160h', IntermediateCertTTL: '8760h' };
const connectOff = 'Connect must be enabled in order to use this endpoint';

export interface ConnectCa {
  readonly handlers: Handlers<
    'ConnectCA.Roots' | 'ConnectCA.ConfigurationGet' | 'ConnectCA.ConfigurationSet' | 'ConnectCA.Sign'
  >;
  /** Signs the authority of another datacenter; rights are looked at elsewhere. @returns PEM. @throws CallError */
  signIntermediate(csr: string): Promise<string>;
  /** Signs a client agent's first certificate. @throws CallError */
  signAgent(csr: string): Promise<{ readonly issued: IssuedCert; readonly roots: CARoots }>;
  /** The domain that certificates are valid in; undefined while Connect is off. */
  readonly trustDomain: () => string | undefined;
  /** Makes the root unless there is one; a duty of the leader. */
  start(): Promise<void>;
}

export function createConnectCa(
  endpoint: Endpoint,
  { random, enabled }: { readonly random: Random; readonly enabled: boolean },
): ConnectCa {
  const { store, log, queries, clock, datacenter } = endpoint;
  const requireEnabled = (): CAConfiguration => {
    if (!enabled || store.connectCa.config === undefined) throw new CallError(connectOff);
    return store.connectCa.config;
  };
  const trustDomain = (): string | undefined =>
    enabled && store.connectCa.config !== undefined ? `${store.connectCa.config.ClusterID}.consul` : undefined;

  const start = async (): Promise<void> => {
    if (!enabled || store.connectCa.roots().result.length > 0) return;
    const ClusterID = store.connectCa.config?.ClusterID || random.uuid();
    const Config = store.connectCa.config ?? {
      ClusterID,
      Provider: 'consul',
      Config: defaultConfig,
      State: null,
      ForceWithoutCrossSigning: false,
    };
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const commonName = `pri-${random.uuid().slice(0, 7)}.consul.ca.${ClusterID.slice(0, 8)}.consul`;
    const notBeforeMs = clock.wallMs() - backdatingMs;
    // The root has a number of its own: those of leaves are log indexes, which are greater.
    const serial = 1;
    const der = makeCertificate({
      serial: BigInt(serial),
      commonName,
      issuerName: commonName,
      uri: `spiffe://${ClusterID}.consul`,
      notBeforeMs,
      notAfterMs: notBeforeMs + rootTtlMs,
      publicKey,
      signingKey: privateKey,
      isAuthority: true,
    });
    const RootCert = encodePem('CERTIFICATE', der);
    const root: Omit<CARoot, 'CreateIndex' | 'ModifyIndex'> = {
      ID: hexPairs(createHash('sha1').update(der).digest()),
      Name: 'Consul CA Root Cert',
      SerialNumber: serial,
      SigningKeyID: hexPairs(x509KeyId(publicKey)),
      ExternalTrustDomain: ClusterID,
      NotBefore: time(notBeforeMs),
      NotAfter: time(notBeforeMs + rootTtlMs),
      RootCert,
      IntermediateCerts: null,
      Active: true,
      PrivateKeyType: 'ec',
      PrivateKeyBits: 256,
    };
    const PrivateKey = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
    const write = { Datacenter: datacenter };
    await log.propose({ type: 'ConnectCA', request: { ...write, Op: 'set-config', Config } });
    await log.propose({
      type: 'ConnectCA',
      request: { ...write, Op: 'set-provider-state', ProviderState: { ID: root.ID, PrivateKey, RootCert } },
    });
    await log.propose({ type: 'ConnectCA', request: { ...write, Op: 'set-roots', Roots: [root] } });
  };

  /** Signs with the root's key, under a number that no other certificate has. */
  const certify = async (wanted: {
    readonly commonName: string;
    readonly uri: string;
    readonly publicKey: KeyObject;
    readonly dnsNames?: readonly string[];
    readonly ipAddresses?: readonly Uint8Array[];
    readonly isAuthority: boolean;
    readonly ttlMs: number;
  }) => {
    const { provider } = store.connectCa;
    if (provider === undefined) throw new CallError('no active CA root: ask again when there is a leader');
    const index = await log.propose({
      type: 'ConnectCALeaf',
      request: { Datacenter: datacenter, Op: 'increment-index' },
    });
    const notBeforeMs = clock.wallMs() - backdatingMs;
    const notAfterMs = clock.wallMs() + wanted.ttlMs;
    const der = makeCertificate({
      ...wanted,
      serial: BigInt(index),
      issuerName: new X509Certificate(provider.RootCert).subject.replace(/^CN=/, ''),
      notBeforeMs,
      notAfterMs,
      signingKey: createPrivateKey(provider.PrivateKey),
    });
    return { index, notBeforeMs, notAfterMs, der };
  };

  const issue = async ({ id, ...wanted }: RequestFor<LeafId>): Promise<IssuedCert> => {
    const config = requireEnabled();
    const domain = `${config.ClusterID.slice(0, 8)}.consul`;
    const { index, notBeforeMs, notAfterMs, der } = await certify({
      ...wanted,
      commonName: id.kind === 'service' ? `${id.service}.svc.${id.namespace}.${domain}` : `${id.agent}.agnt.${domain}`,
      isAuthority: false,
      ttlMs: leafTtlMs(config.Config),
    });
    return {
      SerialNumber: hexPairs(bytesOf(index)),
      CertPEM: encodePem('CERTIFICATE', der),
      ...(id.kind === 'service'
        ? { Service: id.service, ServiceURI: wanted.uri }
        : { Service: '', ServiceURI: '', Agent: id.agent, AgentURI: wanted.uri }),
      ValidAfter: time(notBeforeMs),
      ValidBefore: time(notAfterMs),
      CreateIndex: index,
      ModifyIndex: index,
    };
  };

  const rootsOf = (watch?: string[]): CARoots => {
    const { index, result } = store.connectCa.roots(watch);
    return {
      ...queryMeta(endpoint, index),
      // The peer never says it knows a leader here, and clients have got used to it.
      KnownLeader: false,
      ActiveRootID: result.find(({ Active }) => Active)?.ID ?? '',
      TrustDomain: trustDomain() ?? '',
      Roots: result,
    };
  };

  const signIntermediate: ConnectCa['signIntermediate'] = async (csr) => {
    const config = requireEnabled();
    const { id, uri, publicKey } = readAnyRequest(csr);
    if (id?.kind !== 'authority') throw new CallError('SPIFFE ID in CSR must be that of an authority');
    const domain = trustDomain() ?? '';
    if (id.trustDomain.toLowerCase() !== domain.toLowerCase()) throw otherDomain(id, domain);
    const { der } = await certify({
      commonName: `sec-${random.uuid().slice(0, 7)}.consul.ca.${config.ClusterID.slice(0, 8)}.consul`,
      uri,
      publicKey,
      isAuthority: true,
      ttlMs: intermediateTtlMs,
    });
    return encodePem('CERTIFICATE', der);
  };

  const signAgent: ConnectCa['signAgent'] = async (csr) => {
    requireEnabled();
    const { id, ...wanted } = readAnyRequest(csr);
    if (id?.kind !== 'agent') throw new CallError('SPIFFE ID in CSR must be an agent ID');
    if (id.datacenter !== datacenter) throw otherDatacenter(id, datacenter);
    // Whoever asks for its first certificate cannot know what we are called.
    const known = { ...id, trustDomain: trustDomain() ?? '' };
    const issued = await issue({ ...wanted, id: known, uri: spiffeUri(known) });
    return { issued, roots: rootsOf() };
  };

  return {
    trustDomain,
    start,
    signIntermediate,
    signAgent,
    handlers: {
      'ConnectCA.Roots': (request, signal) => {
        requireDatacenter(endpoint, request);
        requireEnabled();
        return queries.run(request, rootsOf, signal);
      },
      'ConnectCA.ConfigurationGet': async (request) => {
        requireDatacenter(endpoint, request);
        return requireEnabled();
      },
      'ConnectCA.ConfigurationSet': async (request) => {
        requireDatacenter(endpoint, request);
        const { ClusterID } = requireEnabled();
        const { Provider, Config } = request.Config;
        if (Provider !== 'consul') {
          throw new CallError(`could not initialize provider: unknown CA provider ${JSON.stringify(Provider)}`);
        }
        requireValidCaSettings(Config);
        await log.propose({
          type: 'ConnectCA',
          request: { Datacenter: datacenter, Op: 'set-config', Config: { ...request.Config, ClusterID } },
        });
        return null;
      },
      'ConnectCA.Sign': async (request) => {
        requireDatacenter(endpoint, request);
        requireEnabled();
        const wanted = readRequest(request.CSR);
        refuseStrangers(wanted.id, trustDomain() ?? '', datacenter);
        return await issue(wanted);
      },
    },
  };
}

type LeafId = Exclude<SpiffeId, { readonly kind: 'authority' }>;

/** A request for a certificate, with whom it is to be for. */
interface RequestFor<Id extends SpiffeId> {
  readonly id: Id;
  readonly uri: string;
  readonly publicKey: KeyObject;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly Uint8Array[];
}

/** @throws CallError when it is no request, or for somebody else than a service or an agent. */
export function readRequest(csr: string): RequestFor<LeafId> {
  const request = readAnyRequest(csr);
  const { id } = request;
  if (id === null || id.kind === 'authority') throw new CallError('SPIFFE ID in CSR must be a service ID');
  return { ...request, id };
}

function readAnyRequest(csr: string): Omit<RequestFor<SpiffeId>, 'id'> & { readonly id: SpiffeId | null } {
  const bytes = decodePem('CERTIFICATE REQUEST', csr);
  if (bytes === undefined) throw new CallError('failed to parse CSR: no PEM-encoded data found');
  try {
    const { uris, ...request } = readCertificateRequest(bytes);
    const [uri = ''] = uris;
    return { ...request, id: parseSpiffeId(uri), uri };
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw new CallError(`failed to parse CSR: ${error.message}`, { cause: error });
  }
}

function refuseStrangers(id: LeafId, trustDomain: string, datacenter: string): void {
  if (id.trustDomain.toLowerCase() !== trustDomain.toLowerCase()) throw otherDomain(id, trustDomain);
  if (id.datacenter !== datacenter) throw otherDatacenter(id, datacenter);
}

function otherDomain(id: SpiffeId, trustDomain: string): CallError {
  return new CallError(`SPIFFE ID in CSR from a different trust domain: ${id.trustDomain}, we are ${trustDomain}`);
}

function otherDatacenter(id: LeafId, datacenter: string): CallError {
  return new CallError(`SPIFFE ID in CSR from a different datacenter: ${id.datacenter}, we are ${datacenter}`);
}

function hexPairs(bytes: Uint8Array): string {
  return (Buffer.from(bytes).toString('hex').match(/../g) ?? []).join(':');
}

function bytesOf(number: number): Uint8Array {
  const hex = number.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
}

function time(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString().replace('.000', '');
}
