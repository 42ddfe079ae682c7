import { describe, expect, test } from 'vitest';
import { checkRegistration, serviceRecord } from '../../../src/agent/definitions.ts';
import { resolveNodeId } from '../../../src/agent/node-id.ts';
import { Persistence } from '../../../src/agent/persistence.ts';
import { MemoryFiles } from '../../../src/sim/memory-files.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../helpers/logger.ts';

function setUp() {
  const files = new MemoryFiles();
  const clock = new VirtualClock();
  const { logger, lines } = recordingLogger();
  return { files, clock, lines, persistence: new Persistence({ files, clock, logger }) };
}

const service = serviceRecord({
  id: 'web-1',
  name: 'web',
  port: 80,
  tags: ['a'],
  meta: { k: 'v' },
  address: '10.0.0.1',
});

describe('persisted registrations', () => {
  test("lie in Consul's own file names and documents", async () => {
    const { files, persistence } = setUp();
    await persistence.saveService({ service, token: 't' });
    // md5 of `web-1`
    expect([...files.files.keys()]).toEqual(['services/a2e3a94e0befb3546bfea8a1cb24ac48']);
    const document = JSON.parse([...files.files.values()][0]!) as Record<string, unknown>;
    expect(Object.keys(document)).toEqual(['Token', 'Service', 'Source', 'LocallyRegisteredAsSidecar']);
    expect(document).toMatchObject({
      Token: 't',
      Source: 'remote',
      Service: { ID: 'web-1', Service: 'web', Port: 80 },
    });
  });

  test('come back as they were', async () => {
    const { persistence } = setUp();
    await persistence.saveService({ service, token: 't' });
    expect(await persistence.services()).toEqual([{ service, token: 't' }]);
    const definition = {
      id: 'c1',
      name: 'c',
      http: 'http://127.0.0.1/',
      header: { Host: ['x'] },
      intervalMs: 1500,
      timeoutMs: 250,
      successBeforePassing: 2,
      tlsSkipVerify: true,
    };
    const { check } = checkRegistration('n1', service, definition);
    await persistence.saveCheck({ check, definition, token: '' });
    expect(await persistence.checks()).toEqual([{ check, definition, token: '' }]);
  });

  test('one unreadable file is named and skipped, the others are restored', async () => {
    const { files, lines, persistence } = setUp();
    await persistence.saveService({ service, token: '' });
    await files.write('services/broken', '{"Service": ');
    expect(await persistence.services()).toHaveLength(1);
    expect(lines.join('\n')).toContain('file=services/broken');
  });

  test('none of them stop the start, whatever is wrong with the disk', async () => {
    const { files, lines, persistence } = setUp();
    await persistence.saveService({ service, token: '' });
    await files.write('services/other', '{}');
    const read = files.read.bind(files);
    const broken = Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
    files.read = (path) => (path === 'services/other' ? Promise.reject(broken) : read(path));
    expect(await persistence.services()).toHaveLength(1);
    expect(lines.join('\n')).toContain('file=services/other');
    files.list = () => Promise.reject(broken);
    expect(await persistence.checks()).toEqual([]);
    expect(lines.at(-1)).toContain('directory=checks');
    files.read = () => Promise.reject(broken);
    expect(await persistence.ttlState('c1')).toBeUndefined();
  });

  test('that cannot be saved are said, and the old file stays', async () => {
    const { files, lines, persistence } = setUp();
    await persistence.saveService({ service, token: 'old' });
    const write = files.write.bind(files);
    files.write = () => Promise.reject(new Error('ENOSPC: no space left on device, write'));
    await expect(persistence.saveService({ service, token: 'new' })).rejects.toThrow(
      'a registration could not be saved in the data directory: ENOSPC: no space left on device, write. It holds until',
    );
    expect(lines.join('\n')).toContain('could not be saved');
    files.write = write;
    expect(await persistence.services()).toEqual([{ service, token: 'old' }]);
  });

  test('TTL states that cannot be saved are said once, until one can', async () => {
    const { clock, files, lines, persistence } = setUp();
    const state = { status: 'passing', output: '', expiresAtMs: clock.wallMs() + 30_000 } as const;
    const write = files.write.bind(files);
    const full = (): Promise<never> => Promise.reject(new Error('ENOSPC'));
    files.write = full;
    for (let updates = 0; updates < 3; updates++) await persistence.saveTtlState('c1', state);
    expect(lines).toHaveLength(1);
    files.write = write;
    await persistence.saveTtlState('c1', state);
    files.write = full;
    await persistence.saveTtlState('c1', state);
    expect(lines).toHaveLength(2);
  });

  test('removed ones are gone, whatever was still being written', async () => {
    const { files, persistence } = setUp();
    await Promise.all([persistence.saveService({ service, token: '' }), persistence.removeService(service.ID)]);
    expect(files.files.size).toBe(0);
  });

  test('the status of a TTL check is good until its TTL would have ended', async () => {
    const { clock, files, persistence } = setUp();
    const state = { status: 'passing', output: 'fine', expiresAtMs: clock.wallMs() + 30_000 } as const;
    await persistence.saveTtlState('c1', state);
    await clock.advance(20_000);
    expect(await persistence.ttlState('c1')).toEqual(state);
    await clock.advance(20_000);
    expect(await persistence.ttlState('c1')).toBeUndefined();
    expect(files.files.size).toBe(0);
  });
});

describe('the node ID', () => {
  const random = new SeededRandom(7);

  test('the node ID comes from the machine where that is wanted, as the peer makes it', async () => {
    const id = await resolveNodeId('', undefined, random, '4c4c4544-0043-4b10-8051-b7c04f443132');
    expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(await resolveNodeId('', undefined, random, '4c4c4544-0043-4b10-8051-b7c04f443132')).toBe(id);
    expect(await resolveNodeId('', undefined, random, '4c4c4544-0043-4b10-8051-b7c04f443133')).not.toBe(id);
  });

  test('is made once and remembered', async () => {
    const files = new MemoryFiles();
    const first = await resolveNodeId('', files, random);
    expect(files.files.get('node-id')).toBe(first);
    expect(await resolveNodeId('', files, random)).toBe(first);
  });

  test('is new at every start in dev mode', async () => {
    expect(await resolveNodeId('', undefined, random)).not.toBe(await resolveNodeId('', undefined, random));
  });

  test('given ones are lower-cased and not written', async () => {
    const files = new MemoryFiles();
    expect(await resolveNodeId('ABCDEF01-0000-4000-8000-000000000001', files, random)).toBe(
      'abcdef01-0000-4000-8000-000000000001',
    );
    expect(files.files.size).toBe(0);
  });

  test.each([
    ['1234', 'specified NodeID is invalid: uuid string is wrong length'],
    ['zzzzzzzz-0000-4000-8000-000000000001', 'specified NodeID is invalid: uuid is improperly formatted'],
  ])('%s is refused', async (id, text) => {
    await expect(resolveNodeId(id, undefined, random)).rejects.toThrow(`failed to setup node ID: ${text}`);
  });

  test('a broken node-id file is named', async () => {
    const files = new MemoryFiles();
    await files.write('node-id', 'nonsense');
    await expect(resolveNodeId('', files, random)).rejects.toThrow('NodeID in node-id is invalid');
  });
});
