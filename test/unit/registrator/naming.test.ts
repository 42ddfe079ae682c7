// reference/registrator.md §5 row by row, and R3, R13, R22–R29.
import { describe, expect, test } from 'vitest';
import { ownershipOf, type RegistratorOptions } from '../../../src/registrator/index.ts';
import { leftoverContainer, metaKeys } from '../../../src/registrator/ownership.ts';
import { splitTags } from '../../../src/registrator/tags.ts';
import { type Box, idOf, map } from './support.ts';

const publish = { '80': ['8080'] };
const both = { '80': ['8080'], '443': ['8443'] };
const names = (box: Box, options: Partial<RegistratorOptions> = {}): string[] =>
  map(box, options).services.map(({ definition }) => definition.name);
const ids = (box: Box, options: Partial<RegistratorOptions> = {}): string[] =>
  map(box, options).services.map(({ id }) => id);
/** Meta of the first service without our mark. */
function meta(box: Box, options: Partial<RegistratorOptions> = {}): Record<string, string> {
  const own = new Set<string>(Object.values(metaKeys));
  const all = map(box, options).services[0]?.definition.meta ?? {};
  return Object.fromEntries(Object.entries(all).filter(([key]) => !own.has(key)));
}

describe('§5.1 reading the variables', () => {
  test('SERVICE_Name works, service_name does not', () => {
    expect(names({ publish, env: ['SERVICE_Name=a'] })).toEqual(['a']);
    expect(names({ publish, env: ['service_name=a'] })).toEqual(['one']);
  });
  test('entries are split at the first =, entries without = are skipped', () => {
    expect(names({ publish, env: ['SERVICE_NAME=a=b', 'SERVICE_NAME'] })).toEqual(['a=b']);
  });
  test.each(['080', '+80'])('%s never matches port 80', (port) => {
    expect(names({ publish, env: [`SERVICE_${port}_NAME=a`] })).toEqual(['one']);
  });
  test('port-specific wins over general, whatever the order', () => {
    expect(names({ publish, env: ['SERVICE_80_NAME=port', 'SERVICE_NAME=general'] })).toEqual(['port']);
    expect(names({ publish, env: ['SERVICE_80_NAME=port'], labels: { SERVICE_NAME: 'general' } })).toEqual(['port']);
  });
  test('the later entry wins, and labels beat environment', () => {
    expect(names({ publish, env: ['SERVICE_NAME=a', 'SERVICE_NAME=b'] })).toEqual(['b']);
    expect(names({ publish, env: ['SERVICE_NAME=a'], labels: { SERVICE_NAME: 'label' } })).toEqual(['label']);
  });
  test('colliding labels never resolve at random: capitals win', () => {
    expect(names({ publish, labels: { SERVICE_Name: 'a', SERVICE_NAME: 'b' } })).toEqual(['b']);
    expect(names({ publish, labels: { SERVICE_NAME: 'b', SERVICE_Name: 'a' } })).toEqual(['b']);
  });
  test('SERVICE_53_NAME applies to tcp and udp alike', () => {
    const box = { publish: { '53/tcp': ['53'], '53/udp': ['53'] }, env: ['SERVICE_53_NAME=dns'] };
    expect(names(box)).toEqual(['dns', 'dns']);
  });
  test('NAME: empty string = not set', () => {
    expect(names({ publish, env: ['SERVICE_NAME='] })).toEqual(['one']);
  });
  test('ID: replaces the whole ID, including the :udp suffix', () => {
    expect(ids({ publish: { '53/udp': ['53'] }, env: ['SERVICE_ID=x'] })).toEqual(['x']);
  });
  test('ID: general on a two-port container: the lowest port has it, the other its own, with a note', () => {
    const mapping = map({ publish: both, env: ['SERVICE_ID=x'] });
    expect(mapping.services.map(({ id }) => id)).toEqual(['x', 'reghost:w1:443']);
    expect(mapping.notes[0]).toContain('SERVICE_443_ID');
  });
  test('TAGS: port-specific replaces general, no merge', () => {
    const { services } = map({ publish: both, env: ['SERVICE_TAGS=a,b', 'SERVICE_80_TAGS=c'] });
    expect(services.map(({ definition }) => definition.tags)).toEqual([['c'], ['a', 'b']]);
  });
  test.each(['1', 'true', 'false', '0'])('IGNORE=%s ignores', (value) => {
    const mapping = map({ publish, env: [`SERVICE_IGNORE=${value}`] });
    expect(mapping.services).toEqual([]);
    expect(mapping.skipped[0]?.reason).toBe('ignored by env SERVICE_IGNORE');
    expect(mapping.notes.length).toBe(value === 'false' || value === '0' ? 1 : 0);
  });
  test('IGNORE: an empty value does not ignore, and leaves nothing in the metadata', () => {
    expect(names({ publish, env: ['SERVICE_IGNORE='] })).toEqual(['one']);
    expect(meta({ publish, env: ['SERVICE_IGNORE='] })).toEqual({});
  });
  test('anything else: service metadata, key lower-cased, value may contain =', () => {
    expect(meta({ publish, env: ['SERVICE_REGION=us2', 'SERVICE_80_Eq=a=b'] })).toEqual({ region: 'us2', eq: 'a=b' });
  });
  test('CHECK_* is not copied to Meta (R27)', () => {
    expect(meta({ publish, env: ['SERVICE_CHECK_HTTP=/', 'SERVICE_CHECK_INTERVAL=1s'] })).toEqual({});
  });
});

