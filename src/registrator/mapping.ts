/**
 * Container facts in, desired services out (reference/registrator.md §4–§7). Pure: no clock, no chance, no network.
 * Every service carries the decisions that made it, every port left out carries what to set.
 */
import type { CheckDefinition, ServiceDefinition } from '../model/index.ts';
import { chooseNetwork, locate } from './address.ts';
import { buildChecks, type FedCheck } from './checks.ts';
import { documentOf } from './document.ts';
import { type ContainerFacts, containerName, type Decision, hasHealthcheck, shortId, type Skipped } from './facts.ts';
import { buildMeta } from './meta.ts';
import { defaultId, isGroup, namesFor } from './naming.ts';
import type { Settings } from './options.ts';
import { markOf, sealed } from './ownership.ts';
import { type Candidate, candidatesOf, type HostBinding } from './ports.ts';
import { refuseContainer } from './selection.ts';
import { splitTags, unique } from './tags.ts';
import { parseTemplate, type Template, TemplateError } from './template.ts';
import { type Applied, isTrue, Variables } from './variables.ts';

export interface DesiredService {
  readonly id: string;
  /** Complete, with our mark in Meta. */
  readonly definition: ServiceDefinition & { readonly id: string };
  readonly fed: readonly FedCheck[];
  /** `80/tcp`, "0" without port. */
  readonly port: string;
  readonly decisions: readonly Decision[];
}

export interface Mapping {
  readonly services: readonly DesiredService[];
  readonly skipped: readonly Skipped[];
  /** What was mended or dropped, with the variable at fault. */
  readonly notes: readonly string[];
}

/** The everyday reason to leave a port out; logged more quietly than the others. */
export const notPublished = 'not published on the host';

/** Variables that direct the registrator and are no metadata. */
const controlKeys: ReadonlySet<string> = new Set([
  'id',
  'name',
  'tags',
  'ignore',
  'ip',
  'network',
  'internal',
  'register',
  'port',
  'alias',
  'token',
  'enable_tag_override',
  'weights_passing',
  'weights_warning',
]);

/** Maps one running container. */
export function mapContainer(facts: ContainerFacts, settings: Settings): Mapping {
  const { inspect } = facts;
  const none = (skipped: Skipped): Mapping => ({ services: [], skipped: [skipped], notes: [] });
  const refused = refuseContainer(inspect, settings);
  if (refused !== undefined) return none(refused);
  if (settings.delayUntilHealthy && hasHealthcheck(inspect) && facts.everHealthy !== true) {
    return none({ port: '', reason: 'waits until its HEALTHCHECK is healthy', hint: 'switch off delay-until-healthy' });
  }
  const found = candidatesOf(facts, settings.engine.podman);
  if ('refused' in found) return none(found.refused);

  const variables = new Variables(inspect, settings.namespace);
  const build = new Builder(facts, settings);
  const reachable = found.candidates
    .map((candidate) => ({ candidate, applied: variables.for(candidate) }))
    .filter(({ candidate, applied }) => {
      const internal = applied.flag('internal')?.value ?? settings.internal;
      if (candidate.reach.kind !== 'unpublished' || internal) return true;
      build.skipped.push({
        port: candidate.text,
        reason: notPublished,
        hint: 'publish it with -p or -P, or set SERVICE_INTERNAL=true',
      });
      return false;
    });
  const wanted = reachable.filter(({ candidate, applied }) => {
    const reason = refusePort(candidate, applied, settings, build.notes);
    if (reason !== undefined) build.skipped.push(reason);
    return reason === undefined;
  });
  const group = isGroup(settings.naming, reachable.length, wanted.length);
  for (const { candidate, applied } of wanted) {
    const bindings = candidate.reach.kind === 'published' ? candidate.reach.bindings : [undefined];
    const internal = applied.flag('internal')?.value ?? settings.internal;
    // Inside a network there is one way in, however often the port is published.
    for (const binding of internal ? bindings.slice(0, 1) : bindings) build.add(candidate, binding, applied, group);
  }
  if (reachable.length === 0) build.addPortless(variables.for(undefined));
  if (found.candidates.length === 0 && build.services.length === 0 && build.skipped.length === 0) {
    build.skipped.push({
      port: '',
      reason: 'no exposed or published ports',
      hint: 'publish a port with -p, add EXPOSE to the image, or set SERVICE_REGISTER=true',
    });
  }
  return { services: build.services, skipped: build.skipped, notes: unique(build.notes) };
}

