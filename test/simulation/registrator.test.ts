// Random days of a host: containers come and go, the engine and the backend fail, the registrator crashes. After a
// quiet time the backend holds exactly what runs. A failure names its seed; `PORTOLAN_SEED=n` runs that one alone.
import { describe, expect, test } from 'vitest';
import { createRegistrator, ownershipOf, type Registrator } from '../../src/registrator/index.ts';
import { FakeEngine } from '../../src/sim/fake-engine.ts';
import { SeededRandom } from '../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../src/sim/virtual-clock.ts';
import { seedsOf } from '../helpers/settings.ts';
import { FakeBackend, noMetrics, optionsOf, silentLogger } from '../unit/registrator/support.ts';

const seeds = seedsOf({ byHand: 350, inCi: 350 });
const steps = 40;
/** The slow timer's first tick is long after the end of the day. */
const neverMs = 1e9;
/** As in the registrator's options. */
const resyncMsDefault = 60_000;
/** Longer than every backoff, timer and stop timeout together. */
const quietMs = 200_000;

interface Box {
  readonly id: string;
  state: 'running' | 'paused' | 'restarting' | 'exited';
  readonly ports: number;
  /** Asks for the same SERVICE_ID as others for its first port. */
  readonly shared: boolean;
  name: string;
}

class Day {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly engine: FakeEngine;
  readonly backend: FakeBackend;
  readonly boxes: Box[] = [];
  readonly history: string[] = [];
  registrator: Registrator;
  #names = 0;
  #hostPort = 0;

  readonly resyncMs: number;

  constructor(seed: number, resyncMs: number) {
    this.resyncMs = resyncMs;
    this.random = new SeededRandom(seed);
    this.engine = new FakeEngine({ clock: this.clock, random: this.random.fork(), latencyMs: 4, eventLatencyMs: 1 });
    this.backend = new FakeBackend(this.clock);
    const network = this.random.fork();
    this.backend.latency = () => network.integer(30);
    this.backend.addForeign('human', 'human');
    this.backend.addForeign('reghost:manual:80', 'manual');
    this.registrator = this.boot();
  }

  boot(): Registrator {
    const registrator = createRegistrator({
      engine: this.engine,
      backend: this.backend,
      options: optionsOf({ flapsMax: 0, resyncMs: this.resyncMs }),
      clock: this.clock,
      random: this.random.fork(),
      logger: silentLogger,
      metrics: noMetrics,
    });
    registrator.start();
    return registrator;
  }

  pick(...states: Box['state'][]): Box | undefined {
    const boxes = this.boxes.filter((box) => states.includes(box.state));
    return boxes[this.random.integer(boxes.length)];
  }

