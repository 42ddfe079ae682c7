/**
 * From the engine's event to an answer. One container at a time starts and ends; a blocking query hangs at the agent,
 * as a proxy's would, and in a second series DNS is asked back to back. Times are counted from the engine's own time of
 * the event, which lies before `docker start` returns.
 */
import { createSocket } from 'node:dgram';
import { decode, encode } from 'dns-packet';
import type { Context } from './support/context.ts';
import type { EngineApi } from './support/engine-api.ts';
import { withEngine } from './support/engine-agent.ts';
import { http } from './support/http.ts';
import { progress, type Row, type Section, show } from './support/report.ts';
import { median, quantile } from './support/stats.ts';
import type { RunningSubject } from './support/subject.ts';
import { calibrate, wallMs } from './support/wall-clock.ts';

const service = 'bench';
const starts = 200;
const quickStarts = 20;
/** Starts before the first that counts: the agent's code is compiled by then. */
const warmUpStarts = 10;
/** An event that takes longer has been lost (ms). */
const limitMs = 30_000;
/** What the median must stay below (ms): the project's promise for an answer after an event. */
const promisedMedianMs = 50;

export async function measureRegistration(context: Context): Promise<Section> {
  const count = context.quick ? quickStarts : starts;
  const samples = await withEngine(context, [], async ({ api, startAgent }) => {
    const agent = await startAgent();
    const series = new Series(api, agent);
    await series.open();
    try {
      for (let done = 0; done < warmUpStarts; done++) await series.overHttp();
      series.clear();
      for (let done = 0; done < count; done++) {
        await series.overHttp();
        if ((done + 1) % 50 === 0) progress(`registration: ${done + 1} of ${count} starts, HTTP`);
      }
      for (let done = 0; done < count; done++) {
        await series.overDns();
        if ((done + 1) % 50 === 0) progress(`registration: ${done + 1} of ${count} starts, DNS`);
      }
    } finally {
      series.close();
    }
    return series.samples;
  });
  const row = (what: string, sample: readonly number[], limited: boolean): Row => ({
    cells: [
      what,
      String(sample.length),
      ...[median(sample), quantile(sample, 0.9), quantile(sample, 0.99), Math.max(...sample)].map((ms) => show(ms)),
      limited ? `median < ${promisedMedianMs}` : '',
    ],
    ...(limited ? { kept: median(sample) < promisedMedianMs } : {}),
  });
  return {
    title: 'From an engine event to an answer',
    method:
      'One container at a time. A blocking query on /v1/health/service hangs before the start; DNS (SRV) is asked back to back from the event on.',
    columns: ['ms', 'samples', 'median', 'p90', 'p99', 'max', 'limit'],
    rows: [
      row('start event → HTTP answer', samples.startToHttp, true),
      row('start event → DNS answer', samples.startToDns, true),
      row('`docker start` returns → HTTP answer', samples.returnToHttp, false),
      row('die event → the engine says it in an inspect', samples.dieToInspect, false),
      row('die event → gone from the HTTP answer', samples.dieToHttp, false),
    ],
    data: samples,
  };
}

interface Samples {
  readonly startToHttp: number[];
  readonly startToDns: number[];
  readonly returnToHttp: number[];
  readonly dieToInspect: number[];
  readonly dieToHttp: number[];
}

class Series {
  readonly samples: Samples = { startToHttp: [], startToDns: [], returnToHttp: [], dieToInspect: [], dieToHttp: [] };
  readonly #api: EngineApi;
  readonly #agent: RunningSubject;
  readonly #socket = createSocket('udp4');
  readonly #events = new Map<string, number>();
  #onEvent: () => void = () => undefined;
  #endEvents: () => void = () => undefined;
  #index = '1';

  constructor(api: EngineApi, agent: RunningSubject) {
    this.#api = api;
    this.#agent = agent;
  }

  async open(): Promise<void> {
    this.#endEvents = await this.#api.follow(({ id, action, atMs }) => {
      this.#events.set(`${action} ${id}`, atMs);
      this.#onEvent();
    });
  }

  close(): void {
    this.#endEvents();
    this.#socket.close();
  }

  clear(): void {
    for (const sample of Object.values(this.samples) as number[][]) sample.length = 0;
  }

  /** One container starts and ends, watched by a blocking query. */
  async overHttp(): Promise<void> {
    const id = await this.#create();
    calibrate();
    const answered = this.#watch(1);
    await this.#api.start(id);
    const returnedMs = wallMs();
    const startedMs = await this.#event(`start ${id}`);
    const answeredMs = await answered;
    this.samples.startToHttp.push(answeredMs - startedMs);
    this.samples.returnToHttp.push(answeredMs - returnedMs);
    calibrate();
    const gone = this.#watch(0);
    await this.#api.kill(id);
    const diedMs = await this.#event(`die ${id}`);
    const inspected = this.#api.isRunning(id).then(() => wallMs());
    this.samples.dieToHttp.push((await gone) - diedMs);
    this.samples.dieToInspect.push((await inspected) - diedMs);
    await this.#api.remove(id);
  }

  /** One container starts and ends, and DNS is asked until it knows. */
  async overDns(): Promise<void> {
    const id = await this.#create();
    calibrate();
    const startedMs = this.#event(`start ${id}`);
    const answered = startedMs.then(() => this.#askUntilKnown());
    await this.#api.start(id);
    this.samples.startToDns.push((await answered) - (await startedMs));
    const gone = this.#watch(0);
    await this.#api.kill(id);
    await gone;
    await this.#api.remove(id);
  }

  #create(): Promise<string> {
    return this.#api.create({ image: 'acme/bare', publish: 80, labels: { SERVICE_NAME: service } });
  }

  /** Resolves with the engine's time of an event, once it was announced. */
  async #event(key: string): Promise<number> {
    for (const endMs = performance.now() + limitMs; performance.now() < endMs;) {
      const atMs = this.#events.get(key);
      if (atMs !== undefined) return atMs;
      await new Promise<void>((resolve) => (this.#onEvent = resolve));
    }
    throw new Error(`the engine never announced ${key}`);
  }

  /** Blocks until so many instances are there; the moment at which the answer came. */
  async #watch(instances: number): Promise<number> {
    for (const endMs = performance.now() + limitMs; performance.now() < endMs;) {
      const { headers, text } = await http(
        this.#agent.target,
        'GET',
        `/v1/health/service/${service}?index=${this.#index}&wait=20s`,
      );
      const atMs = wallMs();
      this.#index = String(headers['x-consul-index']);
      if ((JSON.parse(text) as unknown[]).length === instances) return atMs;
    }
    throw new Error(`never saw ${instances} instances\n${this.#agent.log}`);
  }

  #askUntilKnown(): Promise<number> {
    const question = encode({
      type: 'query',
      id: 1,
      flags: 0,
      questions: [{ type: 'SRV', name: `${service}.service.consul` }],
    });
    return new Promise((resolve, reject) => {
      const ask = (): void => this.#socket.send(question, this.#agent.dnsPort, this.#agent.address);
      const timer = setTimeout(() => reject(new Error(`DNS never knew\n${this.#agent.log}`)), limitMs);
      const onMessage = (message: Buffer): void => {
        const atMs = wallMs();
        if ((decode(message).answers ?? []).length === 0) {
          ask();
          return;
        }
        clearTimeout(timer);
        this.#socket.off('message', onMessage);
        resolve(atMs);
      };
      this.#socket.on('message', onMessage);
      ask();
    });
  }
}
