/**
 * Observations as statsd or DogStatsD datagrams (`statsd_address`, `dogstatsd_addr`). Lines are gathered into datagrams
 * that fit an Ethernet frame; a datagram nobody receives is lost, which is what statsd means by fire and forget.
 */
import { createSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import type { Clock, MetricLabels, Timer } from '../ports/index.ts';
import type { MetricOutlet } from './metrics-sink.ts';

/** Payload of a datagram, bytes: below the usual 1500 minus headers, also inside overlays (MTU 1450). */
const datagramBytesMax = 1400;
/** A line waits at most so long for others, ms. */
const flushMs = 100;

export interface StatsdOptions {
  readonly clock: Clock;
  readonly send: (datagram: string) => void;
  /** DogStatsD: labels become tags, and these tags (`dogstatsd_tags`) stand on every line. Absent: plain statsd. */
  readonly dogTags?: readonly string[];
}

/** Lines `name:value|c`, `|g`, `|ms`. Plain statsd has no labels: their values become further parts of the name. */
export function createStatsdOutlet({ clock, send, dogTags }: StatsdOptions): MetricOutlet & { flush(): void } {
  let waiting = '';
  let timer: Timer | undefined;

  const flush = (): void => {
    timer?.cancel();
    timer = undefined;
    if (waiting !== '') send(waiting);
    waiting = '';
  };
  const emit = (name: readonly string[], value: number, type: 'c' | 'g' | 'ms', labels: MetricLabels): void => {
    const parts = dogTags ? name : [...name, ...labels.map((label) => label.value)];
    const tags = dogTags ? [...dogTags, ...labels.map((label) => `${label.name}:${label.value}`)] : [];
    const suffix = tags.length === 0 ? '' : `|#${tags.map(cleanTag).join(',')}`;
    const line = `${parts.map(clean).join('.')}:${value.toFixed(6)}|${type}${suffix}\n`;
    if (waiting !== '' && Buffer.byteLength(waiting) + Buffer.byteLength(line) > datagramBytesMax) flush();
    waiting += line;
    timer ??= clock.after(flushMs, flush);
  };
  return {
    count: (name, value, labels) => emit(name, value, 'c', labels),
    gauge: (name, value, labels) => emit(name, value, 'g', labels),
    sample: (name, value, labels) => emit(name, value, 'ms', labels),
    flush,
  };
}

/** Characters with a meaning in a line must not come from a name or value. */
const clean = (part: string): string => part.replaceAll(/[:|@#\s]/g, '_');
const cleanTag = (tag: string): string => tag.replaceAll(/[|,\s]/g, '_');

/** Bytes that wait for a statsite that takes none; above, lines are lost. */
const statsiteBytesMax = 1024 * 1024;

/**
 * The same lines over TCP to `host:port` (`statsite_address`). A connection that fails is made anew with the next lines;
 * those that find none are lost. It does not keep the process alive.
 */
export function openStatsiteSocket(address: string): { send(lines: string): void; close(): void } {
  const { host, port } = endpointOf(address);
  let socket: Socket | undefined;
  return {
    send: (lines) => {
      if (socket === undefined) {
        const opened = connect({ host, port });
        opened.unref();
        opened.on('error', () => {});
        opened.on('close', () => (socket = undefined));
        // What it may say is of no interest, but has to be read.
        opened.resume();
        socket = opened;
      }
      if (socket.writableLength < statsiteBytesMax) socket.write(lines);
    },
    close: () => socket?.destroy(),
  };
}

function endpointOf(address: string): { readonly host: string; readonly port: number } {
  const [, host = '127.0.0.1', port = '8125'] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? [undefined, address];
  return { host, port: Number(port) };
}

/** A UDP sender to `host:port`; errors are ignored. The socket does not keep the process alive. */
export function openStatsdSocket(address: string): { send(datagram: string): void; close(): void } {
  const { host, port } = endpointOf(address);
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.unref();
  socket.on('error', () => {});
  return {
    send: (datagram) => socket.send(datagram, port, host, () => {}),
    close: () => socket.close(),
  };
}
