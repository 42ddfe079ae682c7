import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { encodePem, makeCertificateRequest } from '../../../src/codec/index.ts';
import { anonymousTokenSecret, emptyPolicy, emptyToken } from '../../../src/model/index.ts';
import type { AnyCallName, AnyCallReply } from '../../../src/server/index.ts';
import { insecureMethods, serverMethods } from '../../../src/server/index.ts';
import { callKinds } from '../../../src/server/call-kinds.ts';
import { type Single, singleServer } from './single.ts';

const context = { remote: { address: '192.0.2.1', port: 1 }, signal: new AbortController().signal };
const master = '11111111-2222-4333-8444-555555555555';
const acl = { enabled: true, defaultPolicy: 'deny', keyListPolicy: false, masterToken: master } as const;

/** A call as it comes in over port 8300. */
async function rpc<M extends AnyCallName>({ server }: Single, method: M, request: object): Promise<AnyCallReply<M>> {
  const { handler, insecureHandler } = server.rpc;
  const serve = method in insecureMethods ? insecureHandler : handler;
  return (await serve(method, { Datacenter: 'dc1', ...request }, context)) as AnyCallReply<M>;
}

test('every call of port 8300 is answered, and one place says by whom', () => {
  expect(Object.keys(callKinds).toSorted()).toEqual(Object.keys(serverMethods).toSorted());
});

describe('a lone server', () => {
  let single: Single;
  beforeEach(async () => {
    single = singleServer();
    await single.server.start();
  });

  test('says how its log stands', async () => {
    expect(await single.server.rpc.handler('Status.RaftStats', null, context)).toEqual({
      LastContact: '0',
      LastTerm: 2,
      LastIndex: single.store.lastIndex,
    });
  });

  test('names its services', async () => {
    expect(await rpc(single, 'Catalog.ServiceList', {})).toMatchObject({ Services: [{ Name: 'consul' }] });
  });

  test('answers what a front door asks as well', async () => {
    expect(await rpc(single, 'Status.Leader', {})).toBe('127.0.0.1:8300');
  });

  test.each([
    ['ACL.PolicyResolve', { PolicyIDs: [] }, 'ACL support disabled'],
    ['ACL.Bootstrap', {}, 'ACL support disabled'],
    ['AutoEncrypt.Sign', { CSR: '' }, 'AutoEncrypt.AllowTLS must be enabled in order to use this endpoint'],
    ['AutoConfig.InitialConfiguration', {}, 'Auto Config is disabled'],
    ['ConnectCA.SignIntermediate', { CSR: '' }, 'Connect must be enabled in order to use this endpoint'],
    ['Catalog.ServiceList', { Datacenter: '' }, 'No path to datacenter'],
    ['AutoEncrypt.Sign', { Datacenter: 'dc2', CSR: '' }, 'No path to datacenter'],
  ] as const)('refuses %s %j', async (method, request, message) => {
    await expect(rpc(single, method, request)).rejects.toThrow(message);
  });
});

