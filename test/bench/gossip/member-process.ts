/** The member under measurement: one real serf member in a process of its own, which says every second what it uses. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { consulClientTags, consulSettings, createSerf, lanProfile } from '../../../src/gossip/index.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';
import { SystemRandom } from '../../../src/node/system-random.ts';
import { TcpNetwork } from '../../../src/node/tcp-network.ts';
import { UdpNetwork } from '../../../src/node/udp-network.ts';
import { silentLogger } from '../../helpers/logger.ts';
import type { Usage } from './member.ts';

const [address, port, joinAddress] = process.argv.slice(2) as [string, string, string];
const reportMs = 1_000;

let sentBytes = 0;
let suspicions = 0;
const random = new SystemRandom();
const serf = createSerf({
  nodeName: 'subject',
  tags: consulClientTags({
    datacenter: 'dc1',
    nodeId: random.uuid(),
    version: '1.8.7',
    revision: '',
    aclMode: '0',
  }),
  bind: { address, port: Number(port) },
  profile: { ...lanProfile, deadNodeReclaimMs: 30_000 },
  settings: consulSettings,
  onEvent: () => {},
  clock: new SystemClock(),
  random,
  datagrams: new UdpNetwork(),
  streams: new TcpNetwork(),
  logger: {
    ...silentLogger,
    info: (message) => {
      if (message.startsWith('suspecting')) suspicions++;
    },
  },
  metrics: {
    count: (name, value = 1) => {
      if (name.join('.') === 'memberlist.udp.sent') sentBytes += value;
    },
    gauge() {},
    sample() {},
  },
});
await serf.start();
const loop = monitorEventLoopDelay({ resolution: 1 });
loop.enable();
if (joinAddress !== '') {
  const { joined, errors } = await serf.join([joinAddress], true);
  if (joined === 0) throw new Error(errors.join());
}
setInterval(() => {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  const usage: Usage = {
    cpuMs: (user + system) / 1_000,
    wallMs: performance.now(),
    residentBytes: rss,
    heapBytes: heapUsed,
    members: serf.numAlive,
    longestPauseMs: loop.max / 1e6,
    sentBytes,
    suspicions,
  };
  loop.reset();
  console.log(JSON.stringify(usage));
}, reportMs);
process.on('disconnect', () => process.exit(0));
