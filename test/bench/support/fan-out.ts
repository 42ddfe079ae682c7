/**
 * Many clients that block on one service: how much each costs while it waits, and how long it takes from a write until
 * the last of them has its answer. The clients are bare sockets, so that most of the time measured is the server's.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { RunningSubject } from './subject.ts';

export interface FanOut {
  /** From before the write to the last wake, one number a write (ms). */
  readonly lastWakeMs: readonly number[];
  /** Resident memory that one waiting client adds, connection included. */
  readonly bytesPerWatcher: number;
}

/** Connections begun at a time; the backlog of a listener is no longer. */
const openingMax = 256;
/** A server that uses less processor time than this in a look has come to rest (ms of {@link lookMs}). */
const restMs = 20;
const lookMs = 500;
/** It is looked at so often at most. */
const looksMax = 60;
/** A wake that takes longer has been lost (ms). */
const limitMs = 60_000;

const service = 'watched';

export async function measureFanOut(subject: RunningSubject, watchers: number, writes: number): Promise<FanOut> {
  let version = 0;
  const write = (): Promise<unknown> =>
    subject.put('/v1/catalog/register', {
      Node: 'elsewhere',
      Address: '192.0.2.1',
      SkipNodeUpdate: true,
      Service: { ID: service, Service: service, Port: 80, Meta: { version: String(version++) } },
    });
  await write();
  await rest(subject);
  const before = subject.residentBytes();
  const clients: Watcher[] = [];
  try {
    while (clients.length < watchers) {
      const some = Array.from({ length: Math.min(openingMax, watchers - clients.length) }, () => new Watcher(subject));
      clients.push(...some);
      await Promise.all(some.map((client) => client.opened));
    }
    await Promise.all(clients.map((client) => client.ask()));
    let answers = clients.map((client) => client.ask());
    await rest(subject);
    const bytesPerWatcher = (subject.residentBytes() - before) / watchers;
    const lastWakeMs: number[] = [];
    for (let done = 0; done < writes; done++) {
      const startMs = performance.now();
      await Promise.all([write(), ...answers]);
      lastWakeMs.push(performance.now() - startMs);
      answers = clients.map((client) => client.ask());
      await rest(subject);
    }
    return { lastWakeMs, bytesPerWatcher };
  } finally {
    for (const client of clients) client.close();
  }
}

/** Until every question has arrived and nothing is left to be done. */
async function rest(subject: RunningSubject): Promise<void> {
  for (let looks = 0; looks < looksMax; looks++) {
    const beforeMs = subject.processorMs();
    await pause(lookMs);
    if (subject.processorMs() - beforeMs <= restMs) return;
  }
  throw new Error(`${subject.name} does not come to rest`);
}

class Watcher {
  readonly opened: Promise<unknown>;
  readonly #socket: Socket;
  readonly #host: string;
  #index = '0';
  #text = '';
  #answered: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;

  constructor({ address, target }: RunningSubject) {
    this.#host = `${address}:${target.port}`;
    this.#socket = connect({ host: address, port: target.port!, noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (text: string) => this.#read(text));
    this.#socket.setTimeout(limitMs, () => this.#answered?.reject(new Error('a watcher was not woken')));
    this.#socket.on('error', (error) => this.#answered?.reject(error));
    this.#socket.on('close', () => this.#answered?.reject(new Error('the server closed the connection of a watcher')));
    this.opened = once(this.#socket, 'connect');
  }

  /** Blocks on the index of the last answer; the first question does not block. */
  ask(): Promise<void> {
    const answer = new Promise<void>((resolve, reject) => (this.#answered = { resolve, reject }));
    // Whoever waits for it hears of a failure; while nobody does, it must not end the process.
    answer.catch(() => undefined);
    this.#socket.write(
      `GET /v1/health/service/${service}?index=${this.#index}&wait=10m HTTP/1.1\r\nHost: ${this.#host}\r\n\r\n`,
    );
    return answer;
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(text: string): void {
    this.#text += text;
    const end = this.#text.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = this.#text.slice(0, end);
    if (this.#text.length < end + 4 + Number(/^Content-Length: (\d+)/im.exec(head)?.[1])) return;
    this.#index = /^X-Consul-Index: (\d+)/im.exec(head)?.[1] ?? '0';
    this.#text = '';
    this.#answered?.resolve();
  }
}
