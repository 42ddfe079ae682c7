import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { encodePem, makeCertificateRequest } from '../../../src/codec/index.ts';
import { LeafCertificates } from '../../../src/http/leaf-certificates.ts';
import { uncached } from '../../helpers/uncached.ts';
import { type Single, singleServer } from './single.ts';

let single: Single;
beforeEach(async () => {
  single = singleServer({ connectEnabled: true });
  await single.server.start();
});

const roots = () => single.call('ConnectCA.Roots', {});
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
function sign(uri: string) {
  const CSR = encodePem('CERTIFICATE REQUEST', makeCertificateRequest(privateKey, 'web', { uri }));
  return single.call('ConnectCA.Sign', { CSR });
}

test('the first leader makes a root, and only one', async () => {
  const { ActiveRootID, TrustDomain, Roots, Index } = await roots();
  expect(Roots).toMatchObject([{ ID: ActiveRootID, Active: true, CreateIndex: Index, ModifyIndex: Index }]);
  const certificate = new X509Certificate(Roots[0]!.RootCert);
  expect(certificate.ca).toBe(true);
  expect(certificate.subjectAltName).toBe(`URI:spiffe://${TrustDomain}`);
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  await single.server.start();
  expect((await roots()).Index).toBe(Index);
});

test('while Connect is off there is nothing', async () => {
  single = singleServer();
  await single.server.start();
  const message = 'Connect must be enabled in order to use this endpoint';
  await expect(roots()).rejects.toThrow(message);
  await expect(single.call('ConnectCA.ConfigurationGet', {})).rejects.toThrow(message);
  await expect(single.call('DiscoveryChain.Get', { Name: 'web' })).rejects.toThrow(message);
});

describe('signing', () => {
  test('gives a service its certificate, each with its own number', async () => {
    const { TrustDomain, Roots } = await roots();
    const uri = `spiffe://${TrustDomain}/ns/default/dc/dc1/svc/web`;
    const first = await sign(uri);
    const second = await sign(uri);
    expect(first).toMatchObject({ Service: 'web', ServiceURI: uri, CreateIndex: first.ModifyIndex });
    expect(second.SerialNumber).not.toBe(first.SerialNumber);
    const certificate = new X509Certificate(first.CertPEM);
    expect(certificate.checkIssued(new X509Certificate(Roots[0]!.RootCert))).toBe(true);
    expect(certificate.verify(new X509Certificate(Roots[0]!.RootCert).publicKey)).toBe(true);
    expect(certificate.checkPrivateKey(privateKey)).toBe(true);
    expect(Date.parse(first.ValidBefore) - single.clock.wallMs()).toBe(72 * 3_600_000);
  });

  test.each([
    ['spiffe://other.consul/ns/default/dc/dc1/svc/web', 'from a different trust domain: other.consul'],
    ['spiffe://TRUST/ns/default/dc/dc2/svc/web', 'from a different datacenter: dc2'],
    ['spiffe://TRUST', 'must be a service ID'],
    ['http://x', 'must be a service ID'],
  ])('refuses %s', async (uri, message) => {
    const { TrustDomain } = await roots();
    await expect(sign(uri.replace('TRUST', TrustDomain))).rejects.toThrow(message);
  });

  test.each(['', '-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n'])(
    'refuses %j',
    async (CSR) => {
      await expect(single.call('ConnectCA.Sign', { CSR })).rejects.toThrow('failed to parse CSR');
    },
  );
});