describe('tokens as agents resolve them', () => {
  let single: Single;
  let policyId: string;
  let otherId: string;
  let roleId: string;
  let token: { readonly AccessorID: string; readonly SecretID: string };
  const policy = async (Name: string, Rules: string): Promise<string> =>
    (await rpc(single, 'ACL.PolicySet', { Token: master, Policy: { ...emptyPolicy, Name, Rules } })).ID;

  beforeEach(async () => {
    single = singleServer({ acl });
    await single.server.start();
    policyId = await policy('web', 'service "web" { policy = "read" }');
    otherId = await policy('other', 'key_prefix "" { policy = "read" }');
    const inRole = await policy('in-role', 'node_prefix "" { policy = "read" }');
    const Role = {
      ID: '',
      Name: 'role',
      Description: '',
      Policies: [{ ID: inRole, Name: '' }],
      ServiceIdentities: null,
      NodeIdentities: null,
    };
    roleId = (await rpc(single, 'ACL.RoleSet', { Token: master, Role })).ID;
    token = await rpc(single, 'ACL.TokenSet', {
      Token: master,
      Create: true,
      ACLToken: { ...emptyToken, Policies: [{ ID: policyId, Name: '' }], Roles: [{ ID: roleId, Name: '' }] },
    });
  });

  test('are told their own policies and roles, and no others', async () => {
    const Token = token.SecretID;
    const own = await rpc(single, 'ACL.PolicyResolve', { Token, PolicyIDs: [policyId, otherId] });
    expect(own.Policies.map(({ Name }) => Name)).toEqual(['web']);
    expect(own.Index).toBe(0);
    const roles = await rpc(single, 'ACL.RoleResolve', { Token, RoleIDs: [roleId, otherId] });
    expect(roles.Roles.map(({ Name }) => Name)).toEqual(['role']);
    const inRole = roles.Roles[0]!.Policies!.map(({ ID }) => ID);
    const resolved = await rpc(single, 'ACL.PolicyResolve', { Token, PolicyIDs: inRole });
    expect(resolved.Policies.map(({ Name }) => Name)).toEqual(['in-role']);
  });

  test('have nothing when they are nobody’s', async () => {
    expect(await rpc(single, 'ACL.PolicyResolve', { PolicyIDs: [policyId] })).toMatchObject({ Policies: [] });
    await expect(rpc(single, 'ACL.PolicyResolve', { Token: 'unknown', PolicyIDs: [] })).rejects.toThrow(
      'ACL not found',
    );
  });

  test('are read in numbers by who may read ACLs', async () => {
    const AccessorIDs = [token.AccessorID, '99999999-0000-4000-8000-000000000000'];
    const all = await rpc(single, 'ACL.TokenBatchRead', { Token: master, AccessorIDs });
    expect(all).toMatchObject({ Tokens: [{ SecretID: token.SecretID }], Redacted: false, Removed: true });
    const policies = await rpc(single, 'ACL.PolicyBatchRead', { Token: master, PolicyIDs: [policyId, otherId] });
    expect(policies.Policies.map(({ Name }) => Name).toSorted()).toEqual(['other', 'web']);
    const roles = await rpc(single, 'ACL.RoleBatchRead', { Token: master, RoleIDs: [roleId] });
    expect(roles.Roles.map(({ Name }) => Name)).toEqual(['role']);
    for (const method of ['ACL.TokenBatchRead', 'ACL.PolicyBatchRead', 'ACL.RoleBatchRead'] as const) {
      const request = { Token: token.SecretID, AccessorIDs: [], PolicyIDs: [], RoleIDs: [] };
      await expect(rpc(single, method, request)).rejects.toThrow('Permission denied');
    }
  });

  test('keep their secrets from who may only read', async () => {
    const readerPolicy = await policy('reader', 'acl = "read"');
    const reader = await rpc(single, 'ACL.TokenSet', {
      Token: master,
      Create: true,
      ACLToken: { ...emptyToken, Policies: [{ ID: readerPolicy, Name: '' }] },
    });
    const AccessorIDs = [token.AccessorID];
    const { Tokens, Redacted } = await rpc(single, 'ACL.TokenBatchRead', { Token: reader.SecretID, AccessorIDs });
    expect(Redacted).toBe(true);
    expect(Tokens[0]?.SecretID).toBe('<hidden>');
  });

  test('see only the names of services that they may', async () => {
    await rpc(single, 'Catalog.Register', {
      Token: master,
      Node: 'n',
      Address: '192.0.2.1',
      Service: { Service: 'web', Port: 80 },
    });
    const names = async (Token: string) =>
      (await rpc(single, 'Catalog.ServiceList', { Token })).Services.map(({ Name }) => Name);
    expect(await names(master)).toEqual(['consul', 'web']);
    expect(await names(token.SecretID)).toEqual(['web']);
    expect(await names('')).toEqual([]);
    expect(await names(anonymousTokenSecret)).toEqual([]);
  });

  test('of before there were policies are bootstrapped once', async () => {
    await expect(rpc(single, 'ACL.Bootstrap', {})).rejects.toThrow(/^ACL bootstrap no longer allowed/);
    single = singleServer({ acl: { ...acl, masterToken: '' } });
    await single.server.start();
    const first = await rpc(single, 'ACL.Bootstrap', {});
    expect(first).toMatchObject({ Name: 'Bootstrap Token', Type: 'management' });
    expect(await rpc(single, 'ACL.PolicyBatchRead', { Token: first.ID, PolicyIDs: [] })).toMatchObject({
      Policies: [],
    });
    await expect(rpc(single, 'ACL.Bootstrap', {})).rejects.toThrow(/^ACL bootstrap no longer allowed/);
  });
});

describe('certificates', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const request = (uri: string) => encodePem('CERTIFICATE REQUEST', makeCertificateRequest(privateKey, 'x', { uri }));
  let single: Single;
  let trustDomain: string;

  beforeEach(async () => {
    single = singleServer({
      connectEnabled: true,
      autoEncrypt: { manualCaRoots: ['PEM'], gossipKey: 'key', verifyServerHostname: true },
    });
    await single.server.start();
    trustDomain = (await single.call('ConnectCA.Roots', {})).TrustDomain;
  });

  test('a client agent gets its first one, for the trust domain it did not know', async () => {
    const CSR = request('spiffe://unknown/agent/client/dc/dc1/id/n1');
    const reply = await rpc(single, 'AutoEncrypt.Sign', { CSR });
    const uri = `spiffe://${trustDomain}/agent/client/dc/dc1/id/n1`;
    expect(reply).toMatchObject({
      IssuedCert: { Agent: 'n1', AgentURI: uri, Service: '' },
      ConnectCARoots: { TrustDomain: trustDomain },
      ManualCARoots: ['PEM'],
      GossipKey: 'key',
      VerifyServerHostname: true,
    });
    const certificate = new X509Certificate(reply.IssuedCert.CertPEM);
    expect(certificate.subjectAltName).toBe(`URI:${uri}`);
    expect(certificate.checkIssued(new X509Certificate(reply.ConnectCARoots.Roots[0]!.RootCert))).toBe(true);
  });

  test('and renews it as services do', async () => {
    const CSR = request(`spiffe://${trustDomain}/agent/client/dc/dc1/id/n1`);
    expect(await rpc(single, 'ConnectCA.Sign', { CSR })).toMatchObject({ Agent: 'n1' });
  });

  test.each([
    ['spiffe://unknown/ns/default/dc/dc1/svc/web', 'SPIFFE ID in CSR must be an agent ID'],
    ['spiffe://unknown/agent/client/dc/dc2/id/n1', 'from a different datacenter: dc2'],
  ])('not for %s', async (uri, message) => {
    await expect(rpc(single, 'AutoEncrypt.Sign', { CSR: request(uri) })).rejects.toThrow(message);
  });

  test('another datacenter gets an authority of its own below ours', async () => {
    const pem = await rpc(single, 'ConnectCA.SignIntermediate', { CSR: request(`spiffe://${trustDomain}`) });
    const certificate = new X509Certificate(pem);
    const { Roots } = await single.call('ConnectCA.Roots', {});
    expect(certificate.ca).toBe(true);
    expect(certificate.verify(new X509Certificate(Roots[0]!.RootCert).publicKey)).toBe(true);
    await expect(rpc(single, 'ConnectCA.SignIntermediate', { CSR: request('spiffe://other.consul') })).rejects.toThrow(
      'from a different trust domain: other.consul',
    );
  });
});