describe("§5.1 Consul's limits on Meta: the pair is mended or dropped, the service stays (R13)", () => {
  const many = Object.fromEntries(
    Array.from({ length: 80 }, (_, i) => [`SERVICE_K${String(i).padStart(2, '0')}`, 'v']),
  );
  const rows: readonly (readonly [string, Box, Record<string, string>])[] = [
    ['key characters outside A-Za-z0-9_-', { labels: { 'SERVICE_FOO.BAR': '1' } }, { foo_bar: '1' }],
    ['empty key', { env: ['SERVICE_=odd'] }, {}],
    ['key longer than 128', { env: [`SERVICE_${'K'.repeat(129)}=1`] }, {}],
    ['value longer than 512', { env: [`SERVICE_LONG=${'é'.repeat(300)}`] }, { long: 'é'.repeat(256) }],
    ['key starting consul-', { env: ['SERVICE_CONSUL-X=1'] }, {}],
    ['a key of our mark', { env: ['SERVICE_PORTOLAN-CONTAINER=1'] }, {}],
  ];
  test.each(rows)('%s', (_, box, expected) => {
    const mapping = map({ publish, ...box });
    expect(mapping.services).toHaveLength(1);
    expect(mapping.notes).toHaveLength(1);
    expect(meta({ publish, ...box })).toEqual(expected);
  });
  test('more than 64 pairs', () => {
    const mapping = map({ publish, labels: many });
    expect(Object.keys(mapping.services[0]!.definition.meta!)).toHaveLength(64);
    expect(ownershipOf({ meta: mapping.services[0]!.definition.meta! })?.container).toBe(idOf('w1'));
    expect(mapping.notes[0]).toContain('64 pairs');
  });
});

describe('§5.2 name and ID', () => {
  const images: readonly (readonly [string, string])[] = [
    ['redis:6', 'redis'],
    ['reg.example.com:5000/team/app:v2', 'app'],
    [`sha256:${'4e16'.repeat(16)}`, 'sha256'],
    ['repo@sha256:abcdef', 'repo'],
  ];
  test.each(images)('default name of %s is %s', (image, expected) => {
    expect(names({ publish, image })).toEqual([expected]);
  });
  test('an image id resolves to the repository tag (R25)', () => {
    const { services } = map({ publish, image: 'sha256:4e16' }, {}, { imageTags: ['team/app:v2'] });
    expect(services[0]?.definition.name).toBe('app');
  });
  test('ID = <host name>:<container name>:<container port>[:udp]', () => {
    expect(ids({ name: 'web', publish })).toEqual(['reghost:web:80']);
    expect(ids({ name: 'web', publish: { '53/udp': ['53'] } })).toEqual(['reghost:web:53:udp']);
  });
  test('a port-specific name takes no suffix, a general one does in a group', () => {
    expect(names({ publish: both, env: ['SERVICE_80_NAME=web', 'SERVICE_NAME=all'] })).toEqual(['web', 'all-443']);
  });
  test('-explicit: only ports with a name', () => {
    expect(names({ publish: both, env: ['SERVICE_80_NAME=web'] }, { explicit: true })).toEqual(['web']);
    expect(names({ publish, env: ['SERVICE_NAME=web'] }, { explicit: true })).toEqual(['web']);
    expect(names({ publish }, { explicit: true })).toEqual([]);
  });
});

