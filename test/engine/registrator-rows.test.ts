// The tables of reference/registrator.md §4–§7 on a real engine: each row is a container, and what must follow is read
// back from the agent, the catalog, DNS and `portolan registrator explain`. Where a requirement (R…) overrides a row,
// the title says so.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { engineSkipReason } from './support/dockerd.ts';
import { type Explained, hostName, Registered, type SeenCheck, type SeenService } from './support/registered.ts';

const skip = engineSkipReason({ own: true }) !== undefined;

interface ExpectedService {
  /** Rest of the ID after host and container; "80" when not given. */
  readonly id?: string;
  readonly name: string;
  /**
   * `address:port`. Addresses: `host`, `host6`, `<network>` of this container, `<container>/<network>`, or as it is.
   * Port `*`: the host port the engine chose for the container port at the beginning of the ID.
   */
  readonly at: string;
  /** The network of which the IPv6 address is given out besides (R20). */
  readonly alsoV6On?: string;
  readonly tags?: readonly string[];
  readonly meta?: Readonly<Record<string, string>>;
  readonly checks?: readonly ExpectedCheck[];
}

interface ExpectedCheck {
  readonly type: string;
  readonly status: string;
  /** Text in the output; `$AT` is the address and port of the service. */
  readonly output?: string;
}

interface Row {
  readonly title: string;
  /** Arguments of `docker run` in words; `$HOST`, `$HOST6`, `$IMAGE_ID` and `$N1_ID` are filled in. */
  readonly run: string;
  readonly env?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** Containers that must run before; the first word is the name. */
  readonly before?: readonly string[];
  /** Networks to connect the container to once it runs. */
  readonly connect?: readonly string[];
  readonly services?: readonly ExpectedService[];
  /** Port and reason of what is left out. */
  readonly skipped?: readonly (readonly [port: string, reason: string])[];
  /** A piece of each warning. */
  readonly notes?: readonly string[];
}

const notPublished = 'not published on the host';

