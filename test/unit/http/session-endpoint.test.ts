// `/v1/session/`: what is asked of the servers for each form of request, and how sessions are shown.
import { afterEach, describe, expect, test } from 'vitest';
import { CallError, type Session } from '../../../src/model/index.ts';
import { meta, start, stopAll } from './harness.ts';

afterEach(stopAll);

const id = '00000000-0000-4000-8000-000000000001';
const session: Session = {
  ID: id,
  Name: '<x>',
  Node: 'n1',
  LockDelay: 15e9,
  Behavior: 'release',
  TTL: '',
  NodeChecks: ['serfHealth'],
  ServiceChecks: null,
  Checks: null,
  CreateIndex: 5,
  ModifyIndex: 5,
};
const shown =
  String.raw`[{"ID":"${id}","Name":"\u003cx\u003e","Node":"n1","LockDelay":15000000000,"Behavior":"release","TTL":"",` +
  '"NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":5,"ModifyIndex":5}]';

describe('creating', () => {
  const defaults = { Node: 'n1', LockDelay: 15e9, Behavior: 'release', NodeChecks: ['serfHealth'], Checks: null };
  test.each<[unknown, object]>([
    [undefined, {}],
    [{}, {}],
    [{ Unknown: 1, Namespace: 'x' }, {}],
    [null, {}],
    [
      { node: 'other', NAME: 'x', ttl: '30s', behavior: 'delete' },
      { Node: 'other', Name: 'x', TTL: '30s', Behavior: 'delete' },
    ],
    [{ LockDelay: '90s' }, { LockDelay: 90e9 }],
    [{ LockDelay: 7 }, { LockDelay: 7e9 }],
    [{ LockDelay: 999 }, { LockDelay: 999e9 }],
    [{ LockDelay: 1000 }, { LockDelay: 1000 }],
    [{ LockDelay: 0 }, { LockDelay: 0 }],
    [{ NodeChecks: [] }, { NodeChecks: [] }],
    [{ NodeChecks: ['a'] }, { NodeChecks: ['a'] }],
    [{ Checks: [] }, { NodeChecks: [] }],
    [{ Checks: [], NodeChecks: ['a'] }, { NodeChecks: [] }],
    [{ Checks: ['serfHealth'] }, {}],
    [{ Checks: ['a'] }, { Checks: ['a'] }],
    [{ Checks: ['serfHealth', 'a'] }, { Checks: ['serfHealth', 'a'] }],
    [{ Checks: ['a'], NodeChecks: [] }, { NodeChecks: [] }],
    [{ ID: 'any', CreateIndex: 5, Bogus: 1 }, {}],
    [{ ServiceChecks: [{ ID: 'a' }] }, { ServiceChecks: [{ ID: 'a', Namespace: '' }] }],
  ])('%j', async (body, expected) => {
    const { put, calls } = await start({ 'Session.Apply': () => id });
    const reply = await put('/v1/session/create?dc=dc2', body);
    expect([reply.status, reply.body]).toEqual([200, `{"ID":"${id}"}`]);
    expect(calls[0]?.request).toEqual({ Datacenter: 'dc2', Op: 'create', Session: { ...defaults, ...expected } });
  });

  test('a body without length is not looked at', async () => {
    const { send, calls } = await start({ 'Session.Apply': () => id });
    await send('PUT', '/v1/session/create', { headers: { 'Transfer-Encoding': 'chunked' }, body: '{"Name":"x"}' });
    expect(calls[0]?.request).toMatchObject({ Session: defaults });
    expect(calls[0]?.request).not.toHaveProperty('Session.Name');
  });

  test.each([
    ['{', 400, 'Request decode failed: unexpected EOF'],
    ['{"LockDelay":"12"}', 400, 'Request decode failed: time: missing unit in duration "12"'],
    ['{"ID":1}', 400, 'Request decode failed: json: cannot unmarshal number into Go struct field ID of type string'],
    [
      '{"CreateIndex":-1}',
      400,
      'Request decode failed: json: cannot unmarshal number -1 into Go struct field CreateIndex of type uint64',
    ],
    ['{"TTL":5}', 400, 'Request decode failed: json: cannot unmarshal number into Go struct field TTL of type string'],
  ])('%s is refused', async (body, status, text) => {
    const { put } = await start();
    const reply = await put('/v1/session/create', body);
    expect([reply.status, reply.body]).toEqual([status, text]);
  });
});

