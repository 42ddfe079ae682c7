/**
 * The two X.509 forms that Node cannot make: certificates signed by an elliptic key, for the mesh (their name is a URI)
 * and for agents (theirs are host names and addresses), and requests for them (RFC 5280, RFC 2986).
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import {
  der,
  derBitString,
  DerError,
  derInteger,
  derOid,
  derSequence,
  derTags,
  type DerValue,
  readDer,
} from './der.ts';

const oids = {
  commonName: '2.5.4.3',
  ecdsaSha256: '1.2.840.10045.4.3.2',
  extensionRequest: '1.2.840.113549.1.9.14',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** Context tags of the names of a certificate. */
const dnsTag = 0x82;
const uriTag = 0x86;
const ipTag = 0x87;
/** Digital signature, key encipherment, data encipherment, key agreement. */
const leafUsage = 0b1011_1000;
/** Digital signature, certificate and revocation list signing. */
const authorityUsage = 0b1000_0110;

/** What a certificate is good for besides its common name. */
export interface AlternativeNames {
  readonly uri?: string;
  readonly dnsNames?: readonly string[];
  /** 4 or 16 bytes each. */
  readonly ipAddresses?: readonly Uint8Array[];
}

export interface CertificateParts extends AlternativeNames {
  readonly serial: bigint;
  readonly commonName: string;
  /** Common name of the issuer, or all of its name in DER ({@link certificateSubject}). */
  readonly issuerName: string | Uint8Array;
  /** What the certificate of a leaf is for; default both. */
  readonly purposes?: readonly ('client' | 'server')[];
  /** An authority for names below these domains only. */
  readonly permittedDomains?: readonly string[];
  /** ms since 1970; whole seconds count. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: KeyObject;
  /** The issuer's private key, elliptic. */
  readonly signingKey: KeyObject;
  readonly isAuthority: boolean;
}

/** What names a key in certificates: a hash of its public form. */
export function x509KeyId(key: KeyObject): Uint8Array {
  return createHash('sha256').update(publicDer(key)).digest();
}

/** @returns the certificate, DER. */
export function makeCertificate(parts: CertificateParts): Uint8Array {
  const usage = parts.isAuthority ? authorityUsage : leafUsage;
  const { purposes = ['client', 'server'], permittedDomains = [] } = parts;
  const names = alternativeNames(parts);
  const extensions = [
    extension(oids.keyUsage, true, derBitString(Uint8Array.of(usage), trailingZeros(usage))),
    ...(parts.isAuthority || purposes.length === 0
      ? []
      : [
          extension(
            oids.extendedKeyUsage,
            false,
            derSequence(...purposes.map((purpose) => derOid(purpose === 'client' ? oids.clientAuth : oids.serverAuth))),
          ),
        ]),
    extension(
      oids.basicConstraints,
      true,
      derSequence(...(parts.isAuthority ? [der(derTags.boolean, Uint8Array.of(0xff))] : [])),
    ),
    extension(oids.subjectKeyId, false, der(derTags.octetString, x509KeyId(parts.publicKey))),
    extension(oids.authorityKeyId, false, derSequence(der(0x80, x509KeyId(createPublicKey(parts.signingKey))))),
    ...(names.length > 0 ? [extension(oids.subjectAltName, false, derSequence(...names))] : []),
    ...(permittedDomains.length > 0 ? [extension(oids.nameConstraints, true, permitted(permittedDomains))] : []),
  ];
  const signed = derSequence(
    der(0xa0, derInteger(2n)),
    derInteger(parts.serial),
    signatureAlgorithm,
    typeof parts.issuerName === 'string' ? name(parts.issuerName) : parts.issuerName,
    derSequence(time(parts.notBeforeMs), time(parts.notAfterMs)),
    name(parts.commonName),
    publicDer(parts.publicKey),
    der(0xa3, derSequence(...extensions)),
  );
  return signedBy(parts.signingKey, signed);
}

function alternativeNames({ uri, dnsNames = [], ipAddresses = [] }: AlternativeNames): readonly Uint8Array[] {
  return [
    ...dnsNames.map((host) => der(dnsTag, Buffer.from(host, 'latin1'))),
    ...ipAddresses.map((address) => der(ipTag, address)),
    ...(uri === undefined ? [] : [der(uriTag, Buffer.from(uri, 'latin1'))]),
  ];
}

/** Name constraints: a list of permitted subtrees, each a DNS name. */
function permitted(domains: readonly string[]): Uint8Array {
  return derSequence(der(0xa0, ...domains.map((domain) => derSequence(der(dnsTag, Buffer.from(domain, 'latin1'))))));
}

