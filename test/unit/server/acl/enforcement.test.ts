import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  type ACLToken,
  emptyAuthMethod,
  emptyBindingRule,
  emptyPolicy,
  emptyToken,
} from '../../../../src/model/index.ts';
import type { ServerOptions } from '../../../../src/server/index.ts';
import { MemoryFiles } from '../../../../src/sim/memory-files.ts';
import { singleServer, type Single } from '../single.ts';

const master = '5ec2e7a0-0000-4000-8000-00000000dead';
const aclOn: NonNullable<ServerOptions['acl']> = {
  enabled: true,
  defaultPolicy: 'deny',
  keyListPolicy: false,
  masterToken: master,
};

async function started(acl: Partial<typeof aclOn> = {}): Promise<Single> {
  const single = singleServer({ acl: { ...aclOn, ...acl } });
  await single.server.start();
  return single;
}

/** A token that a policy with these rules gives its rights. */
async function tokenFor({ call }: Single, rules: string, wanted: Partial<ACLToken> = {}): Promise<ACLToken> {
  const policy = await call('ACL.PolicySet', {
    Token: master,
    Policy: { ...emptyPolicy, Name: `p-${rules.length}-${rules.replaceAll(/\W/g, '').slice(0, 80)}`, Rules: rules },
  });
  return await call('ACL.TokenSet', {
    Token: master,
    Create: true,
    ACLToken: { ...emptyToken, ...wanted, Policies: [{ ID: policy.ID, Name: '' }] },
  });
}

async function register({ call }: Single, node: string, service: string): Promise<void> {
  await call('Catalog.Register', {
    Token: master,
    Node: node,
    Address: '10.0.0.1',
    Service: {
      ID: service,
      Service: service,
      Kind: '',
      Tags: null,
      Address: '',
      Port: 1,
      Meta: null,
      TaggedAddresses: null,
      Weights: null,
      EnableTagOverride: false,
      Proxy: { MeshGateway: {}, Expose: {} },
      Connect: {},
    },
  });
}

