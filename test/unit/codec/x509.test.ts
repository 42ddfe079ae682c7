import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  decodePem,
  derOid,
  encodePem,
  makeCertificate,
  makeCertificateRequest,
  readCertificateRequest,
  readDer,
} from '../../../src/codec/index.ts';

const authority = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const base = { issuerName: 'authority', signingKey: authority.privateKey, notBeforeMs: 0, notAfterMs: 2e12 };

const root = new X509Certificate(
  makeCertificate({
    ...base,
    serial: 0xff01n,
    commonName: 'authority',
    uri: 'spiffe://t.consul',
    notAfterMs: 2_600_000_000_000,
    publicKey: authority.publicKey,
    isAuthority: true,
  }),
);

describe('a certificate', () => {
  test('of an authority is read and verified by others', () => {
    expect(root.ca).toBe(true);
    expect(root.serialNumber).toBe('FF01');
    expect(root.subject).toBe('CN=authority');
    expect(Date.parse(root.validTo)).toBe(2_600_000_000_000);
    expect(root.verify(authority.publicKey)).toBe(true);
  });

  test('of a service chains to it', () => {
    const uri = 'spiffe://t.consul/ns/default/dc/dc1/svc/web';
    const bytes = makeCertificate({
      ...base,
      serial: 2n,
      commonName: 'web',
      uri,
      publicKey: leaf.publicKey,
      isAuthority: false,
    });
    const certificate = new X509Certificate(encodePem('CERTIFICATE', bytes));
    expect(certificate.ca).toBe(false);
    expect(certificate.subjectAltName).toBe(`URI:${uri}`);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.1']);
    expect(certificate.checkIssued(root)).toBe(true);
    expect(certificate.verify(authority.publicKey)).toBe(true);
    expect(certificate.verify(leaf.publicKey)).toBe(false);
  });
});

describe('a certificate request', () => {
  const request = makeCertificateRequest(leaf.privateKey, 'web', { uri: 'spiffe://x' });

  test('is read as it was made', () => {
    const read = readCertificateRequest(decodePem('CERTIFICATE REQUEST', encodePem('CERTIFICATE REQUEST', request))!);
    expect(read.uris).toEqual(['spiffe://x']);
    expect(read.publicKey.equals(leaf.publicKey)).toBe(true);
  });

  test('with any byte of what is signed changed is refused', () => {
    const { encoded, content } = readDer(readDer(request)[0]!.content)[0]!;
    const start = Buffer.from(request).indexOf(encoded) + encoded.length - content.length;
    for (let i = start; i < start + content.length; i += 7) {
      const damaged = Uint8Array.from(request);
      damaged[i]! ^= 0x01;
      expect(() => readCertificateRequest(damaged), `byte ${i}`).toThrow(/asn1|x509/);
    }
  });

  test.each([[''], ['30'], ['3082ffff'], ['308000'], ['3000']])('from the bytes %s is refused', (hex) => {
    expect(() => readCertificateRequest(Buffer.from(hex, 'hex'))).toThrow(/asn1|x509/);
  });
});

test('object identifiers of several bytes a part', () => {
  expect(Buffer.from(derOid('1.2.840.10045.4.3.2')).toString('hex')).toBe('06082a8648ce3d040302');
  expect(readDer(derOid('2.5.29.17'))[0]?.content).toEqual(Buffer.from('551d11', 'hex'));
});