const rows: readonly Row[] = [
  // §4
  {
    title: '§4 two published ports: two services, names suffixed',
    run: '-p 8001:80 -p 8002:443 acme/two',
    services: [
      { name: 'two-80', at: 'host:8001' },
      { id: '443', name: 'two-443', at: 'host:8002' },
    ],
  },
  {
    title: '§4 one of two exposed ports published: one service, no suffix',
    run: '-p 8003:80 acme/two',
    services: [{ name: 'two', at: 'host:8003' }],
    skipped: [['443/tcp', notPublished]],
  },
  {
    title: '§4 published and other ports IGNOREd: suffix stays: two-80',
    run: '-p 8004:80 -p 8005:443 acme/two',
    labels: { SERVICE_443_IGNORE: '1' },
    services: [{ name: 'two-80', at: 'host:8004' }],
    skipped: [['443/tcp', 'ignored by label SERVICE_443_IGNORE']],
  },
  {
    title: '§4 -p 9001:80 -p 9002:80: two services, no binding is dropped (R19)',
    run: '-p 9001:80 -p 9002:80 acme/one',
    services: [
      { name: 'one', at: 'host:9001' },
      { id: '80:9002', name: 'one', at: 'host:9002' },
    ],
  },
  {
    title: '§4 port range -p 7000-7003:7000-7003: four services range-7000 ... range-7003',
    run: '-p 7000-7003:7000-7003 acme/plain',
    labels: { SERVICE_NAME: 'range' },
    services: [7000, 7001, 7002, 7003].map((port) => ({
      id: String(port),
      name: `range-${port}`,
      at: `host:${port}`,
    })),
  },
  {
    title: '§4 53/tcp and 53/udp: same name udp-53, IDs ...:53 and ...:53:udp, tag udp on the second',
    run: '-p 5301:53/tcp -p 5301:53/udp acme/udp',
    services: [
      { id: '53', name: 'udp-53', at: 'host:5301' },
      { id: '53:udp', name: 'udp-53', at: 'host:5301', tags: ['udp'] },
    ],
  },
  {
    title: '§4 -P: as published, random host ports',
    run: '-P acme/two',
    services: [
      { name: 'two-80', at: 'host:*' },
      { id: '443', name: 'two-443', at: 'host:*' },
    ],
  },
  {
    title: '§4 --expose and -P: published like EXPOSE',
    run: '-P --expose 7070 acme/plain',
    services: [{ id: '7070', name: 'plain', at: 'host:*' }],
  },
  {
    title: '§4 host network, image EXPOSEs ports: registered with port = exposed number',
    run: '--network host acme/one sleep 1000000',
    services: [{ name: 'one', at: 'host:80' }],
  },
  {
    title: '§4 host network, -p 8443:443: port 443 is registered',
    run: '--network host -p 8443:443 acme/plain',
    services: [{ id: '443', name: 'plain', at: 'host:443' }],
  },
  {
    title: '§4 host network, no EXPOSE, no -p: ignored',
    run: '--network host acme/plain',
    skipped: [['', 'no exposed or published ports']],
  },
  {
    title: '§4 network none, EXPOSE 80: skipped, the empty address is a defect (R18)',
    run: '--network none acme/one',
    skipped: [['', 'network mode "none" has no address']],
  },
  {
    title: "§4 container:<other>, own EXPOSE 80: the owner's published port (R18)",
    before: ['owner1 -p 8006:80 acme/plain'],
    run: '--network container:owner1 acme/one',
    services: [{ name: 'one', at: 'host:8006' }],
  },
  { title: '§4 no candidates at all: ignored', run: 'acme/plain', skipped: [['', 'no exposed or published ports']] },
  // §5.1
  {
    title: '§5.1 SERVICE_Name works, service_name does not',
    run: '-p 8010:80 acme/one',
    env: ['SERVICE_Name=mixed', 'service_name=lower'],
    services: [{ name: 'mixed', at: 'host:8010' }],
  },
  {
    title: '§5.1 port-specific wins over general, whatever the order, and takes no suffix',
    run: '-p 8011:80 -p 8012:443 acme/two',
    env: ['SERVICE_80_NAME=front', 'SERVICE_NAME=both'],
    services: [
      { name: 'front', at: 'host:8011' },
      { id: '443', name: 'both-443', at: 'host:8012' },
    ],
  },
  {
    title: '§5.1 080 and +80 never match 80',
    run: '-p 8013:80 acme/one',
    env: ['SERVICE_080_NAME=no', 'SERVICE_+80_NAME=no'],
    services: [{ name: 'one', at: 'host:8013' }],
  },
  {
    title: '§5.1 labels beat environment',
    run: '-p 8014:80 acme/one',
    env: ['SERVICE_NAME=from-env'],
    labels: { SERVICE_NAME: 'from-label' },
    services: [{ name: 'from-label', at: 'host:8014' }],
  },
  {
    title: '§5.1 SERVICE_53_NAME applies to tcp and udp alike',
    run: '-p 5302:53/tcp -p 5302:53/udp acme/udp',
    env: ['SERVICE_53_NAME=names'],
    services: [
      { id: '53', name: 'names', at: 'host:5302' },
      { id: '53:udp', name: 'names', at: 'host:5302', tags: ['udp'] },
    ],
  },
  {
    title: '§5.1 NAME: empty string = not set',
    run: '-p 8015:80 acme/one',
    env: ['SERVICE_NAME='],
    services: [{ name: 'one', at: 'host:8015' }],
  },
  {
    title: '§5.1 ID replaces the whole ID, including the :udp suffix',
    run: '-p 5303:53/udp acme/plain',
    env: ['SERVICE_ID=own-id'],
    services: [{ id: 'own-id', name: 'plain', at: 'host:5303', tags: ['udp'] }],
  },
  {
    title: '§5.1 a general ID on two ports: the lowest port has it, the other its own, with a note (never random)',
    run: '-p 8016:80 -p 8017:443 acme/two',
    env: ['SERVICE_ID=shared-id'],
    services: [
      { id: 'shared-id', name: 'two-80', at: 'host:8016' },
      { id: '443', name: 'two-443', at: 'host:8017' },
    ],
    notes: ['write SERVICE_443_ID'],
  },
  {
    title: '§5.1 TAGS: port-specific replaces general, no merge',
    run: '-p 8018:80 -p 8019:443 acme/two',
    env: ['SERVICE_TAGS=general', 'SERVICE_443_TAGS=tls'],
    services: [
      { name: 'two-80', at: 'host:8018', tags: ['general'] },
      { id: '443', name: 'two-443', at: 'host:8019', tags: ['tls'] },
    ],
  },
  {
    title: '§5.1 IGNORE: any non-empty value ignores, including false, with a note',
    run: '-p 8020:80 acme/one',
    env: ['SERVICE_IGNORE=false'],
    skipped: [['80/tcp', 'ignored by env SERVICE_IGNORE']],
    notes: ['SERVICE_IGNORE=false ignores the port'],
  },
  {
    title: '§5.1 IGNORE: an empty value does not ignore, and leaves nothing in the metadata',
    run: '-p 8021:80 acme/one',
    env: ['SERVICE_IGNORE='],
    services: [{ name: 'one', at: 'host:8021' }],
  },
  {
    title: '§5.1 anything else: metadata, key lower-cased, value may contain =',
    run: '-p 8022:80 acme/one',
    env: ['SERVICE_REGION=us2', 'SERVICE_QUERY=a=b=c'],
    services: [{ name: 'one', at: 'host:8022', meta: { region: 'us2', query: 'a=b=c' } }],
  },
  {
    title: '§5.1 Meta that Consul would refuse is mended or dropped, the service stays (R13)',
    run: '-p 8023:80 acme/one',
    env: ['SERVICE_=odd', `SERVICE_LONG=${'x'.repeat(600)}`],
    labels: { 'SERVICE_FOO.BAR': '1', 'SERVICE_CONSUL-X': '2' },
    services: [{ name: 'one', at: 'host:8023', meta: { foo_bar: '1', long: 'x'.repeat(512) } }],
    notes: ['env SERVICE_:', 'SERVICE_FOO.BAR', 'SERVICE_CONSUL-X', 'cut to 512 bytes'],
  },
  // §5.2, §5.3
  {
    title: '§5.2 registry, path and tag are no part of the default name',
    run: '-p 8024:80 reg.example.com:5000/team/app:v2',
    services: [{ name: 'app', at: 'host:8024' }],
  },
  {
    title: '§5.2 an image given by id is named by its tag (R25)',
    run: '-p 8025:80 $IMAGE_ID',
    services: [{ name: 'one', at: 'host:8025' }],
  },
  {
    title: '§5.3 a\\,b,c,,d=e,f g',
    run: '-p 8026:80 acme/one',
    env: ['SERVICE_TAGS=a\\,b,c,,d=e,f g'],
    services: [{ name: 'one', at: 'host:8026', tags: ['a,b', 'c', 'd=e', 'f g'] }],
  },
  {
    title: '§5.3 \\,x\\,,y',
    run: '-p 8027:80 acme/one',
    env: ['SERVICE_TAGS=\\,x\\,,y'],
    services: [{ name: 'one', at: 'host:8027', tags: [',x,', 'y'] }],
  },
  {
    title: '§5.3 \\\\,z',
    run: '-p 8028:80 acme/one',
    env: ['SERVICE_TAGS=\\\\,z'],
    services: [{ name: 'one', at: 'host:8028', tags: ['\\,z'] }],
  },
  // §6
  { title: '§6 bridge, EXPOSE 80 only: ignored', run: 'acme/one', skipped: [['80/tcp', notPublished]] },
  {
    title: '§6 bridge, EXPOSE 80 only, internal: container address and port (R17)',
    run: 'acme/one',
    labels: { SERVICE_INTERNAL: 'true' },
    services: [{ name: 'one', at: 'bridge:80' }],
  },
  {
    title: '§6 bridge, -p 8080:80, internal: container address and port',
    run: '-p 8030:80 acme/one',
    labels: { SERVICE_INTERNAL: 'true' },
    services: [{ name: 'one', at: 'bridge:80' }],
  },
  {
    title: '§6 -p 127.0.0.1:9000:80: skipped (R15)',
    run: '-p 127.0.0.1:9010:80 acme/one',
    skipped: [['80/tcp', 'bound to 127.0.0.1, which only this host can reach']],
  },
  {
    title: '§6 -p [::1]:9000:80: skipped (R15)',
    run: '-p [::1]:9011:80 acme/one',
    skipped: [['80/tcp', 'bound to ::1, which only this host can reach']],
  },
  {
    title: '§6 -p 10.99.0.10:9003:80: the address it is bound to',
    run: '-p $HOST:9012:80 acme/one',
    services: [{ name: 'one', at: 'host:9012' }],
  },
  {
    title: '§6 -p [2001:db8:99::10]:9004:80: the IPv6 address it is bound to',
    run: '-p [$HOST6]:9013:80 acme/one',
    services: [{ name: 'one', at: 'host6:9013' }],
  },
  {
    title: '§6 -p [::]:8088:80: never ::, the advertised address with a note (R15)',
    run: '-p [::]:9014:80 acme/one',
    services: [{ name: 'one', at: 'host:9014' }],
    notes: ['other address family'],
  },
  {
    title: '§6 user network n1, -p 8081:80: the host address (R16)',
    run: '--network n1 -p 8031:80 acme/one',
    services: [{ name: 'one', at: 'host:8031' }],
  },
  {
    title: '§6 user network by id, -p 8084:80: the host address (R16)',
    run: '--network $N1_ID -p 8032:80 acme/one',
    services: [{ name: 'one', at: 'host:8032' }],
  },
  {
    title: '§6 user network by id, internal: address on that network (R17)',
    run: '--network $N1_ID acme/one',
    labels: { SERVICE_INTERNAL: 'true' },
    services: [{ name: 'one', at: 'n1:80' }],
  },
  {
    title: '§6 IPv6 user network, published: one service for both families (R19)',
    run: '--network six -p 8033:80 acme/one',
    services: [{ name: 'one', at: 'host:8033' }],
  },
  {
    title: '§6 IPv6 user network, internal: IPv4 address, the IPv6 one as lan_ipv6 (R20)',
    run: '--network six acme/one',
    labels: { SERVICE_INTERNAL: 'true' },
    services: [{ name: 'one', at: 'six:80', alsoV6On: 'six' }],
  },
  {
    title: '§6 default bridge + n2 connected, -p 8083:80: the host address',
    run: '-p 8034:80 acme/one',
    connect: ['n2'],
    services: [{ name: 'one', at: 'host:8034' }],
  },
  {
    title: '§6 n2 + n1 connected, internal: the network mode decides, never chance (R17)',
    run: '--network n2 acme/one',
    connect: ['n1'],
    labels: { SERVICE_INTERNAL: 'true' },
    services: [{ name: 'one', at: 'n2:80' }],
  },
  {
    title: 'R17 SERVICE_NETWORK chooses the network',
    run: '--network n2 acme/one',
    connect: ['n1'],
    labels: { SERVICE_INTERNAL: 'true', SERVICE_NETWORK: 'n1' },
    services: [{ name: 'one', at: 'n1:80' }],
  },
  {
    title: '§6 host network, EXPOSE 80, internal: node address (R18)',
    run: '--network host acme/one sleep 1000000',
    labels: { SERVICE_INTERNAL: 'true' },
    services: [{ name: 'one', at: 'host:80' }],
  },
  {
    title: "§6 container: of a bridge container, internal: the owner's address",
    before: ['owner2 -p 8035:80 acme/plain'],
    run: '--network container:owner2 acme/one',
    labels: { SERVICE_INTERNAL: 'true' },
    services: [{ name: 'one', at: 'owner2/bridge:80' }],
  },
  {
    title: "§6 container: of a user-network container: the owner's published port (R18)",
    before: ['owner3 --network n1 -p 8036:80 acme/plain'],
    run: '--network container:owner3 acme/one',
    services: [{ name: 'one', at: 'host:8036' }],
  },
  {
    title: '§6 macvlan, EXPOSE 80: container address always (R18)',
    run: '--network lan acme/one',
    services: [{ name: 'one', at: 'lan:80' }],
  },
  {
    title: 'R16 SERVICE_IP and SERVICE_<port>_IP',
    run: '-p 8037:80 -p 8038:443 acme/two',
    labels: { SERVICE_IP: '192.0.2.7', SERVICE_443_IP: '192.0.2.8' },
    services: [
      { name: 'two-80', at: '192.0.2.7:8037' },
      { id: '443', name: 'two-443', at: '192.0.2.8:8038' },
    ],
  },
  // R22, R23, R25, R36
  {
    title: 'R22 the dotted namespace has the same keys',
    run: '-p 8040:80 -p 8041:443 acme/two',
    labels: { 'portolan.name': 'dots', 'portolan.443.tags': 'tls', 'portolan.owner': 'me' },
    services: [
      { name: 'dots-80', at: 'host:8040', meta: { owner: 'me' } },
      { id: '443', name: 'dots-443', at: 'host:8041', tags: ['tls'], meta: { owner: 'me' } },
    ],
  },
  {
    title: 'R22 booleans parse in the dotted namespace: ignore=false does not ignore',
    run: '-p 8042:80 acme/one',
    labels: { 'portolan.ignore': 'false' },
    services: [{ name: 'one', at: 'host:8042' }],
  },
  {
    title: 'R23 SERVICE_<port>_UDP_NAME names one protocol only',
    run: '-p 5304:53/tcp -p 5304:53/udp acme/udp',
    labels: { SERVICE_53_UDP_NAME: 'datagrams' },
    services: [
      { id: '53', name: 'udp-53', at: 'host:5304' },
      { id: '53:udp', name: 'datagrams', at: 'host:5304', tags: ['udp'] },
    ],
  },
  {
    title: 'R23 SERVICE_7101-7102_IGNORE ignores a range',
    run: '-p 7100-7103:7100-7103 acme/plain',
    labels: { 'SERVICE_7101-7102_IGNORE': '1' },
    services: [
      { id: '7100', name: 'plain-7100', at: 'host:7100' },
      { id: '7103', name: 'plain-7103', at: 'host:7103' },
    ],
    skipped: [
      ['7101/tcp', 'ignored by label SERVICE_7101-7102_IGNORE'],
      ['7102/tcp', 'ignored by label SERVICE_7101-7102_IGNORE'],
    ],
  },
  {
    title: 'R23 SERVICE_80_NAME=a,b: two services for one port',
    run: '-p 8043:80 acme/one',
    labels: { SERVICE_80_NAME: 'first,second' },
    services: [
      { name: 'first', at: 'host:8043' },
      { id: '80:second', name: 'second', at: 'host:8043' },
    ],
  },
  {
    title: 'R23 an alias follows the health of the main service',
    run: '-p 8044:80 acme/one',
    labels: { SERVICE_NAME: 'main', SERVICE_ALIAS: 'other', SERVICE_CHECK_TTL: '1h' },
    services: [
      { name: 'main', at: 'host:8044', checks: [{ type: 'ttl', status: 'critical' }] },
      { id: '80:other', name: 'other', at: 'host:8044', checks: [{ type: 'alias', status: 'critical' }] },
    ],
  },
  {
    title: 'R36 SERVICE_REGISTER=true registers a portless service',
    run: 'acme/plain',
    labels: { SERVICE_REGISTER: 'true', SERVICE_NAME: 'worker' },
    services: [{ id: '0', name: 'worker', at: 'host:0' }],
  },
  {
    title: 'R36 SERVICE_PORT gives it a port',
    run: 'acme/plain',
    labels: { SERVICE_PORT: '9999', SERVICE_NAME: 'ported' },
    services: [{ id: '9999', name: 'ported', at: 'host:9999' }],
  },
  // §7
  {
    title: '§7 CHECK_HTTP=/path',
    run: '-p 8050:80 acme/one',
    env: ['SERVICE_CHECK_HTTP=/health', 'SERVICE_CHECK_INTERVAL=1s'],
    services: [
      {
        name: 'one',
        at: 'host:8050',
        checks: [{ type: 'http', status: 'passing', output: 'HTTP GET http://$AT/health: 200 OK' }],
      },
    ],
  },
  {
    title: '§7 CHECK_HTTP without slash, with method',
    run: '-p 8051:80 acme/one',
    env: ['SERVICE_CHECK_HTTP=health', 'SERVICE_CHECK_HTTP_METHOD=HEAD', 'SERVICE_CHECK_INTERVAL=1s'],
    services: [
      {
        name: 'one',
        at: 'host:8051',
        checks: [{ type: 'http', status: 'passing', output: 'HTTP HEAD http://$AT/health: 200 OK' }],
      },
    ],
  },
  {
    title: '§7 CHECK_HTTP at an IPv6 address: bracketed (R20)',
    run: '-p [$HOST6]:8052:80 acme/one',
    env: ['SERVICE_CHECK_HTTP=/health', 'SERVICE_CHECK_INTERVAL=1s'],
    services: [
      {
        name: 'one',
        at: 'host6:8052',
        checks: [{ type: 'http', status: 'passing', output: 'HTTP GET http://$AT/health: 200 OK' }],
      },
    ],
  },
  {
    title: '§7 CHECK_HTTPS=/path: critical on a server without TLS',
    run: '-p 8053:80 acme/one',
    env: ['SERVICE_CHECK_HTTPS=/health', 'SERVICE_CHECK_INTERVAL=1s'],
    services: [
      {
        name: 'one',
        at: 'host:8053',
        checks: [{ type: 'http', status: 'critical', output: 'https://$AT/health' }],
      },
    ],
  },
  {
    title: '§7 CHECK_CMD needs a check-cmd program beside the agent',
    run: '-p 8054:80 acme/one',
    env: ['SERVICE_CHECK_CMD=true', 'SERVICE_CHECK_INTERVAL=1s'],
    services: [{ name: 'one', at: 'host:8054', checks: [{ type: 'script', status: 'critical', output: 'check-cmd' }] }],
  },
  {
    title: '§7 CHECK_SCRIPT runs in a shell, with its placeholders (R32)',
    run: '-p 8055:80 acme/one',
    env: ['SERVICE_CHECK_SCRIPT=test $SERVICE_PORT -eq 8055 && echo "at $SERVICE_IP:$SERVICE_PORT"'],
    labels: { SERVICE_CHECK_INTERVAL: '1s' },
    services: [{ name: 'one', at: 'host:8055', checks: [{ type: 'script', status: 'passing', output: 'at $AT' }] }],
  },
  {
    title: '§7 CHECK_TTL=30s, CHECK_INITIAL_STATUS=passing',
    run: '-p 8056:80 acme/one',
    env: ['SERVICE_CHECK_TTL=30m', 'SERVICE_CHECK_INITIAL_STATUS=passing'],
    services: [{ name: 'one', at: 'host:8056', checks: [{ type: 'ttl', status: 'passing' }] }],
  },
  {
    title: '§7 CHECK_TCP=anything',
    run: '-p 8057:80 acme/one',
    env: ['SERVICE_CHECK_TCP=yes', 'SERVICE_CHECK_INTERVAL=1s'],
    services: [
      {
        name: 'one',
        at: 'host:8057',
        checks: [{ type: 'tcp', status: 'passing', output: 'TCP connect $AT: Success' }],
      },
    ],
  },
  {
    title: '§7 CHECK_TCP=false: no check (R33)',
    run: '-p 8058:80 acme/one',
    env: ['SERVICE_CHECK_TCP=false'],
    services: [{ name: 'one', at: 'host:8058' }],
  },
  {
    title: '§7 CHECK_TCP is general, the port is UDP: no check (R33)',
    run: '-p 5305:53/tcp -p 5305:53/udp acme/udp',
    env: ['SERVICE_CHECK_TCP=yes', 'SERVICE_CHECK_INTERVAL=1h', 'SERVICE_CHECK_INITIAL_STATUS=warning'],
    services: [
      { id: '53', name: 'udp-53', at: 'host:5305', checks: [{ type: 'tcp', status: 'warning' }] },
      { id: '53:udp', name: 'udp-53', at: 'host:5305', tags: ['udp'] },
    ],
  },
  {
    title: '§7 CHECK_GRPC=anything: critical on a server without gRPC',
    run: '-p 8059:80 acme/one',
    env: ['SERVICE_CHECK_GRPC=yes', 'SERVICE_CHECK_INTERVAL=1s', 'SERVICE_CHECK_TIMEOUT=2s'],
    services: [{ name: 'one', at: 'host:8059', checks: [{ type: 'grpc', status: 'critical' }] }],
  },
  {
    title: '§7 a general SERVICE_CHECK_HTTP applies to every port',
    run: '-p 8060:80 -p 8061:443 acme/two',
    env: ['SERVICE_CHECK_HTTP=/', 'SERVICE_CHECK_INTERVAL=1h', 'SERVICE_CHECK_INITIAL_STATUS=warning'],
    services: [
      { name: 'two-80', at: 'host:8060', checks: [{ type: 'http', status: 'warning' }] },
      { id: '443', name: 'two-443', at: 'host:8061', checks: [{ type: 'http', status: 'warning' }] },
    ],
  },
  {
    title: '§7 every key has a port form: SERVICE_80_CHECK_HTTP',
    run: '-p 8062:80 -p 8063:443 acme/two',
    env: ['SERVICE_80_CHECK_HTTP=/health', 'SERVICE_80_CHECK_INTERVAL=1s'],
    services: [
      { name: 'two-80', at: 'host:8062', checks: [{ type: 'http', status: 'passing' }] },
      { id: '443', name: 'two-443', at: 'host:8063' },
    ],
  },
  {
    title: '§7 CHECK_INTERVAL=bogus: registered, a critical check says why (R13)',
    run: '-p 8064:80 acme/one',
    env: ['SERVICE_CHECK_HTTP=/health', 'SERVICE_CHECK_INTERVAL=bogus'],
    services: [
      {
        name: 'one',
        at: 'host:8064',
        checks: [{ type: 'ttl', status: 'critical', output: 'SERVICE_CHECK_INTERVAL: "bogus" is no duration' }],
      },
    ],
    notes: ['SERVICE_CHECK_INTERVAL: "bogus" is no duration'],
  },
  {
    title: '§7 without one of the check kinds the others create no check',
    run: '-p 8065:80 acme/one',
    env: ['SERVICE_CHECK_INTERVAL=1s', 'SERVICE_CHECK_INITIAL_STATUS=passing'],
    services: [{ name: 'one', at: 'host:8065' }],
  },
  {
    title: '§7 CHECK_DOCKER runs inside the container, stderr included (R31)',
    run: '-p 8066:80 acme/one',
    env: ['SERVICE_CHECK_DOCKER=cat /www/health; echo on-stderr >&2', 'SERVICE_CHECK_INTERVAL=1s'],
    services: [{ name: 'one', at: 'host:8066', checks: [{ type: 'docker', status: 'passing', output: 'on-stderr' }] }],
  },
  {
    title: '§7 CHECK_EXEC without a shell in the image (R31)',
    run: '-p 8067:80 acme/bare',
    env: ['SERVICE_CHECK_EXEC=/true', 'SERVICE_CHECK_INTERVAL=1s'],
    services: [{ name: 'bare', at: 'host:8067', checks: [{ type: 'docker', status: 'passing' }] }],
  },
  {
    title: 'R33 several checks of one service',
    run: '-p 8068:80 acme/one',
    env: [
      'SERVICE_CHECK_1_HTTP=/health',
      'SERVICE_CHECK_1_INTERVAL=1s',
      'SERVICE_CHECK_2_TCP=1',
      'SERVICE_CHECK_2_INTERVAL=1s',
    ],
    services: [
      {
        name: 'one',
        at: 'host:8068',
        checks: [
          { type: 'http', status: 'passing', output: '200 OK' },
          { type: 'tcp', status: 'passing', output: 'Success' },
        ],
      },
    ],
  },
  {
    title: 'R30 the HEALTHCHECK of the image is a check of the service',
    run: '-p 8069:80 acme/health',
    services: [{ name: 'health', at: 'host:8069', checks: [{ type: 'ttl', status: 'passing', output: 'well' }] }],
  },
  {
    title: 'R30 SERVICE_CHECK_HEALTH=false leaves the HEALTHCHECK out',
    run: '-p 8070:80 acme/health',
    env: ['SERVICE_CHECK_HEALTH=false'],
    services: [{ name: 'health', at: 'host:8070' }],
  },
];