  run(name: string): void {
    const ports = 1 + this.random.integer(2);
    const published = Object.fromEntries(
      Array.from({ length: ports }, (_, i) => [
        `${80 + i}/tcp`,
        [{ HostIp: '', HostPort: String(30_000 + this.#hostPort++) }],
      ]),
    );
    const shared = this.random.next() < 0.2;
    const id = this.engine.run({
      name,
      published,
      ...(this.random.next() < 0.3 ? { healthcheck: { Test: ['CMD', 'true'] } } : {}),
      ...(shared ? { labels: { SERVICE_ID: 'shared', SERVICE_TAGS: 'a,b' } } : {}),
    });
    this.boxes.push({ id, state: 'running', ports, shared, name });
  }

  async step(): Promise<void> {
    const { engine, random } = this;
    const acts: readonly (readonly [string, () => void | Promise<void>])[] = [
      ['run', () => this.run(`box-${this.#names++}`)],
      ['run', () => this.run(`box-${this.#names++}`)],
      ['stop', () => this.with(['running'], (box) => void (engine.stop(box.id), (box.state = 'exited')))],
      [
        'die',
        () => this.with(['running'], (box) => void (engine.die(box.id, random.integer(3)), (box.state = 'exited'))),
      ],
      ['start', () => this.with(['exited'], (box) => void (engine.start(box.id), (box.state = 'running')))],
      ['restart', () => this.with(['running'], (box) => engine.restart(box.id))],
      ['kill', () => this.with(['running'], (box) => engine.kill(box.id, random.next() < 0.5 ? 1 : 15))],
      ['pause', () => this.with(['running'], (box) => void (engine.pause(box.id), (box.state = 'paused')))],
      ['unpause', () => this.with(['paused'], (box) => void (engine.unpause(box.id), (box.state = 'running')))],
      ['loop', () => this.with(['running'], (box) => void (engine.dieRestarting(box.id), (box.state = 'restarting')))],
      ['again', () => this.with(['restarting'], (box) => void (engine.startAgain(box.id), (box.state = 'running')))],
      [
        'rename',
        () => this.with(['running', 'exited'], (box) => engine.rename(box.id, (box.name = `renamed-${this.#names++}`))),
      ],
      [
        'remove',
        () =>
          this.with(['running', 'exited'], (box) => {
            engine.remove(box.id);
            this.boxes.splice(this.boxes.indexOf(box), 1);
          }),
      ],
      [
        'replace under the same name',
        () =>
          this.with(['running'], (box) => {
            engine.remove(box.id);
            this.boxes.splice(this.boxes.indexOf(box), 1);
            this.run(box.name);
          }),
      ],
      ['network', () => this.with(['running'], (box) => engine.connect(box.id, 'n1'))],
      ['stream breaks', () => engine.breakStreams()],
      ['engine down', () => engine.down()],
      ['engine up', () => engine.up({ newProcess: random.next() < 0.5 })],
      ['engine fails', () => engine.failNext('inspect')],
      ['backend down', () => void (this.backend.down = true)],
      ['backend up', () => void ((this.backend.down = false), (this.backend.deaf = false))],
      ['backend deaf', () => void (this.backend.deaf = true)],
      [
        'backend forgets',
        () =>
          // Nobody can know of this without looking.
          this.resyncMs === resyncMsDefault &&
          this.backend.services.delete([...this.backend.services.keys()].find((id) => id !== 'human') ?? ''),
      ],
      [
        'registrator crashes',
        () => {
          void this.registrator.stop('leave-services');
          this.registrator = this.boot();
        },
      ],
    ];
    const [name, act] = acts[random.integer(acts.length)]!;
    this.history.push(`${this.clock.monotonicMs()} ${name}`);
    await act();
    await this.clock.advance(random.next() < 0.5 ? random.integer(10) : random.integer(5_000));
  }

  with(states: Box['state'][], act: (box: Box) => void): void {
    const box = this.pick(...states);
    if (box !== undefined) act(box);
  }

  /** What should be registered: container id and port → status of the container. */
  expected(): string[] {
    return this.boxes
      .filter((box) => box.state === 'running' || box.state === 'paused')
      .flatMap((box) => Array.from({ length: box.ports }, (_, i) => `${box.id} ${80 + i}/tcp ${box.state}`))
      .sort();
  }

  actual(): string[] {
    return [...this.backend.services.values()]
      .flatMap((held) => {
        const owner = ownershipOf(held);
        if (owner === undefined) return [];
        const paused = held.checks.get(`service:${held.id}:container`)?.status === 'critical';
        return [`${owner.container} ${owner.port} ${paused ? 'paused' : 'running'}`];
      })
      .sort();
  }
}

describe('the registrator', () => {
  test.each([
    ['with its slow timer, whatever was lost', resyncMsDefault],
    ['from events and reconnections alone, when nothing was lost silently', Infinity],
  ])(
    `makes the catalog equal to the engine after any ${steps} events, ${seeds.length} seeds: %s`,
    async (_, resyncMs) => {
      for (const seed of seeds) {
        const day = new Day(seed, resyncMs === Infinity ? neverMs : resyncMs);
        for (let i = 0; i < steps; i++) await day.step();
        day.engine.up({ newProcess: false });
        day.backend.down = false;
        day.backend.deaf = false;
        await day.clock.advance(quietMs);
        const replay = `seed ${seed}; replay: PORTOLAN_SEED=${seed} npx vitest run test/simulation/registrator.test.ts\n${day.history.join('\n')}`;
        // Of two containers that ask for one SERVICE_ID only one can have it; the sum is checked by container and port.
        const shared = new Set(day.boxes.filter((box) => box.shared).map((box) => `${box.id} 80/tcp`));
        const alone = (lines: string[]): string[] =>
          lines.filter((line) => !shared.has(line.split(' ').slice(0, 2).join(' ')));
        expect(alone(day.actual()), replay).toEqual(alone(day.expected()));
        const claimants = day.expected().filter((line) => shared.has(line.split(' ').slice(0, 2).join(' ')));
        expect(day.backend.services.has('shared'), replay).toBe(claimants.length > 0);
        // Foreign services are never touched, but for the one that the day itself forgets.
        expect(day.backend.services.has('human'), replay).toBe(true);
        // Quiet means quiet: nothing is written any more.
        const writes = day.backend.writes.length;
        await day.clock.advance(quietMs);
        expect(day.backend.writes.slice(writes), replay).toEqual([]);
        await day.registrator.stop('leave-services');
        // Requests that were under way end in the fakes; nothing of the registrator may tick on.
        await day.clock.advance(1_000);
        expect(day.clock.pendingTimers, replay).toBe(0);
      }
    },
    60_000,
  );
});
