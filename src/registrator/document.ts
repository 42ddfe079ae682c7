/**
 * What templates see (R26): the container's inspect document with Go's field names, as the reference program gives it,
 * and `.Portolan` with what people usually want. Objects are structures, where a wrong field is an error; `Map`s are
 * maps, where a missing key is empty.
 *
 * | field                                   | meaning                                                     |
 * | --------------------------------------- | ----------------------------------------------------------- |
 * | `.ID`                                   | full container id                                           |
 * | `.Name`                                 | name with the engine's leading slash                        |
 * | `.Created` `.Image` `.RestartCount`     | as inspect gives them; `.Image` is the image id             |
 * | `.Config.Image .Hostname .Labels .Env`  | image reference; map of labels; list of `K=V`               |
 * | `.Config.ExposedPorts .StopSignal`      | map `80/tcp` → empty                                        |
 * | `.State.Status .Running .Pid …`         | also `.Paused .Restarting .OOMKilled .ExitCode .StartedAt`  |
 * | `.HostConfig.NetworkMode`               |                                                             |
 * | `.NetworkSettings.IPAddress .Networks`  | networks: map name → `.IPAddress .Gateway .MacAddress …`    |
 * | `.Portolan.ContainerName .ShortID`      | name without slash; 12 digits                               |
 * | `.Portolan.Image .ImageName .ImageTag`  | reference; path without tag; tag or "latest"                |
 * | `.Portolan.Network`                     | network whose address the container would be registered with |
 * | `.Portolan.Env .Host`                   | allowed environment variables; facts about the host: maps   |
 * | `.Portolan.Hostname .EngineName`        | of the agent, of the engine                                 |
 */
import type { ContainerInspect } from '../ports/index.ts';
import { containerName, shortId } from './facts.ts';
import type { RegistratorOptions } from './options.ts';

export type TemplateValue =
  | string
  | number
  | boolean
  | undefined
  | readonly TemplateValue[]
  | ReadonlyMap<string, TemplateValue>
  | { readonly [field: string]: TemplateValue };

type DocumentOptions = Pick<RegistratorOptions, 'envAllow' | 'hostMeta' | 'hostname'>;

export function documentOf(
  inspect: ContainerInspect,
  options: DocumentOptions,
  more: { readonly network: string; readonly engineName: string },
): TemplateValue {
  const { Config: config, State: state, HostConfig: host, NetworkSettings: settings } = inspect;
  const image = config?.Image ?? '';
  const imageName = image.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
  const env = config?.Env ?? [];
  return {
    ID: inspect.Id,
    Name: inspect.Name ?? '',
    Created: inspect.Created ?? '',
    Image: inspect.Image ?? '',
    RestartCount: inspect.RestartCount ?? 0,
    Config: {
      Hostname: config?.Hostname ?? '',
      Image: image,
      Env: env,
      Labels: new Map(Object.entries(config?.Labels ?? {})),
      ExposedPorts: new Map(Object.keys(config?.ExposedPorts ?? {}).map((port) => [port, ''] as const)),
      StopSignal: config?.StopSignal ?? '',
    },
    State: {
      Status: state?.Status ?? '',
      Running: state?.Running ?? false,
      Paused: state?.Paused ?? false,
      Restarting: state?.Restarting ?? false,
      OOMKilled: state?.OOMKilled ?? false,
      Dead: state?.Dead ?? false,
      Pid: state?.Pid ?? 0,
      ExitCode: state?.ExitCode ?? 0,
      Error: state?.Error ?? '',
      StartedAt: state?.StartedAt ?? '',
      FinishedAt: state?.FinishedAt ?? '',
    },
    HostConfig: { NetworkMode: host?.NetworkMode ?? '', PidMode: host?.PidMode ?? '' },
    NetworkSettings: {
      IPAddress: settings?.IPAddress ?? '',
      GlobalIPv6Address: settings?.GlobalIPv6Address ?? '',
      Networks: new Map(
        Object.entries(settings?.Networks ?? {}).map(([name, endpoint]): [string, TemplateValue] => [
          name,
          {
            NetworkID: endpoint?.NetworkID ?? '',
            IPAddress: endpoint?.IPAddress ?? '',
            GlobalIPv6Address: endpoint?.GlobalIPv6Address ?? '',
            Gateway: endpoint?.Gateway ?? '',
            MacAddress: endpoint?.MacAddress ?? '',
            Aliases: endpoint?.Aliases ?? [],
          },
        ]),
      ),
    },
    Portolan: {
      ContainerName: containerName(inspect),
      ShortID: shortId(inspect.Id),
      Image: image,
      ImageName: imageName,
      ImageTag: /:([^/:@]*)(?:@.*)?$/.exec(image.replace(/@.*$/, ''))?.[1] ?? 'latest',
      Network: more.network,
      EngineName: more.engineName,
      Hostname: options.hostname,
      Env: new Map(
        env
          .map((entry): [string, string] => [entry.split('=', 1)[0]!, entry.slice(entry.indexOf('=') + 1)])
          .filter(([key]) => options.envAllow.includes(key)),
      ),
      Host: new Map(Object.entries(options.hostMeta)),
    },
  };
}

/** A document with every field and nothing in it: templates are checked against it at start-up. */
export function sampleDocument(options: DocumentOptions): TemplateValue {
  return documentOf({ Id: '0'.repeat(64), Name: '/sample' }, options, { network: '', engineName: '' });
}