describe('§5.3 tags', () => {
  test.each([
    [String.raw`a\,b,c,,d=e,f g`, ['a,b', 'c', 'd=e', 'f g']],
    [String.raw`\,x\,,y`, [',x,', 'y']],
    [String.raw`\\,z`, [String.raw`\,z`]],
  ])('%s', (text, expected) => {
    expect(splitTags(text)).toEqual(expected);
  });
  test('service tags, then -tags, then udp, in written order', () => {
    const { services } = map({ publish: { '53/udp': ['53'] }, env: ['SERVICE_TAGS=b,a'] }, { tags: 'z,y' });
    expect(services[0]?.definition.tags).toEqual(['b', 'a', 'z', 'y', 'udp']);
  });
  test('-tags is a template', () => {
    const { services } = map({ publish }, { tags: 'x,{{.Name}},{{strSlice .ID 0 12}}' });
    expect(services[0]?.definition.tags).toEqual(['x', '/w1', idOf('w1').slice(0, 12)]);
  });
});

describe('R22–R29', () => {
  test('R22: the dotted namespace has the same keys, and its booleans parse', () => {
    expect(names({ publish, labels: { 'portolan.name': 'a' } })).toEqual(['a']);
    expect(names({ publish, labels: { 'portolan.80.name': 'p', 'portolan.name': 'a' } })).toEqual(['p']);
    expect(names({ publish, labels: { 'disco.name': 'a' } }, { namespace: 'disco' })).toEqual(['a']);
    for (const value of ['false', '0', 'no', '']) {
      expect(names({ publish, labels: { 'portolan.ignore': value } })).toEqual(['one']);
    }
    expect(names({ publish, labels: { 'portolan.ignore': 'true' } })).toEqual([]);
    const check = map({ publish, labels: { 'portolan.check.http': '/h', 'portolan.check.interval': '5s' } });
    expect(check.services[0]?.definition.checks?.[0]).toMatchObject({
      http: 'http://10.99.0.10:8080/h',
      intervalMs: 5000,
    });
  });
  test('R23: protocol-specific keys, ranges, several names, aliases', () => {
    const dns = { publish: { '53/tcp': ['53'], '53/udp': ['53'] } };
    expect(names({ ...dns, env: ['SERVICE_53_UDP_NAME=u', 'SERVICE_53_NAME=t'] })).toEqual(['t', 'u']);
    const range = { publish: { '80': ['80'], '10000': ['10000'], '10001': ['10001'] } };
    expect(ids({ ...range, env: ['SERVICE_10000-20000_IGNORE=1'] })).toEqual(['reghost:w1:80']);
    expect(names({ ...range, env: ['SERVICE_10000-20000_IGNORE=1', 'SERVICE_10001_IGNORE='] })).toHaveLength(2);
    expect(names({ publish, env: ['SERVICE_80_NAME=a,b'] })).toEqual(['a', 'b']);
    expect(ids({ publish, env: ['SERVICE_80_NAME=a,b'] })).toEqual(['reghost:w1:80', 'reghost:w1:80:b']);
    const alias = map({ publish, env: ['SERVICE_ALIAS=db', 'SERVICE_CHECK_TCP=1'] }).services;
    expect(alias.map(({ definition }) => definition.name)).toEqual(['one', 'db']);
    expect(alias[1]?.definition.checks).toEqual([
      { id: 'service:reghost:w1:80:db', name: 'Alias of reghost:w1:80', aliasService: 'reghost:w1:80' },
    ]);
  });
  test('R24: naming policies', () => {
    const ignored = { publish: both, env: ['SERVICE_443_IGNORE=1'] };
    expect(names(ignored, { naming: 'compatible' })).toEqual(['one-80']);
    expect(names(ignored, { naming: 'when-needed' })).toEqual(['one']);
    expect(names({ publish: both }, { naming: 'never' })).toEqual(['one', 'one']);
    expect(names({ publish }, { naming: 'always' })).toEqual(['one-80']);
  });
  test('R25: default name from compose, swarm, ECS labels', () => {
    const labels = { 'com.docker.compose.service': 'web', 'com.amazonaws.ecs.container-name': 'ecs' };
    expect(names({ publish, labels })).toEqual(['one']);
    expect(names({ publish, labels }, { nameFrom: ['swarm', 'compose', 'image'] })).toEqual(['web']);
    expect(names({ publish, labels }, { nameFrom: ['ecs'] })).toEqual(['ecs']);
    expect(names({ publish }, { nameFrom: ['compose'] })).toEqual(['one']);
  });
  test('R26: templates for tags and Meta, in flags and per container; a bad one per container is left out', () => {
    const options = { meta: { zone: '{{mIndex "zone" .Portolan.Host}}' }, hostMeta: { zone: 'z1' }, envAllow: ['A'] };
    const env = [
      'A=1',
      'B=2',
      'SERVICE_TEMPLATE_TAGS={{.Portolan.Env.A}},b{{.Portolan.Env.B}}',
      'SERVICE_TEMPLATE_META_N={{.Portolan.Network}}',
    ];
    const mapping = map({ publish, env }, options);
    expect(mapping.services[0]?.definition.tags).toEqual(['1', 'b']);
    expect(meta({ publish, env }, options)).toEqual({ zone: 'z1', n: 'bridge' });
    const bad = map({ publish, env: ['SERVICE_TEMPLATE_TAGS={{.Nope}}'] });
    expect(bad.services).toHaveLength(1);
    expect(bad.notes[0]).toContain('env SERVICE_TEMPLATE_TAGS');
  });
  test('R27: automatic Meta', () => {
    expect(meta({ publish, image: 'acme/one:2' }, { autoMeta: true })).toEqual({
      'container-id': idOf('w1').slice(0, 12),
      'container-name': 'w1',
      image: 'acme/one:2',
      'image-tag': '2',
      'engine-host': 'reghost',
    });
  });
  test('R28: tag override, weights, token by name', () => {
    const env = [
      'SERVICE_ENABLE_TAG_OVERRIDE=true',
      'SERVICE_WEIGHTS_PASSING=5',
      'SERVICE_WEIGHTS_WARNING=0',
      'SERVICE_TOKEN=web',
    ];
    expect(map({ publish, env }, { tokens: { web: 'secret' } }).services[0]?.definition).toMatchObject({
      enableTagOverride: true,
      weights: { Passing: 5, Warning: 0 },
      token: 'secret',
    });
    const bad = map({ publish, env: ['SERVICE_WEIGHTS_PASSING=0', 'SERVICE_TOKEN=nope'] });
    expect(bad.services[0]?.definition.weights).toBeUndefined();
    expect(bad.notes).toHaveLength(2);
  });
  test('R29: name patterns, label selector, own container, orchestration images', () => {
    const box = { name: 'web-1', publish, labels: { team: 'a' } };
    expect(names(box, { include: ['web-*'] })).toHaveLength(1);
    expect(names(box, { include: ['db-*'] })).toEqual([]);
    expect(names(box, { exclude: ['*-1'] })).toEqual([]);
    expect(names(box, { labelSelector: ['team=a', '!hidden'] })).toHaveLength(1);
    expect(names(box, { labelSelector: ['team=b'] })).toEqual([]);
    expect(names(box, { ownContainerIds: [idOf('web-1').slice(0, 12)] })).toEqual([]);
    expect(names({ publish, image: 'amazon/amazon-ecs-agent:latest' })).toEqual([]);
  });
});

describe('R3 ownership', () => {
  test('the mark names engine, container and port, and its digest follows the whole definition', () => {
    const digest = (env: string[]): string => {
      const owner = ownershipOf({ meta: map({ publish, env }).services[0]!.definition.meta! })!;
      expect(owner).toMatchObject({ engine: 'ENGINE', container: idOf('w1'), port: '80/tcp' });
      return owner.digest;
    };
    expect(digest(['SERVICE_CHECK_TCP=1'])).toBe(digest(['SERVICE_CHECK_TCP=1']));
    expect(digest(['SERVICE_CHECK_TCP=1'])).not.toBe(digest(['SERVICE_CHECK_TCP=1', 'SERVICE_CHECK_INTERVAL=3s']));
  });
  test('§9: leftovers of the reference program by ID pattern and own host name', () => {
    const rows: readonly (readonly [string, string | undefined])[] = [
      ['reghost:keep:80', 'keep'],
      ['reghost:keep:53:udp', 'keep'],
      ['otherhost:gone:80', undefined],
      ['custom-1', undefined],
      ['reghost:a:80', undefined],
      ['reghost:keep:53:sctp', undefined],
    ];
    for (const [id, container] of rows) expect(leftoverContainer(id, 'reghost')).toBe(container);
  });
});
