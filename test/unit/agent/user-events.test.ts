// Which user events an agent takes, keeps and tells of, and what it refuses to fire.
import { beforeEach, describe, expect, test } from 'vitest';
import { UserEvents, userEventsMax } from '../../../src/agent/user-events.ts';
import { CallError, type NodeService, type UserEvent } from '../../../src/model/index.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { singleServer } from '../server/single.ts';
import { service } from '../state/helpers.ts';

const index = { CreateIndex: 0, ModifyIndex: 0 };
const services = new Map<string, NodeService>([
  ['web-1', { ...service({ Service: 'web', Tags: ['blue', 'v1'] }), ...index }],
  ['db', { ...service({ Service: 'db' }), ...index }],
]);
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, named: () => silent };

let lTime = 0;
let events: UserEvents;
beforeEach(async () => {
  // The server hands to the agent what it would send to all members.
  const { server } = singleServer({
    broadcastEvent: (name, payload) => events.receive({ name, payload, lTime: ++lTime }),
  });
  await server.start();
  events = new UserEvents({
    nodeName: 'node-a',
    services: () => services,
    caller: server.caller,
    random: new SeededRandom(1),
    logger: silent,
  });
});

const target = { Datacenter: 'dc1' };
const none = { Name: 'deploy', Payload: null, NodeFilter: '', ServiceFilter: '', TagFilter: '' };
const fire = (given: Partial<UserEvent> = {}): Promise<UserEvent> => events.fire({ ...none, ...given }, target);

test('an event comes back with a time that grows', async () => {
  const first = await fire({ Payload: Buffer.from('v1') });
  const second = await fire();
  expect([first.LTime, first.Version]).toEqual([0, 1]);
  const [a, b] = events.events;
  expect(a).toEqual({ ...first, LTime: a!.LTime });
  expect(b).toEqual({ ...second, LTime: a!.LTime + 1 });
});

describe('filters', () => {
  test.each<[Partial<UserEvent>, boolean]>([
    [{ NodeFilter: 'node-a' }, true],
    [{ NodeFilter: '^node-.$' }, true],
    [{ NodeFilter: 'b$' }, false],
    [{ ServiceFilter: 'web' }, true],
    [{ ServiceFilter: 'api' }, false],
    [{ ServiceFilter: 'web', TagFilter: '^v\\d$' }, true],
    [{ ServiceFilter: 'web', TagFilter: 'red' }, false],
    [{ ServiceFilter: 'db', TagFilter: 'blue' }, false],
    [{ NodeFilter: 'b$', ServiceFilter: 'web' }, false],
  ])('%j', async (filters, isForUs) => {
    await fire(filters);
    expect(events.events.length).toBe(isForUs ? 1 : 0);
  });
});

test('the last events are kept, the listeners told of each until they leave', async () => {
  let told = 0;
  const stop = events.onEvent(() => told++);
  for (let i = 0; i <= userEventsMax; i++) await fire({ Name: `e${i}` });
  stop();
  expect([events.events.length, events.events[0]?.Name, told]).toEqual([userEventsMax, 'e1', userEventsMax + 1]);
  await fire();
  expect(told).toBe(userEventsMax + 1);
});

test.each([
  ['another message of the cluster', 'consul:new-leader', 'node-a'],
  ['an event that cannot be read', 'consul:event:x', 'garbage'],
])('%s is passed over', (_, name, payload) => {
  events.receive({ name, payload: Buffer.from(payload), lTime: ++lTime });
  expect(events.events).toEqual([]);
});

describe('what cannot be fired', () => {
  const tooLarge =
    '1 error occurred:\n\t* error broadcasting event to segment "": ' +
    'user event exceeds configured limit of 512 bytes before encoding\n\n';
  test.each<[string, Partial<UserEvent>, string]>([
    ['a tag without service', { TagFilter: 't' }, 'Cannot provide tag filter without service filter'],
    ['a bad node filter', { NodeFilter: '(' }, 'Invalid node filter: error parsing regexp: missing closing ): `(`'],
    [
      'a bad service filter',
      { ServiceFilter: '(' },
      'Invalid service filter: error parsing regexp: missing closing ): `(`',
    ],
    [
      'a bad tag filter',
      { ServiceFilter: 'a', TagFilter: '(' },
      'Invalid tag filter: error parsing regexp: missing closing ): `(`',
    ],
    ['too much', { Payload: Buffer.alloc(450) }, tooLarge],
  ])('%s', async (_, given, problem) => {
    await expect(fire(given)).rejects.toThrow(new CallError(problem));
    expect(events.events).toEqual([]);
  });

  test('the limit is 512 bytes: name with prefix 19, fields around the payload 59', async () => {
    await fire({ Payload: Buffer.alloc(512 - 19 - 59) });
    expect(events.events.length).toBe(1);
    await expect(fire({ Payload: Buffer.alloc(512 - 19 - 59 + 1) })).rejects.toThrow(new CallError(tooLarge));
  });

  test('for another datacenter', async () => {
    await expect(events.fire(none, { Datacenter: 'dc2' })).rejects.toThrow(new CallError('No path to datacenter'));
  });
});

test('an event that asks for a command is handed on, not remembered', async () => {
  const asked: string[] = [];
  const { server } = singleServer({
    broadcastEvent: (name, payload) => own.receive({ name, payload, lTime: ++lTime }),
  });
  await server.start();
  const own = new UserEvents({
    nodeName: 'node-a',
    services: () => services,
    caller: server.caller,
    random: new SeededRandom(1),
    logger: silent,
    onRemoteExec: ({ Payload }) => asked.push(Buffer.from(Payload!).toString()),
  });
  await own.fire({ ...none, Name: '_rexec', Payload: Buffer.from('job') }, target);
  await own.fire({ ...none, Name: '_rexec', NodeFilter: 'other', Payload: Buffer.from('not ours') }, target);
  expect([asked, own.events]).toEqual([['job'], []]);
});
