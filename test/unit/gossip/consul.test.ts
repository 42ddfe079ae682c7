import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  type ClientTagFacts,
  consulClientTags,
  consulEventKind,
  consulServerTags,
  decodeTags,
  lanMergeProblem,
  ownRevision,
  parseConsulServer,
  type ServerTagFacts,
  wanMergeProblem,
  wanName,
} from '../../../src/gossip/index.ts';
import { consulMemberProtocol, type Member, type MemberStatus, memberStatus } from '../../../src/model/index.ts';

const recorded = new Map(
  (
    JSON.parse(readFileSync(join(import.meta.dirname, '../../fixtures/gossip/tags.json'), 'utf8')) as readonly {
      readonly name: string;
      readonly hex: string;
    }[]
  ).map(({ name, hex }) => [name, decodeTags(Buffer.from(hex, 'hex'))]),
);

function member(
  Name: string,
  Tags: Readonly<Record<string, string>>,
  Status: MemberStatus = memberStatus.none,
): Member {
  return {
    Name,
    Addr: '10.0.0.1',
    Port: 8301,
    Tags,
    Status,
    ...consulMemberProtocol,
  };
}

const client: ClientTagFacts = {
  datacenter: 'dc1',
  nodeId: '74e6ab9e-72ac-96b3-51b0-ec9d2a4e59cb',
  version: '1.8.7',
  revision: '',
  aclMode: '0',
};
const server: ServerTagFacts = {
  ...client,
  nodeId: 'ada934ce-3f7e-8877-bb84-9f6456afe3f1',
  port: 8300,
  wanPort: 8302,
  bootstrap: false,
  bootstrapExpect: 0,
  nonVoter: false,
  useTls: false,
};

describe('tags are the recorded ones', () => {
  test('of a client', () => {
    expect(consulClientTags(client)).toEqual(recorded.get('consul-client'));
  });

  test('of a server in its LAN, where expecting one server means bootstrap', () => {
    const tags = consulServerTags({ ...server, bootstrapExpect: 1 }, 'lan');
    expect(tags).toEqual(recorded.get('consul-server-lan-bootstrap-expect-1'));
  });

  test('of a server in the WAN', () => {
    expect(consulServerTags({ ...server, bootstrap: true }, 'wan')).toEqual(recorded.get('consul-server-wan'));
  });

  test('of a server that joined', () => {
    const wanted = recorded.get('consul-server-lan-joined')!;
    expect(consulServerTags({ ...server, nodeId: wanted['id']! }, 'lan')).toEqual(wanted);
  });

  test('of a server that waits for three, with ACLs and TLS', () => {
    const wanted = recorded.get('consul-server-expect3-acl-tls')!;
    const tags = consulServerTags(
      {
        ...server,
        datacenter: wanted['dc']!,
        nodeId: wanted['id']!,
        port: Number(wanted['port']),
        wanPort: Number(wanted['wan_join_port']),
        bootstrapExpect: 3,
        aclMode: '2',
        useTls: true,
      },
      'lan',
    );
    expect(tags).toEqual(wanted);
  });

  test('with a short revision behind the version', () => {
    expect(consulClientTags({ ...client, revision: '0123456789abcdef' })['build']).toBe('1.8.7:01234567');
  });
});