/** IGNORE and `-explicit`. */
function refusePort(candidate: Candidate, applied: Applied, settings: Settings, notes: string[]): Skipped | undefined {
  const ignore = applied.filled('ignore');
  if (ignore !== undefined && (!ignore.dotted || isTrue(ignore.value))) {
    if (!isTrue(ignore.value)) {
      notes.push(
        `${ignore.source}=${ignore.value} ignores the port, as any value does; remove it to register the port`,
      );
    }
    return { port: candidate.text, reason: `ignored by ${ignore.source}`, hint: `remove ${ignore.source}` };
  }
  if (settings.explicit && applied.filled('name') === undefined) {
    return {
      port: candidate.text,
      reason: '-explicit is on and no name is given',
      hint: `set SERVICE_NAME or SERVICE_${candidate.port}_NAME`,
    };
  }
  return undefined;
}

class Builder {
  readonly services: DesiredService[] = [];
  readonly skipped: Skipped[] = [];
  readonly notes: string[] = [];
  readonly #facts: ContainerFacts;
  readonly #settings: Settings;
  readonly #ids = new Set<string>();
  /** Whether a further binding of the same port comes, which then takes a longer ID. */
  readonly #portsDone = new Set<string>();

  constructor(facts: ContainerFacts, settings: Settings) {
    this.#facts = facts;
    this.#settings = settings;
  }