describe('one session', () => {
  test('is shown; the old form only where it says something of its own', async () => {
    const Sessions = [session, { ...session, Checks: ['a'] }];
    const { get } = await start({ 'Session.List': () => ({ ...meta, Sessions }) });
    const reply = await get('/v1/session/list');
    expect(reply.headers['X-Consul-Index']).toBe('7');
    expect(reply.body).toBe(
      `${shown.slice(0, -1)},${shown.slice(1).replace('"CreateIndex"', '"Checks":["a"],"CreateIndex"')}`,
    );
  });

  test('is asked for with its ID twice, blocking or not', async () => {
    const { get, calls } = await start({ 'Session.Get': () => ({ ...meta, Sessions: null }) });
    const reply = await get(`/v1/session/info/${id}?index=5&wait=1s&token=t`);
    expect([reply.status, reply.body]).toEqual([200, '[]']);
    expect(calls[0]?.request).toEqual({
      Datacenter: 'dc1',
      Token: 't',
      MinQueryIndex: 5,
      MaxQueryTime: 1e9,
      SessionID: id,
      Session: id,
    });
    expect(calls[0]?.signal).toBeInstanceOf(AbortSignal);
  });

  test('on a node', async () => {
    const { get, calls } = await start({ 'Session.NodeSessions': () => ({ ...meta, Sessions: [session] }) });
    expect((await get('/v1/session/node/n%201')).body).toBe(shown);
    expect(calls[0]?.request).toEqual({ Datacenter: 'dc1', Node: 'n 1' });
  });

  test('is destroyed', async () => {
    const { put, calls } = await start({ 'Session.Apply': () => '' });
    expect((await put(`/v1/session/destroy/${id}`)).body).toBe('true');
    expect(calls[0]?.request).toEqual({ Datacenter: 'dc1', Op: 'destroy', Session: { ID: id } });
  });

  test('is renewed, if it is there', async () => {
    const { put, calls } = await start({
      'Session.Renew': ({ SessionID }: { SessionID: string }) => ({
        ...meta,
        Sessions: SessionID === id ? [session] : null,
      }),
    });
    const reply = await put(`/v1/session/renew/${id}`);
    expect([reply.status, reply.body, reply.headers['X-Consul-Index']]).toEqual([200, shown, undefined]);
    expect(calls[0]?.request).toEqual({ Datacenter: 'dc1', SessionID: id, Session: id });
    const missing = await put('/v1/session/renew/x');
    expect([missing.status, missing.body]).toEqual([404, "Session id 'x' not found"]);
  });

  test('a failed read carries the headers of an empty result, a failed write none', async () => {
    const fail = (): never => {
      throw new CallError('failed session lookup');
    };
    const { get, put } = await start({ 'Session.Get': fail, 'Session.Apply': fail });
    const read = await get('/v1/session/info/x');
    expect([read.status, read.body, read.headers['X-Consul-Index']]).toEqual([500, 'failed session lookup', '1']);
    const write = await put('/v1/session/destroy/x');
    expect([write.status, write.body, write.headers['X-Consul-Index']]).toEqual([
      500,
      'failed session lookup',
      undefined,
    ]);
  });

  test.each([
    ['PUT', '/v1/session/destroy/', 'Missing session'],
    ['PUT', '/v1/session/renew/', 'Missing session'],
    ['GET', '/v1/session/info/', 'Missing session'],
    ['GET', '/v1/session/node/', 'Missing node name'],
  ])('%s %s without a name', async (method, path, text) => {
    const { send } = await start();
    const reply = await send(method, path);
    expect([reply.status, reply.body]).toEqual([400, text]);
  });
});