describe('a member is a server', () => {
  const tags = consulServerTags(server, 'lan');

  test('when its tags say so', () => {
    expect(parseConsulServer(member('s1', { ...tags, expect: '3', sl_alpha: '10.0.0.1:8303' }))).toEqual({
      name: 's1',
      id: server.nodeId,
      datacenter: 'dc1',
      address: '10.0.0.1',
      port: 8300,
      wanJoinPort: 8302,
      segment: '',
      bootstrap: false,
      expect: 3,
      nonVoter: false,
      useTls: false,
      build: '1.8.7',
      isPortolan: false,
      version: 2,
      raftVersion: 3,
      acls: '0',
      features: new Map([['fs', 1]]),
      status: memberStatus.none,
    });
  });

  test('of our kind when its build says so', () => {
    const ours = consulServerTags({ ...server, revision: ownRevision }, 'lan');
    expect(ours['build']).toBe('1.8.7:portolan');
    expect(parseConsulServer(member('s1', ours))).toMatchObject({ build: '1.8.7', isPortolan: true });
  });

  test('also without what later or earlier versions have', () => {
    const { acls: _, ft_fs: __, raft_vsn: ___, wan_join_port: ____, ...old } = tags;
    expect(parseConsulServer(member('s1', { ...old, ft_new: '1', anything: 'else' }))).toMatchObject({
      acls: '3',
      raftVersion: 0,
      wanJoinPort: 0,
      features: new Map([['new', 1]]),
    });
  });

  test.each([
    ['a role', { role: 'node' }],
    ['a port', { port: 'x' }],
    ['a version', { vsn: '' }],
    ['a number to expect', { expect: 'three' }],
    ['a port in the WAN', { wan_join_port: '8302x' }],
    ['a version of raft', { raft_vsn: '3.0' }],
    ['a number for each feature', { ft_fs: 'yes' }],
    ['a port for each segment', { sl_alpha: '10.0.0.1' }],
    ['a build with three numbers', { build: '1.8' }],
  ])('not without %s that can be read', (_, wrong) => {
    expect(parseConsulServer(member('s1', { ...tags, ...wrong }))).toBeNull();
  });

  test('and has another name in the WAN', () => {
    expect(wanName('s1', 'dc1')).toBe('s1.dc1');
  });
});

describe('a LAN pool', () => {
  const own = { nodeName: 'self', nodeId: 'id-self', datacenter: 'dc1', segment: '' };
  const node = (Name: string, tags: Readonly<Record<string, string>>, status?: MemberStatus): Member =>
    member(Name, { ...consulClientTags(client), id: '', ...tags }, status);

  test.each<[string, Member[], string | null]>([
    ['members of our own', [node('a', { id: 'id-a' }), node('self', { id: 'id-self' })], null],
    ['strangers without tags', [member('a', {})], null],
    ['strangers of another role', [member('a', { role: 'web', dc: 'dc9' })], null],
    [
      'our id under another name',
      [node('a', { id: 'id-self' })],
      "Member 'a' has conflicting node ID 'id-self' with this agent's ID",
    ],
    [
      'an id twice',
      [node('a', { id: 'x' }), node('b', { id: 'x' })],
      "Member 'b' has conflicting node ID 'x' with member 'a'",
    ],
    ['an id twice of old builds', [node('a', { id: 'x', build: '0.8.4:' }), node('b', { id: 'x' })], null],
    ['an id twice, but one has left', [node('a', { id: 'x' }, memberStatus.left), node('b', { id: 'x' })], null],
    ['our id, left', [node('a', { id: 'id-self' }, memberStatus.left)], null],
    ['a client of another datacenter', [node('c', { dc: 'dc9' })], "Member 'c' part of wrong datacenter 'dc9'"],
    ['a client of no datacenter', [member('c', { role: 'node' })], "Member 'c' part of wrong datacenter ''"],
    [
      'a server of another datacenter',
      [member('s', { ...consulServerTags(server, 'lan'), dc: 'dc2' })],
      "Member 's' part of wrong datacenter 'dc2'",
    ],
    ['another segment', [node('c', { segment: 'x' })], "Member 'c' part of wrong segment 'x' (expected '')"],
  ])('judges %s', (_, members, problem) => {
    expect(lanMergeProblem(own, members)).toBe(problem);
  });
});

test('a WAN pool takes servers only', () => {
  const wan = member('s1.dc2', { ...consulServerTags(server, 'wan'), dc: 'dc2' });
  expect(wanMergeProblem([wan])).toBeNull();
  expect(wanMergeProblem([wan, member('c1', consulClientTags(client))])).toBe("Member 'c1' is not a server");
});

test.each([
  ['consul:event:deploy', 'user'],
  ['consul:new-leader', 'new-leader'],
  ['consul:other', 'unknown'],
  ['deploy', 'foreign'],
])('the event %s is of kind %s', (name, kind) => {
  expect(consulEventKind(name)).toBe(kind);
});
