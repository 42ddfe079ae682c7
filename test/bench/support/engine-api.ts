/**
 * The few Engine requests the bench makes, straight to the socket: starting the docker command line for each would cost
 * more than what is measured.
 */
import { Agent, request } from 'node:http';
import { http, type HttpTarget, json } from './http.ts';

/** The oldest API that all current engines speak. */
const apiVersion = 'v1.41';

export interface LifeEvent {
  readonly id: string;
  readonly action: 'start' | 'die';
  /** The engine's own time of the event, Unix time in ms. */
  readonly atMs: number;
}

export interface ContainerPlan {
  readonly image: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Publishes this TCP port on a port of the engine's choice. */
  readonly publish?: number;
}

export class EngineApi {
  readonly #target: HttpTarget;

  /** @param host `unix:///…` */
  constructor(host: string) {
    if (!host.startsWith('unix://')) throw new Error(`the bench wants an engine on a unix socket, not ${host}`);
    this.#target = { socketPath: host.slice('unix://'.length), agent: new Agent({ keepAlive: true }) };
  }

  async create({ image, labels = {}, publish }: ContainerPlan): Promise<string> {
    const port = `${publish}/tcp`;
    const { Id } = await json<{ Id: string }>(this.#target, 'POST', `/${apiVersion}/containers/create`, {
      Image: image,
      Labels: labels,
      StopSignal: 'SIGKILL',
      ...(publish === undefined
        ? {}
        : { ExposedPorts: { [port]: {} }, HostConfig: { PortBindings: { [port]: [{ HostPort: '' }] } } }),
    });
    return Id;
  }

  async start(id: string): Promise<void> {
    await json(this.#target, 'POST', `/${apiVersion}/containers/${id}/start`);
  }

  async kill(id: string): Promise<void> {
    await json(this.#target, 'POST', `/${apiVersion}/containers/${id}/kill`);
  }

  async isRunning(id: string): Promise<boolean> {
    const path = `/${apiVersion}/containers/${id}/json`;
    return (await json<{ State: { Running: boolean } }>(this.#target, 'GET', path)).State.Running;
  }

  /** Removes it, running or not. */
  async remove(id: string): Promise<void> {
    const { status, text } = await http(this.#target, 'DELETE', `/${apiVersion}/containers/${id}?force=true&v=true`);
    if (status >= 300 && status !== 404) throw new Error(`DELETE container: ${status} ${text.trim()}`);
  }

  /** Calls back with each start and end of a container. @returns how to end it, once the stream stands. */
  follow(onEvent: (event: LifeEvent) => void): Promise<() => void> {
    const filters = encodeURIComponent(JSON.stringify({ type: ['container'], event: ['start', 'die'] }));
    return new Promise((resolve, reject) => {
      const stream = request(
        { ...this.#target, agent: false, path: `/${apiVersion}/events?filters=${filters}` },
        (response) => {
          let rest = '';
          response.setEncoding('utf8');
          response.on('error', () => undefined);
          response.on('data', (chunk: string) => {
            const lines = (rest + chunk).split('\n');
            rest = lines.pop() ?? '';
            for (const line of lines) {
              const id = /"ID":"([0-9a-f]{64})"/.exec(line)?.[1];
              const nanoseconds = /"timeNano":(\d+)/.exec(line)?.[1];
              const action = line.includes('"Action":"start"') ? 'start' : 'die';
              if (id !== undefined && nanoseconds !== undefined) {
                onEvent({ id, action, atMs: Number(nanoseconds) / 1e6 });
              }
            }
          });
          resolve(() => stream.destroy());
        },
      );
      stream.on('error', reject);
      stream.end();
    });
  }
}