/** The name of whom a certificate (DER) is for, DER. @throws DerError when it is no certificate. */
export function certificateSubject(certificate: Uint8Array): Uint8Array {
  const [signed] = childrenOf(only(readDer(certificate)));
  // Version, serial, algorithm, issuer, validity, subject.
  const subject = signed === undefined ? undefined : childrenOf(signed)[5];
  if (subject === undefined) throw new DerError('x509: malformed certificate');
  return subject.encoded;
}

/** @returns a request for a certificate with these names, DER. */
export function makeCertificateRequest(key: KeyObject, commonName: string, names: AlternativeNames): Uint8Array {
  const wanted = derSequence(extension(oids.subjectAltName, false, derSequence(...alternativeNames(names))));
  const attribute = derSequence(derOid(oids.extensionRequest), der(derTags.set, wanted));
  const info = derSequence(derInteger(0n), name(commonName), publicDer(createPublicKey(key)), der(0xa0, attribute));
  return signedBy(key, info);
}

export interface CertificateRequest {
  readonly publicKey: KeyObject;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** 4 or 16 bytes each. */
  readonly ipAddresses: readonly Uint8Array[];
}

/**
 * Reads a request and verifies that who made it has the key.
 * @throws DerError when it is none, or its signature is wrong.
 */
export function readCertificateRequest(bytes: Uint8Array): CertificateRequest {
  const [info, , signature] = childrenOf(only(readDer(bytes)));
  if (info === undefined || signature === undefined) throw new DerError('x509: malformed certificate request');
  const [, , spki, ...attributes] = childrenOf(info);
  if (spki === undefined) throw new DerError('x509: malformed certificate request');
  let publicKey: KeyObject;
  let genuine: boolean;
  try {
    publicKey = createPublicKey({ key: Buffer.from(spki.encoded), format: 'der', type: 'spki' });
    genuine = verify('sha256', info.encoded, publicKey, signature.content.subarray(1));
  } catch {
    throw new DerError('x509: malformed public key');
  }
  if (!genuine) throw new DerError('x509: verification failure of the certificate request');
  const names = attributes.flatMap(childrenOf).flatMap(namesOfAttribute);
  const texts = (wanted: number): readonly string[] =>
    names.filter(({ tag }) => tag === wanted).map(({ content }) => Buffer.from(content).toString('latin1'));
  const ipAddresses = names.filter(({ tag }) => tag === ipTag).map(({ content }) => content);
  return { publicKey, uris: texts(uriTag), dnsNames: texts(dnsTag), ipAddresses };
}

/** The alternative names of whom the certificate is to be for. */
function namesOfAttribute(attribute: DerValue): readonly DerValue[] {
  const [oid, values] = childrenOf(attribute);
  if (oid === undefined || values === undefined || !isOid(oid, oids.extensionRequest)) return [];
  return childrenOf(values)
    .flatMap(childrenOf)
    .flatMap((one) => {
      const parts = childrenOf(one);
      const [id] = parts;
      const value = parts.at(-1);
      if (id === undefined || value === undefined || !isOid(id, oids.subjectAltName)) return [];
      return childrenOf(only(readDer(value.content)));
    });
}

function childrenOf(value: DerValue): readonly DerValue[] {
  return readDer(value.content);
}

function only(values: readonly DerValue[]): DerValue {
  const [value] = values;
  if (value === undefined) throw new DerError('asn1: syntax error: data truncated');
  return value;
}

function isOid(value: DerValue, dotted: string): boolean {
  return Buffer.compare(value.encoded, derOid(dotted)) === 0;
}

const signatureAlgorithm = derSequence(derOid(oids.ecdsaSha256));

function signedBy(key: KeyObject, content: Uint8Array): Uint8Array {
  return derSequence(content, signatureAlgorithm, derBitString(sign('sha256', content, key)));
}

function publicDer(key: KeyObject): Uint8Array {
  return key.export({ type: 'spki', format: 'der' });
}

function name(commonName: string): Uint8Array {
  const text = der(derTags.utf8String, Buffer.from(commonName, 'utf8'));
  return derSequence(der(derTags.set, derSequence(derOid(oids.commonName), text)));
}

function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  const mark = critical ? [der(derTags.boolean, Uint8Array.of(0xff))] : [];
  return derSequence(derOid(oid), ...mark, der(derTags.octetString, value));
}

function trailingZeros(byte: number): number {
  return 31 - Math.clz32(byte & -byte);
}

/** From 2050 on years have four digits. */
function time(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  if (digits >= '2050') return der(derTags.generalizedTime, Buffer.from(digits));
  return der(derTags.utcTime, Buffer.from(digits.slice(2)));
}

/** As PEM files hold it: base64 in lines of 64 between marks. */
export function encodePem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The first block of a PEM text with that label; undefined when there is none. */
export function decodePem(label: string, text: string): Uint8Array | undefined {
  const block = new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]+)-----END ${label}-----`).exec(text);
  return block === null ? undefined : Buffer.from(block[1]!, 'base64');
}
