/**
 * Thousands of peers behind one socket: every address of 127/8 is this machine, so a socket that is bound to none of
 * them hears what is sent to each. They do what a quiet pool does towards one of its members, in our own wire format.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket as TcpSocket } from 'node:net';
import { encodeShape } from '../../../src/codec/index.ts';
import { consulClientTags, encodeTags } from '../../../src/gossip/index.ts';
import {
  ack,
  decodeBody,
  encodeMessage,
  indirectPing,
  messageType,
  ping,
  type Ping,
  pushPullNode,
} from '../../../src/gossip/memberlist/messages.ts';
import { openPacket, sealPackets, type Security } from '../../../src/gossip/memberlist/packet.ts';
import { encodePushPull, sealStream, StreamMessageReader } from '../../../src/gossip/memberlist/stream-message.ts';
import { encodeMessage as encodeSerf, messageType as serfType, pushPull } from '../../../src/gossip/serf/messages.ts';
import { encodePing } from '../../../src/gossip/serf/ping.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';

const port = 17_946;
const security: Security = { keyring: undefined, verifyIncoming: true, verifyOutgoing: true, label: new Uint8Array() };
const coordinate = { Vec: [0, 0, 0, 0, 0, 0, 0, 0], Error: 1.5, Adjustment: 0, Height: 1e-5 };
const eventSlots = 512;
const versions = Uint8Array.of(1, 5, 2, 2, 5, 4);

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export class Crowd {
  /** `host:port` of each. */
  readonly addresses: readonly string[];
  readonly #random = new SeededRandom(1);
  readonly #hosts: readonly string[];
  readonly #subject: Endpoint;
  readonly #socket: Socket;
  readonly #server: Server;
  /** What each of them holds: all of them, encoded. */
  readonly #state: (join: boolean) => Uint8Array;
  #pinging: NodeJS.Timeout | undefined;
  #sequence = 1;

  static async start(count: number, subject: Endpoint): Promise<Crowd> {
    const crowd = new Crowd(count, subject);
    crowd.#socket.bind(port, '0.0.0.0');
    await once(crowd.#socket, 'listening');
    crowd.#server.listen(port, '0.0.0.0');
    await once(crowd.#server, 'listening');
    return crowd;
  }

  private constructor(count: number, subject: Endpoint) {
    this.#subject = subject;
    this.#hosts = Array.from({ length: count }, (_, i) => `127.60.${i >> 8}.${i & 255}`);
    this.addresses = this.#hosts.map((host) => `${host}:${port}`);
    const nodes = this.#hosts.map((host, i) =>
      encodeShape(pushPullNode, {
        Name: `peer-${i}`,
        Addr: addressBytes(host),
        Port: port,
        Meta: encodeTags(
          consulClientTags({
            datacenter: 'dc1',
            nodeId: this.#random.uuid(),
            version: '1.8.7',
            revision: '',
            aclMode: '0',
          }),
        ),
        Incarnation: 1,
        State: 0,
        Vsn: versions,
      }).slice(),
    );
    const userState = encodeSerf(serfType.pushPull, pushPull, {
      LTime: count + 1,
      StatusLTimes: Object.fromEntries(this.#hosts.map((_, i) => [`peer-${i}`, i + 1])),
      LeftMembers: [],
      EventLTime: 1,
      Events: Array.from({ length: eventSlots }, () => null),
      QueryLTime: 1,
    });
    this.#state = (join) =>
      sealStream(encodePushPull(join, nodes, userState), security, {
        compress: true,
        dialled: false,
        random: this.#random,
      });
    this.#socket = createSocket({ type: 'udp4', reuseAddr: true });
    this.#socket.on('message', (packet, from) => this.#onPacket(packet, from));
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket));
  }

  /** Somebody pings the member so often, from now on. */
  ping(perSecond: number): void {
    clearInterval(this.#pinging);
    if (perSecond === 0 || this.#hosts.length === 0) return;
    this.#pinging = setInterval(() => {
      const i = this.#random.integer(this.#hosts.length);
      this.#send(
        encodeMessage(messageType.ping, ping, {
          SeqNo: this.#sequence++,
          Node: 'subject',
          SourceAddr: addressBytes(this.#hosts[i]!),
          SourcePort: port,
          SourceNode: `peer-${i}`,
        }),
        this.#subject,
      );
    }, 1_000 / perSecond);
  }

  /** Somebody exchanges states with the member. */
  async pushPull(): Promise<void> {
    if (this.#hosts.length === 0) return;
    const socket = connect(this.#subject.port, this.#subject.address);
    socket.on('error', () => {});
    socket.resume();
    socket.write(this.#state(false));
    await once(socket, 'close');
  }

  async close(): Promise<void> {
    clearInterval(this.#pinging);
    this.#socket.close();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #onPacket(packet: Uint8Array, from: Endpoint): void {
    openPacket(
      packet,
      security,
      (type, body) => {
        if (type === messageType.ping) this.#answer(decodeBody(ping, body), from);
        // Whoever is asked about lives.
        if (type === messageType.indirectPing) this.#answer(decodeBody(indirectPing, body), from);
      },
      () => {},
    );
  }

  #answer({ SeqNo }: Pick<Ping, 'SeqNo'>, to: Endpoint): void {
    this.#send(encodeMessage(messageType.ack, ack, { SeqNo, Payload: encodePing(coordinate) }), to);
  }

  #send(message: Uint8Array, to: Endpoint): void {
    for (const packet of sealPackets([message], security, { compress: true, crc: false, random: this.#random })) {
      this.#socket.send(packet, to.port, to.address);
    }
  }

  #serve(socket: TcpSocket): void {
    const reader = new StreamMessageReader(security, { accepted: true });
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const message = reader.push(bytes);
      if (message?.type === 'pushPull') socket.end(this.#state(message.join));
      if (message?.type === 'ping') {
        socket.end(encodeMessage(messageType.ack, ack, { SeqNo: message.ping.SeqNo, Payload: null }));
      }
    });
  }
}

function addressBytes(address: string): Uint8Array {
  return Uint8Array.from(address.split('.'), Number);
}