interface Started {
  readonly id: string;
  readonly name: string;
}

describe.skipIf(skip)('rows of the registrator tables', () => {
  let world: Registered;
  const started = new Map<Row, Started>();
  const explained = new Map<string, Explained>();

  beforeAll(async () => {
    world = await Registered.start({ http: 21_560, dns: 21_660 });
    const { engine } = world;
    for (const network of ['n1', 'n2']) await engine.docker('network', 'create', network);
    await engine.docker('network', 'create', '--ipv6', '--subnet', '2001:db8:99::/64', 'six');
    const parent = `parent=${engine.hostInterface}`;
    await engine.docker('network', 'create', '-d', 'macvlan', '--subnet', '10.99.0.0/24', '-o', parent, 'lan');
    await engine.docker('tag', 'acme/one', 'reg.example.com:5000/team/app:v2');
    const words: Readonly<Record<string, string>> = {
      $HOST6: engine.hostAddressV6,
      $HOST: engine.hostAddress,
      $IMAGE_ID: await engine.docker('image', 'inspect', '-f', '{{.Id}}', 'acme/one'),
      $N1_ID: await engine.docker('network', 'inspect', '-f', '{{.Id}}', 'n1'),
    };
    const filled = (text: string): string[] =>
      text.split(' ').map((word) => word.replace(/\$[A-Z0-9_]+/, (name) => words[name]!));
    const queue = rows.entries();
    const worker = async (): Promise<void> => {
      for (const [index, row] of queue) {
        for (const text of row.before ?? []) {
          const [name, ...args] = filled(text);
          await world.run(name!, ...args);
        }
        const container = await world.run(
          `row${index}`,
          ...(row.env ?? []).flatMap((each) => ['-e', each]),
          ...Object.entries(row.labels ?? {}).flatMap(([key, value]) => ['-l', `${key}=${value}`]),
          ...filled(row.run),
        );
        for (const network of row.connect ?? []) await engine.docker('network', 'connect', network, container.name);
        started.set(row, container);
      }
    };
    // Two at a time: the engine is no faster with more.
    await Promise.all([worker(), worker()]);
    for (const each of await world.explain()) explained.set(each.name, each);
  }, 240_000);

  afterAll(async () => {
    await world?.close();
  });

  /** The address a row names, as the engine has it. */
  async function addressOf(text: string, container: string): Promise<string> {
    if (text === 'host') return world.engine.hostAddress;
    if (text === 'host6') return world.engine.hostAddressV6;
    if (/^[\d.]+$/.test(text)) return text;
    const [owner, network] = text.includes('/') ? text.split('/') : [container, text];
    return inNetwork(owner!, network!, 'IPAddress');
  }

  function inNetwork(container: string, network: string, field: string): Promise<string> {
    const template = `{{(index .NetworkSettings.Networks "${network}").${field}}}`;
    return world.engine.docker('inspect', '-f', template, container);
  }

  async function resolved(expected: ExpectedService, container: Started): Promise<SeenService> {
    const { id = '80', name, at, alsoV6On, tags = [], meta = {} } = expected;
    const split = at.lastIndexOf(':');
    const portText = at.slice(split + 1);
    const published = async (): Promise<number> => {
      const first = (await world.engine.docker('port', container.name, `${id}/tcp`)).split('\n')[0]!;
      return Number(first.slice(first.lastIndexOf(':') + 1));
    };
    const port = portText === '*' ? await published() : Number(portText);
    return {
      id,
      name,
      address: await addressOf(at.slice(0, split), container.name),
      port,
      tags,
      meta,
      lanV6:
        alsoV6On === undefined
          ? undefined
          : { Address: await inNetwork(container.name, alsoV6On, 'GlobalIPv6Address'), Port: port },
    };
  }

  /** Whether the checks of a service are the expected ones, in any order. */
  function checksHold(seen: readonly SeenCheck[], expected: readonly ExpectedCheck[], at: string): boolean {
    return (
      seen.length === expected.length &&
      expected.every(({ type, status, output = '' }) =>
        seen.some(
          (each) => each.type === type && each.status === status && each.output.includes(output.replaceAll('$AT', at)),
        ),
      )
    );
  }

  test.each(rows)('$title', async (row) => {
    const container = started.get(row)!;
    const wanted = (await Promise.all((row.services ?? []).map((each) => resolved(each, container)))).sort((a, b) =>
      a.id < b.id ? -1 : 1,
    );
    const equal = (found: readonly SeenService[]): boolean => JSON.stringify(found) === JSON.stringify(wanted);

    // That the agent has looked at it is what its log says; only then does absence mean something.
    const { skipped = [] } = row;
    const line = await world.settled(
      () => Promise.resolve(linesOf(world.agent.log, container.name)),
      (lines) => skipped.every(([, reason]) => lines.some((each) => each.includes(`not registered: ${reason}`))),
    );
    for (const [, reason] of skipped) expect(line.join('\n')).toContain(`not registered: ${reason}`);

    const inAgent = await world.settled(() => world.services(container), equal);
    expect(inAgent).toEqual(wanted);
    expect(await world.settled(() => world.inCatalog(container), equal)).toEqual(wanted);

    for (const service of wanted) {
      const { checks = [] } = row.services!.find(({ id = '80' }) => id === service.id)!;
      const at = service.address.includes(':')
        ? `[${service.address}]:${service.port}`
        : `${service.address}:${service.port}`;
      const seen = await world.settled(
        () => world.checks(fullIdOf(service.id, container.name)),
        (found) => checksHold(found, checks, at),
      );
      if (!checksHold(seen, checks, at)) expect(seen, `checks at ${at}`).toEqual(checks);
      const critical = checks.some(({ status }) => status === 'critical');
      // Consul answers SRV with the IPv6 address of a service that has one.
      const endpoint = `${service.lanV6?.Address ?? service.address}:${service.port}`;
      const inDns = await world.settled(
        () => world.inDns(service.name),
        (found) => found.includes(endpoint) !== critical,
      );
      if (critical) expect(inDns).not.toContain(endpoint);
      else expect(inDns).toContain(endpoint);
    }

    const { services, skipped: left, notes } = explained.get(container.name)!;
    const told = services.map(({ id, name, address, port, tags }) => ({ id, name, address, port, tags }));
    expect(told.sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(
      wanted
        .map(({ id, name, address, port, tags }) => ({ id: fullIdOf(id, container.name), name, address, port, tags }))
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
    );
    expect(left.map(({ port, reason }) => [port, reason])).toEqual(skipped);
    for (const note of row.notes ?? []) {
      expect(notes.join('\n')).toContain(note);
      expect(linesOf(world.agent.log, container.name).join('\n')).toContain(note);
    }
    if (row.notes === undefined) expect(notes).toEqual([]);
  });
});

/** IDs of the rows are short when they begin with a port. */
function fullIdOf(id: string, container: string): string {
  return /^\d/.test(id) ? `${hostName}:${container}:${id}` : id;
}

function linesOf(log: string, container: string): readonly string[] {
  return log.split('\n').filter((line) => new RegExp(`container=${container}\\b`).test(line));
}