describe('calls and rights', () => {
  test('while ACLs are off every caller gets the store’s own lists, whatever the token', async () => {
    const single = singleServer();
    await single.server.start();
    const open = await single.call('Catalog.ListNodes', {});
    expect((await single.call('Catalog.ListNodes', { Token: 'nobody' })).Nodes).toBe(open.Nodes);
    await expect(single.call('ACL.PolicyList', {})).rejects.toThrow('ACL support disabled');
  });

  test('who may see everything gets the store’s own list, who may not the same narrowed list again', async () => {
    const single = await started();
    await register(single, 'a', 'web');
    await register(single, 'b', 'web');
    const narrow = await tokenFor(single, 'node "a" { policy = "read" } service "web" { policy = "read" }');
    const read = async (Token: string): Promise<readonly { readonly Node: string }[]> =>
      (await single.call('Catalog.ServiceNodes', { Token, ServiceName: 'web' })).ServiceNodes;
    expect(await read(master)).toBe(single.store.serviceNodes('web').result);
    const first = await read(narrow.SecretID);
    expect(first.map(({ Node }) => Node)).toEqual(['a']);
    expect(await read(narrow.SecretID)).toBe(first);
    expect(await read('')).toEqual([]);
  });

  test('an unknown token is refused also where lists would only be narrowed; open calls do not look at it', async () => {
    const single = await started();
    await expect(single.call('Catalog.ListNodes', { Token: 'nobody' })).rejects.toThrow('ACL not found');
    await expect(single.call('Status.Leader', { Token: 'nobody' })).resolves.toBe('127.0.0.1:8300');
    await expect(single.call('Catalog.ListNodes', { Token: 'manage' })).rejects.toThrow('Cannot resolve root ACL');
  });

  test('a session that is not there can be destroyed by anybody', async () => {
    const single = await started();
    const Session = { ID: '11111111-1111-4111-8111-111111111111' };
    await expect(single.call('Session.Apply', { Op: 'destroy', Session })).resolves.toBeDefined();
  });

  test('the old calls do not change new tokens', async () => {
    const single = await started();
    const ACL = { ID: master, Name: '', Type: 'client', Rules: '', CreateIndex: 0, ModifyIndex: 0 };
    await expect(single.call('ACL.Apply', { Token: master, Op: 'set', ACL })).rejects.toThrow(
      'Cannot use legacy endpoint to modify a non-legacy token',
    );
  });

  test('a binding rule may select by what no identity has yet, and names are bound in lower case', async () => {
    const single = await started();
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const Config = { JWTValidationPubKeys: [pem], ClaimMappings: { app: 'app' }, ListClaimMappings: { in: 'in' } };
    await single.call('ACL.AuthMethodSet', {
      Token: master,
      AuthMethod: { ...emptyAuthMethod, Name: 'm', Type: 'jwt', Config },
    });
    const rule = (Selector: string, more: object = {}) =>
      single.call('ACL.BindingRuleSet', {
        Token: master,
        BindingRule: {
          ...emptyBindingRule,
          AuthMethod: 'm',
          BindType: 'service',
          BindName: '${value.app}',
          Selector,
          ...more,
        },
      });
    await rule('value.unheard == 1 or "x" in list.unheard', { BindName: 'never' });
    const { ID } = await rule('"ops" in list.in');
    await expect(rule('', { ID, AuthMethod: '', BindType: '' })).rejects.toThrow('no BindType is set');
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const login = (app: string) => {
      const claims = { app, in: ['ops'], exp: single.clock.wallMs() / 1000 + 60 };
      const data = `${part({ alg: 'ES256' })}.${part(claims)}`;
      const signature = sign('sha256', Buffer.from(data), { key: privateKey, dsaEncoding: 'ieee-p1363' });
      const BearerToken = `${data}.${signature.toString('base64url')}`;
      return single.call('ACL.Login', { Auth: { AuthMethod: 'm', BearerToken, Meta: null } });
    };
    expect((await login('Web')).ServiceIdentities).toEqual([{ ServiceName: 'web', Datacenters: null }]);
    await expect(login('A B')).rejects.toThrow('computed "service" bind name for bind target is invalid: "a b"');
  });

  test('a query that waited is answered with the rights of the time of its answer', async () => {
    const single = await started();
    const { SecretID, AccessorID } = await tokenFor(single, 'key_prefix "" { policy = "write" }');
    const put = (): Promise<boolean> =>
      single.call('KVS.Apply', { Token: master, Op: 'set', DirEnt: { Key: 'k', Value: new Uint8Array([1]) } });
    await put();
    const { Index } = await single.call('KVS.List', { Token: SecretID, Key: '' });
    await single.call('ACL.TokenDelete', { Token: master, TokenID: AccessorID });
    await expect(single.call('KVS.List', { Token: SecretID, Key: '' })).rejects.toThrow('ACL not found');
    const other = await tokenFor(single, 'key_prefix "k" { policy = "read" }');
    const waiting = single.call('KVS.List', { Token: other.SecretID, Key: '', MinQueryIndex: Index });
    await single.call('ACL.TokenDelete', { Token: master, TokenID: other.AccessorID });
    await single.call('KVS.Apply', { Token: master, Op: 'set', DirEnt: { Key: 'k', Value: new Uint8Array([2]) } });
    await expect(waiting).rejects.toThrow('ACL not found');
  });

  test('changing a policy changes what its tokens may, at once', async () => {
    const single = await started();
    const token = await tokenFor(single, 'key "a" { policy = "read" }');
    const write = (): Promise<boolean> =>
      single.call('KVS.Apply', { Token: token.SecretID, Op: 'set', DirEnt: { Key: 'a' } });
    await expect(write()).rejects.toThrow('Permission denied');
    const [link] = token.Policies ?? [];
    await single.call('ACL.PolicySet', {
      Token: master,
      Policy: { ...emptyPolicy, ID: link!.ID, Name: 'renamed', Rules: 'key "a" { policy = "write" }' },
    });
    await expect(write()).resolves.toBe(false);
  });

  test('a token is worth nothing from the moment it expires, and is deleted soon after', async () => {
    const single = await started();
    const token = await tokenFor(single, 'acl = "read"', { ExpirationTTL: 120e9 });
    const list = (Token: string): Promise<unknown> => single.call('ACL.PolicyList', { Token });
    await single.clock.advance(119_000);
    await expect(list(token.SecretID)).resolves.toBeDefined();
    await single.clock.advance(1_000);
    await expect(list(token.SecretID)).rejects.toThrow('ACL not found');
    await single.clock.advance(30_000);
    expect(single.store.acl.tokenRecord(token.SecretID)).toBeUndefined();
  });

  test.each([
    ['', false],
    ['key_prefix "a/" { policy = "write" }', true],
    ['key_prefix "a/" { policy = "write" } key "a/x" { policy = "read" }', false],
  ])('deleting a tree with %j: %s', async (rules, expected) => {
    const single = await started();
    const { SecretID } = await tokenFor(single, rules);
    const deletion = single.call('KVS.Apply', { Token: SecretID, Op: 'delete-tree', DirEnt: { Key: 'a/' } });
    if (expected) await expect(deletion).resolves.toBe(false);
    else await expect(deletion).rejects.toThrow('Permission denied');
  });

  test('keys are cut after they were narrowed', async () => {
    const single = await started();
    for (const Key of ['a/one', 'b/two', 'c']) {
      await single.call('KVS.Apply', { Token: master, Op: 'set', DirEnt: { Key } });
    }
    const { SecretID } = await tokenFor(single, 'key "a/one" { policy = "read" }');
    const { Keys } = await single.call('KVS.ListKeys', { Token: SecretID, Prefix: '', Seperator: '/' });
    expect(Keys).toEqual(['a/']);
  });

  test('listing takes its own right where that is configured', async () => {
    const single = await started({ keyListPolicy: true });
    const reader = await tokenFor(single, 'key_prefix "a" { policy = "read" }');
    const lister = await tokenFor(single, 'key_prefix "a" { policy = "list" }');
    await expect(single.call('KVS.List', { Token: reader.SecretID, Key: 'a' })).rejects.toThrow('Permission denied');
    await expect(single.call('KVS.List', { Token: lister.SecretID, Key: 'a' })).resolves.toBeDefined();
  });

  test('a service may be registered again on its node without rights over the node, elsewhere not', async () => {
    const single = await started();
    await register(single, 'a', 'web');
    const { SecretID } = await tokenFor(single, 'service "web" { policy = "write" }');
    const again = (Node: string): Promise<null> =>
      single.call('Catalog.Register', {
        Token: SecretID,
        Node,
        Address: '10.0.0.1',
        Service: { ...single.store.nodeService('a', 'web')!, Port: 2 },
      });
    await expect(again('a')).resolves.toBeNull();
    await expect(again('b')).rejects.toThrow('Permission denied');
    await expect(single.call('Catalog.Deregister', { Token: SecretID, Node: 'a' })).rejects.toThrow(
      'Permission denied',
    );
    await expect(
      single.call('Catalog.Deregister', { Token: SecretID, Node: 'a', ServiceID: 'web' }),
    ).resolves.toBeNull();
  });

  test('bootstrapping works once, and not after a master token was configured', async () => {
    const single = await started({ masterToken: '' });
    const token = await single.call('ACL.BootstrapTokens', {});
    await expect(single.call('ACL.TokenList', listAll(token.SecretID))).resolves.toMatchObject({
      Tokens: [{ Description: 'Anonymous Token' }, { Description: 'Bootstrap Token (Global Management)' }],
    });
    await expect(single.call('ACL.BootstrapTokens', {})).rejects.toThrow(/no longer allowed \(reset index: \d+\)/);
    await expect((await started()).call('ACL.BootstrapTokens', {})).rejects.toThrow('no longer allowed');
  });

  test('who can write into the data directory may bootstrap once more', async () => {
    const files = new MemoryFiles();
    const single = singleServer({ acl: { ...aclOn, masterToken: '' }, files });
    await single.server.start();
    await single.call('ACL.BootstrapTokens', {});
    const again = () => single.call('ACL.BootstrapTokens', {});
    const index = single.store.acl.bootstrapIndex;
    await files.write('acl-bootstrap-reset', 'soon');
    await expect(again()).rejects.toThrow(`no longer allowed (reset index: ${index})`);
    await files.write('acl-bootstrap-reset', '99999');
    await expect(again()).rejects.toThrow(`Invalid bootstrap reset index (specified 99999, reset index: ${index})`);
    expect(files.files.size).toBe(1);
    await files.write('acl-bootstrap-reset', `${index}\n`);
    const { SecretID } = await again();
    await expect(single.call('ACL.TokenList', listAll(SecretID))).resolves.toMatchObject({ Tokens: { length: 3 } });
    expect(files.files.size).toBe(0);
    await expect(again()).rejects.toThrow('no longer allowed');
  });

  test('who may only read ACLs does not see secrets', async () => {
    const single = await started();
    const { SecretID } = await tokenFor(single, 'acl = "read"');
    const victim = await tokenFor(single, 'operator = "write"');
    const { Token } = await single.call('ACL.TokenRead', {
      Token: SecretID,
      TokenIDType: 'accessor',
      TokenID: victim.AccessorID,
    });
    expect(Token?.SecretID).toBe('<hidden>');
    await expect(single.call('ACL.TokenSet', { Token: SecretID, Create: true, ACLToken: emptyToken })).rejects.toThrow(
      'Permission denied',
    );
  });

  test('a token of the old system has the rights its rules give, and an accessor', async () => {
    const single = await started();
    const ACL = {
      ID: '',
      Name: 'old',
      Type: 'client',
      Rules: 'key "a" { policy = "write" }',
      CreateIndex: 0,
      ModifyIndex: 0,
    };
    const secret = await single.call('ACL.Apply', { Token: master, Op: 'set', ACL });
    await expect(single.call('KVS.Apply', { Token: secret, Op: 'set', DirEnt: { Key: 'ab' } })).resolves.toBe(false);
    expect(single.store.acl.tokenRecord(secret)?.AccessorID).toMatch(/^[0-9a-f-]{36}$/);
    const management = await single.call('ACL.Apply', {
      Token: master,
      Op: 'set',
      ACL: { ...ACL, Type: 'management', Rules: '' },
    });
    await expect(single.call('ACL.PolicyList', { Token: management })).resolves.toBeDefined();
  });

  test('identities give what a service and a node need, here only', async () => {
    const single = await started();
    const token = await single.call('ACL.TokenSet', {
      Token: master,
      Create: true,
      ACLToken: {
        ...emptyToken,
        ServiceIdentities: [
          { ServiceName: 'web', Datacenters: null },
          { ServiceName: 'far', Datacenters: ['dc2'] },
        ],
        NodeIdentities: [{ NodeName: 'n', Datacenter: 'dc2' }],
      },
    });
    const rights = single.server.resolveToken(token.SecretID)!;
    expect(rights.may('service:write', 'web-sidecar-proxy')).toBe(true);
    expect(rights.may('service:read', 'other')).toBe(true);
    expect(rights.may('service:write', 'far')).toBe(false);
    expect(rights.may('node:write', 'n')).toBe(false);
  });

  test('identities given twice are kept once, by name, with the datacenters of all', async () => {
    const single = await started();
    const service = (ServiceName: string, ...Datacenters: string[]): object => ({ ServiceName, Datacenters });
    const node = (NodeName: string, Datacenter: string): object => ({ NodeName, Datacenter });
    const token = await single.call('ACL.TokenSet', {
      Token: master,
      Create: true,
      ACLToken: {
        ...emptyToken,
        ServiceIdentities: [service('web', 'dc2'), service('db', 'dc1'), service('web', 'dc1'), service('db')] as never,
        NodeIdentities: [node('n2', 'dc1'), node('n1', 'dc2'), node('n2', 'dc1')] as never,
      },
    });
    expect(token).toMatchObject({
      ServiceIdentities: [
        { ServiceName: 'db', Datacenters: null },
        { ServiceName: 'web', Datacenters: ['dc1', 'dc2'] },
      ],
      NodeIdentities: [node('n1', 'dc2'), node('n2', 'dc1')],
    });
  });
});

function listAll(Token: string): {
  Token: string;
  IncludeLocal: true;
  IncludeGlobal: true;
  Policy: '';
  Role: '';
  AuthMethod: '';
} {
  return { Token, IncludeLocal: true, IncludeGlobal: true, Policy: '', Role: '', AuthMethod: '' };
}
