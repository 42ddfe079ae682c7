/**
 * A member of ours in a process of its own: reads commands from its standard input and writes answers to its standard
 * output, one JSON object a line; its log goes to standard error.
 */
import { createInterface } from 'node:readline';
import {
  consulSettings,
  createSerf,
  Keyring,
  type KeyResult,
  lanProfile,
  type SerfEvent,
  serfSettings,
} from '../../../src/gossip/index.ts';
import { openAppendFile } from '../../../src/node/append-file.ts';
import { createLogger } from '../../../src/node/logger.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';
import { SystemRandom } from '../../../src/node/system-random.ts';
import { TcpNetwork } from '../../../src/node/tcp-network.ts';
import { UdpNetwork } from '../../../src/node/udp-network.ts';
import type { MemberCommand, MemberConfig } from './own-member.ts';

const config = JSON.parse(process.argv[2]!) as MemberConfig;
const clock = new SystemClock();
const userEvents: string[] = [];
const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
const text = (payload: Uint8Array): string => Buffer.from(payload).toString('utf8');

function onEvent(event: SerfEvent): void {
  if (event.type === 'user') userEvents.push(`${event.name} ${text(event.payload)}`);
  if (event.type === 'query' && event.name === 'uptime') {
    event.respond(bytes(`up ${config.name} ${text(event.payload)}`));
  }
}

const keyring = config.key === undefined ? undefined : new Keyring([Buffer.from(config.key, 'base64')]);
const serf = createSerf({
  nodeName: config.name,
  tags: config.tags,
  bind: { address: config.address, port: config.port },
  profile: { ...lanProfile, deadNodeReclaimMs: config.settings === 'consul' ? 30_000 : 0 },
  settings: config.settings === 'consul' ? consulSettings : serfSettings,
  ...(keyring === undefined ? {} : { keyring }),
  ...(config.snapshot === undefined ? {} : { snapshotFile: openAppendFile(config.snapshot) }),
  onEvent,
  onNameLost: () => process.exit(3),
  clock,
  random: new SystemRandom(),
  datagrams: new UdpNetwork(),
  streams: new TcpNetwork(),
  logger: createLogger({ level: 'debug', json: false, stdout: process.stderr, clock }).logger,
  metrics: { count() {}, gauge() {}, sample() {} },
});

const shown = ({ error, keys }: KeyResult): unknown => ({ error, keys: Object.fromEntries(keys) });

async function act(command: MemberCommand): Promise<unknown> {
  switch (command.op) {
    case 'members':
      return serf.members().map(({ Name, Status, Tags }) => ({ name: Name, status: Status, tags: Tags }));
    case 'join':
      return serf.join(command.addresses, true);
    case 'leave':
      await serf.leave();
      await serf.shutdown();
      return null;
    case 'forceLeave':
      return serf.removeFailedNode(command.name);
    case 'tags':
      return serf.setTags(command.tags);
    case 'event':
      return serf.userEvent(command.name, bytes(command.payload), false);
    case 'events':
      return userEvents;
    case 'query': {
      const handle = serf.query(command.name, bytes(command.payload), {
        wantsAcks: true,
        relayFactor: 2,
        timeoutMs: 3_000,
      });
      await handle.finished;
      return {
        acks: handle.acks,
        responses: Object.fromEntries(handle.responses.map(({ from, payload }) => [from, text(payload)])),
      };
    }
    case 'key':
      return shown(await serf.keys[command.action](command.key));
    case 'keys':
      return shown(await serf.keys.list());
  }
}

await serf.start();
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { id, command } = JSON.parse(line) as { readonly id: number; readonly command: MemberCommand };
    act(command).then(
      (result) => console.log(JSON.stringify({ id, result: result ?? null })),
      (error: unknown) => console.log(JSON.stringify({ id, error: String(error) })),
    );
  })
  .on('close', () => process.exit(0));
console.log(JSON.stringify({ id: 0, result: null }));