describe('configuration', () => {
  const set = (Provider: string, Config: Readonly<Record<string, unknown>>) =>
    single.call('ConnectCA.ConfigurationSet', {
      Config: { Provider, Config, State: null, ForceWithoutCrossSigning: false },
    });

  test('is replaced as a whole; cluster and root stay', async () => {
    const before = await single.call('ConnectCA.ConfigurationGet', {});
    const { ActiveRootID } = await roots();
    await set('consul', { LeafCertTTL: '1h' });
    const after = await single.call('ConnectCA.ConfigurationGet', {});
    expect(after).toMatchObject({ ClusterID: before.ClusterID, CreateIndex: before.CreateIndex });
    expect(after.Config).toEqual({ LeafCertTTL: '1h' });
    expect((await roots()).ActiveRootID).toBe(ActiveRootID);
  });

  test.each([
    ['nope', {}, 'could not initialize provider: unknown CA provider "nope"'],
    ['consul', { LeafCertTTL: '1m' }, 'error configuring provider: leaf cert TTL must be greater or equal than 1h0m0s'],
    ['consul', { LeafCertTTL: '9000h' }, 'error configuring provider: leaf cert TTL must be less than 8760h0m0s'],
    [
      'consul',
      { LeafCertTTL: 'x', RotationPeriod: {}, CSRMaxPerSecond: 'many' },
      'error configuring provider: error decoding config: 3 error(s) decoding:\n\n' +
        "* 'RotationPeriod' expected type 'time.Duration', got unconvertible type 'map[string]interface {}'\n" +
        `* cannot parse 'CSRMaxPerSecond' as float: strconv.ParseFloat: parsing "many": invalid syntax\n` +
        `* error decoding 'LeafCertTTL': time: invalid duration "x"`,
    ],
    [
      'consul',
      { IntermediateCertTTL: '1h' },
      'error configuring provider: Intermediate Cert TTL must be greater or equal than 3h',
    ],
    ['consul', { PrivateKeyType: 'rsa', PrivateKeyBits: 1 }, 'RSA key length must be 2048 or 4096 bits'],
    ['consul', { PrivateKeyType: 'ec', PrivateKeyBits: 5 }, 'EC key length must be one of (224, 256, 384, 521) bits'],
    [
      'consul',
      { PrivateKeyType: 'ec', PrivateKeyBits: Object.create(null) as object },
      "'PrivateKeyBits' expected type 'int', got unconvertible type 'map[string]interface {}'",
    ],
    ['consul', { PrivateKeyType: 'x' }, "private key type must be either 'ec' or 'rsa'"],
    ['consul', { PrivateKey: 'x' }, 'error configuring provider: PrivateKey cannot be given'],
  ])('%s with %j is refused', async (provider, config, message) => {
    await expect(set(provider, config)).rejects.toThrow(message);
  });
});

test('an agent keeps a certificate until most of its life is over', async () => {
  const leaves = new LeafCertificates({
    caller: single.server.caller,
    cache: uncached(single.server.caller),
    clock: single.clock,
  });
  const get = (service: string) => leaves.get(service, { Datacenter: 'dc1' });
  const first = await get('web');
  expect(first.hit).toBe(false);
  expect(first.leaf.PrivateKeyPEM).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n/);
  expect(await get('web')).toEqual({ leaf: first.leaf, hit: true });
  expect((await get('db')).hit).toBe(false);
  await single.clock.advance(60 * 3_600_000);
  const next = await get('web');
  expect(next.hit).toBe(false);
  expect(next.leaf.SerialNumber).not.toBe(first.leaf.SerialNumber);
});

test('a chain that the request customizes says so, the same way each time', async () => {
  const get = (more: object) => single.call('DiscoveryChain.Get', { Name: 'web', ...more });
  expect((await get({})).Chain.CustomizationHash).toBe('');
  const custom = (await get({ OverrideProtocol: 'http' })).Chain;
  expect(custom).toMatchObject({ Protocol: 'http' });
  expect(custom.CustomizationHash).toMatch(/^[0-9a-f]{8}$/);
  expect((await get({ OverrideProtocol: 'http' })).Chain.CustomizationHash).toBe(custom.CustomizationHash);
  expect((await get({ OverrideProtocol: 'grpc' })).Chain.CustomizationHash).not.toBe(custom.CustomizationHash);
});
