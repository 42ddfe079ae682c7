/**
 * What the mapping is told about one container, and small readings of it that several mechanisms share. Facts are
 * documents of the engine and nothing else: equal facts give equal services, always.
 */
import type { ContainerInspect } from '../ports/index.ts';

export interface ContainerFacts {
  readonly inspect: ContainerInspect;
  /** The container whose network this one uses (`container:` mode); undefined when it could not be found. */
  readonly owner?: ContainerInspect;
  /** Repository tags of the image, asked for when the container was started by image id. */
  readonly imageTags?: readonly string[];
  /** Whether the container has been healthy in this run, as far as we have seen (delay until healthy). */
  readonly everHealthy?: boolean;
  /** Why the service is critical whatever its checks say: paused, restart loop, stopping, exit code. */
  readonly note?: string;
}

/** A decision and why it was taken; `explain` prints these. */
export interface Decision {
  readonly what: string;
  readonly value: string;
  readonly because: string;
}

/** A port that is not registered. */
export interface Skipped {
  /** `80/tcp`, or "" for the whole container. */
  readonly port: string;
  readonly reason: string;
  /** What to set so that it is registered. */
  readonly hint: string;
}

/** Length of a container id as people see it. */
export const shortIdLength = 12;

export function shortId(id: string): string {
  return id.slice(0, shortIdLength);
}

/** Name without the engine's leading slash; the short id when the engine gives none. */
export function containerName(inspect: ContainerInspect): string {
  const name = (inspect.Name ?? '').replace(/^\//, '');
  return name === '' ? shortId(inspect.Id) : name;
}

export function labelsOf(inspect: ContainerInspect): Readonly<Record<string, string>> {
  return inspect.Config?.Labels ?? {};
}

/** `bridge` also for the engine's word `default` and for none. */
export function networkModeOf(inspect: ContainerInspect): string {
  const mode = inspect.HostConfig?.NetworkMode ?? '';
  return mode === '' || mode === 'default' ? 'bridge' : mode;
}

/** Name or id behind `container:`; undefined in other modes. */
export function networkOwnerOf(inspect: ContainerInspect): string | undefined {
  const mode = networkModeOf(inspect);
  return mode.startsWith('container:') ? mode.slice('container:'.length) : undefined;
}

/** Whether it runs now, so that its runtime ports mean something (§4, last row). */
export function isRunning(inspect: ContainerInspect): boolean {
  const state = inspect.State;
  return state?.Running === true && state.Restarting !== true && state.Dead !== true;
}

export function hasHealthcheck(inspect: ContainerInspect): boolean {
  const status = inspect.State?.Health?.Status;
  if (status !== undefined && status !== '' && status !== 'none') return true;
  const test = inspect.Config?.Healthcheck?.Test;
  return test !== undefined && test !== null && test.length > 0 && test[0] !== 'NONE';
}

/** One `*` glob over the whole text. */
export function matchesGlob(pattern: string, text: string): boolean {
  const source = pattern.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${source.join('.*')}$`).test(text);
}