  /** Adds the services of one port and binding. */
  add(candidate: Candidate, binding: HostBinding | undefined, applied: Applied, group: boolean): void {
    const located = locate(this.#facts, candidate, binding, applied, this.#settings);
    if ('reason' in located) {
      this.skipped.push({ port: candidate.text, ...located });
      return;
    }
    const further = this.#portsDone.has(candidate.text) && binding !== undefined ? bindingText(binding) : '';
    this.#portsDone.add(candidate.text);
    const names = namesFor(this.#facts, candidate, applied, this.#settings, group);
    const id = this.#chooseId(candidate, applied, further);
    this.#addNamed(
      names,
      id,
      located,
      applied,
      group,
      candidate,
      further === '' ? candidate.text : `${candidate.text}@${further}`,
    );
  }

  /** A service without port, when it is asked for (R36). */
  addPortless(applied: Applied): void {
    const register = applied.flag('register');
    const portVariable = applied.filled('port');
    if (register?.value !== true && portVariable === undefined) return;
    const ignore = applied.filled('ignore');
    if (ignore !== undefined && (!ignore.dotted || isTrue(ignore.value))) return;
    let port = Number(portVariable?.value ?? '0');
    if (!Number.isInteger(port) || port < 0 || port > 65_535) {
      this.notes.push(`${portVariable!.source}: "${portVariable!.value}" is no port; registered without`);
      port = 0;
    }
    const located = locate(this.#facts, undefined, undefined, applied, this.#settings);
    if ('reason' in located) {
      this.skipped.push({ port: '', ...located });
      return;
    }
    const because = portVariable?.source ?? register!.source;
    const decisions = located.decisions.map((each) =>
      each.what === 'port' ? { what: 'port', value: String(port), because } : each,
    );
    const names = namesFor(this.#facts, undefined, applied, this.#settings, false);
    const own = applied.filled('id');
    const id = own
      ? { id: own.value, because: own.source }
      : {
          id: defaultId(this.#facts, port, 'tcp', this.#settings.hostname),
          because: 'host name, container name, port',
        };
    this.#ids.add(id.id);
    this.#addNamed(names, id, { ...located, port, decisions }, applied, false, undefined, '0');
  }

  #chooseId(candidate: Candidate, applied: Applied, further: string): { id: string; because: string } {
    const plain = defaultId(this.#facts, candidate.port, candidate.protocol, this.#settings.hostname);
    const suffix = further === '' ? '' : `:${further}`;
    const own = applied.filled('id');
    if (own !== undefined) {
      const id = `${own.value}${suffix}`;
      if (!this.#ids.has(id)) {
        this.#ids.add(id);
        return { id, because: own.source };
      }
      this.notes.push(
        `${own.source}=${own.value} names several services of the container; ${candidate.text} gets ${plain}${suffix}; write SERVICE_${candidate.port}_ID`,
      );
    }
    const id = `${plain}${suffix}`;
    this.#ids.add(id);
    return {
      id,
      because: suffix === '' ? 'host name, container name, port' : `a further binding of ${candidate.text}`,
    };
  }

  /** The main service, one more for each further name, and aliases that follow the main one's health (R23). */
  #addNamed(
    chosen: { readonly names: readonly string[]; readonly because: string },
    id: { readonly id: string; readonly because: string },
    located: Exclude<ReturnType<typeof locate>, { reason: string }>,
    applied: Applied,
    group: boolean,
    candidate: Candidate | undefined,
    portKey: string,
  ): void {
    this.notes.push(...located.notes);
    const [main, ...others] = chosen.names;
    const push = (
      name: string,
      serviceId: string,
      key: string,
      alias: { of: string; because: string } | undefined,
    ): void => {
      const decisions: Decision[] = [
        { what: 'name', value: name, because: alias?.because ?? chosen.because },
        { what: 'id', value: serviceId, because: id.because },
        ...located.decisions,
      ];
      this.#push(name, serviceId, key, located, applied, candidate, decisions, alias?.of);
    };
    push(main!, id.id, portKey, undefined);
    for (const name of others) push(name, `${id.id}:${name}`, `${portKey}#${name}`, undefined);
    const alias = applied.filled('alias');
    if (alias === undefined) return;
    const suffix = candidate !== undefined && group && alias.scope.kind === 'all' ? `-${candidate.port}` : '';
    for (const given of unique(alias.value.split(',').map((each) => each.trim()))) {
      const name = `${given}${suffix}`;
      if (given === '' || chosen.names.includes(name)) continue;
      push(name, `${id.id}:${name}`, `${portKey}#${name}`, { of: id.id, because: alias.source });
    }
  }

  #push(
    name: string,
    id: string,
    portKey: string,
    located: Exclude<ReturnType<typeof locate>, { reason: string }>,
    applied: Applied,
    candidate: Candidate | undefined,
    decisions: Decision[],
    aliasOf: string | undefined,
  ): void {
    const { inspect } = this.#facts;
    const settings = this.#settings;
    const network = chooseNetwork(this.#facts.owner ?? inspect, applied, settings);
    const document = documentOf(inspect, settings, { network: network?.name ?? '', engineName: settings.engine.name });
    const render = (what: string, text: string | Template): string => {
      try {
        if (typeof text !== 'string') return text.render(document);
        return parseTemplate(text, document).render(document);
      } catch (error) {
        if (!(error instanceof TemplateError)) throw error;
        this.notes.push(`${what}: ${error.message}; left out`);
        return '';
      }
    };
    const protocol = candidate?.protocol ?? 'tcp';
    const tagVariable = applied.get('tags');
    const tagTemplate = applied.filled('template_tags');
    const tags = unique([
      ...splitTags(tagVariable?.value ?? ''),
      ...(tagTemplate ? splitTags(render(tagTemplate.source, tagTemplate.value)) : []),
      ...splitTags(render('-tags', settings.tagsTemplate)),
      ...(protocol === 'tcp' ? [] : [protocol]),
    ]);
    if (tags.length > 0) {
      const sources = [tagVariable?.source, tagTemplate?.source, settings.tags === '' ? undefined : '-tags'];
      const because = sources.filter((each) => each !== undefined).join(', ');
      decisions.push({ what: 'tags', value: tags.join(','), because: because === '' ? `${protocol} port` : because });
    }

    const { meta, notes } = buildMeta(
      [
        ...(settings.autoMeta ? this.#autoMeta() : []),
        ...settings.metaTemplates.map(([key, template]) => ({
          key,
          value: render(`meta template "${key}"`, template),
          source: `meta template "${key}"`,
        })),
        ...[...applied.all()].flatMap(({ key, value, source }) => {
          if (key.startsWith('template_meta_')) {
            return [{ key: key.slice('template_meta_'.length), value: render(source, value), source }];
          }
          const isControl = controlKeys.has(key) || key.startsWith('check_') || key.startsWith('template_');
          return isControl ? [] : [{ key, value, source }];
        }),
      ],
      markOf({ engine: settings.engine.id, container: inspect.Id, port: portKey }),
    );
    this.notes.push(...notes);

    const built = buildChecks(
      {
        serviceId: id,
        inspect,
        address: located.address,
        port: located.port,
        protocol,
        containerPort: candidate?.port ?? located.port,
        containerAddress: network?.address,
        note: this.#facts.note,
      },
      applied,
      settings,
    );
    const aliasCheck: CheckDefinition | undefined =
      aliasOf === undefined ? undefined : { id: `service:${id}`, name: `Alias of ${aliasOf}`, aliasService: aliasOf };
    if (aliasOf === undefined) this.notes.push(...built.notes);
    const checks = aliasCheck ? [aliasCheck] : built.checks;
    const fed = aliasCheck ? [] : built.fed;
    const definition = sealed(
      {
        id,
        name,
        address: located.address,
        port: located.port,
        tags,
        meta,
        ...(located.tagged === undefined ? {} : { taggedAddresses: located.tagged }),
        ...this.#extras(applied),
        checks,
      },
      new Set(fed.map((each) => each.checkId)),
    );
    this.services.push({
      id,
      definition,
      fed,
      port: portKey,
      decisions: [
        ...decisions,
        ...(aliasCheck
          ? [{ what: `check service:${id}`, value: `alias of ${aliasOf}`, because: applied.filled('alias')!.source }]
          : built.decisions),
      ],
    });
  }

  /** Weights, tag override, token (R28). */
  #extras(applied: Applied): Partial<ServiceDefinition> {
    const weight = (key: string, min: number): number | undefined => {
      const variable = applied.filled(key);
      if (variable === undefined) return undefined;
      const value = /^\d{1,5}$/.test(variable.value) ? Number(variable.value) : -1;
      if (value >= min && value <= 65_535) return value;
      this.notes.push(`${variable.source}: "${variable.value}" is no weight from ${min} to 65535; ignored`);
      return undefined;
    };
    const passing = weight('weights_passing', 1);
    const warning = weight('weights_warning', 0);
    const tokenName = applied.filled('token');
    const token = tokenName === undefined ? undefined : this.#settings.tokens[tokenName.value];
    if (tokenName !== undefined && token === undefined) {
      this.notes.push(
        `${tokenName.source}: there is no token named "${tokenName.value}"; add it to the registrator's tokens (a label holds a token's name, never the token)`,
      );
    }
    return {
      ...(passing === undefined && warning === undefined
        ? {}
        : { weights: { Passing: passing ?? 1, Warning: warning ?? 1 } }),
      ...(applied.flag('enable_tag_override')?.value === true ? { enableTagOverride: true } : {}),
      ...(token === undefined ? {} : { token }),
    };
  }

  #autoMeta(): { key: string; value: string; source: string }[] {
    const { inspect } = this.#facts;
    const image = inspect.Config?.Image ?? '';
    const values: Readonly<Record<string, string>> = {
      'container-id': shortId(inspect.Id),
      'container-name': containerName(inspect),
      image,
      'image-tag': /:([^/:]+)$/.exec(image.replace(/@.*$/, ''))?.[1] ?? 'latest',
      'engine-host': this.#settings.engine.name,
    };
    return Object.entries(values).map(([key, value]) => ({ key, value, source: 'automatic Meta' }));
  }
}

/** `9002` for a wildcard, `10.0.0.2:9002` for a specific address. */
function bindingText(binding: HostBinding): string {
  const { address, port } = (binding.ipv4 ?? binding.ipv6)!;
  return address === '0.0.0.0' || address === '::' ? String(port) : `${address}:${port}`;
}
