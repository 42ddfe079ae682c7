/**
 * Config entries on the wire (reference/server-rpc.md §2.6, §4.14). These bodies marshal themselves: a raw string in
 * which the kind stands in front of what it describes, and `proxy-defaults` entries are raw strings once more.
 */
import {
  converted,
  MsgpackError,
  type MsgpackReader,
  MsgpackWriter,
  opt,
  record,
  type Shape,
  shapes,
  text,
} from '../../codec/index.ts';
import type {
  ConfigEntry,
  ConfigEntryKind,
  ConfigEntryOf,
  ConfigEntryQuery,
  ConfigEntryRequest,
  HttpMatchHeader,
  HttpMatchQueryParam,
  IngressGateway,
  IngressListener,
  IngressService,
  LinkedService,
  ServiceResolver,
  ServiceResolverFailover,
  ServiceResolverSubset,
  ServiceRoute,
  ServiceRouteDestination,
  ServiceRouteHttpMatch,
  ServiceSplit,
} from '../config-entry.ts';
import { isConfigEntryKind } from '../config-entry.ts';
import type { QueryMeta } from '../query.ts';
import { expose, meshGateway } from './catalog.ts';
import { metaOnWire, queryMeta, queryMetaFields, queryOptionsFields, raftIndexFields, writeFields } from './parts.ts';

const { any, bool, durationNs, float32, fullList, index, int, list, map, nullable, str, wrapped } = shapes;

/** Digits that tell every float32 from its neighbours. */
const float32DigitsMax = 9;

/** A float32 as people wrote it: 33.33, not the double nearest to what the wire has. */
export const weight: Shape<number> = converted<number, number>(float32, {
  to: (value) => value,
  from: (wire) => {
    for (let digits = 1; digits < float32DigitsMax; digits++) {
      const short = Number(wire.toPrecision(digits));
      if (Math.fround(short) === wire) return short;
    }
    return wire;
  },
});

const httpMatch = record<ServiceRouteHttpMatch>({
  PathExact: opt(str),
  PathPrefix: opt(str),
  PathRegex: opt(str),
  Header: opt(
    list(
      record<HttpMatchHeader>({
        Name: opt(str),
        Present: opt(bool),
        Exact: opt(str),
        Prefix: opt(str),
        Suffix: opt(str),
        Regex: opt(str),
        Invert: opt(bool),
      }),
    ),
  ),
  QueryParam: opt(
    list(record<HttpMatchQueryParam>({ Name: opt(str), Present: opt(bool), Exact: opt(str), Regex: opt(str) })),
  ),
  Methods: opt(list(str)),
});
const destination = record<ServiceRouteDestination>({
  Service: opt(str),
  ServiceSubset: opt(str),
  Namespace: opt(str),
  PrefixRewrite: opt(str),
  RequestTimeout: opt(durationNs),
  NumRetries: opt(index),
  RetryOnConnectFailure: opt(bool),
  RetryOnStatusCodes: opt(list(index)),
});
export const serviceRoute = record<ServiceRoute>({
  Match: opt(nullable(record<NonNullable<ServiceRoute['Match']>>({ HTTP: opt(nullable(httpMatch)) }))),
  Destination: opt(nullable(destination)),
});
const split = record<ServiceSplit>({
  Weight: opt(weight),
  Service: opt(str),
  ServiceSubset: opt(str),
  Namespace: opt(str),
});
export const resolverSubset = record<ServiceResolverSubset>({ Filter: opt(str), OnlyPassing: opt(bool) });
const redirect = record<NonNullable<ServiceResolver['Redirect']>>({
  Service: opt(str),
  ServiceSubset: opt(str),
  Namespace: opt(str),
  Datacenter: opt(str),
});
const resolverFailover = record<ServiceResolverFailover>({
  Service: opt(str),
  ServiceSubset: opt(str),
  Namespace: opt(str),
  Datacenters: opt(list(str)),
});
const listener = record<IngressListener>({
  Port: opt(int),
  Protocol: opt(str),
  Services: opt(list(record<IngressService>({ Name: opt(str), Hosts: opt(list(str)), Meta: opt(map(str)) }))),
});
const linked = record<LinkedService>({
  Name: opt(str),
  CAFile: opt(str),
  CertFile: opt(str),
  KeyFile: opt(str),
  SNI: opt(str),
});

const entryFields = { Name: str, Meta: opt(map(str)), ...raftIndexFields };
const entryShapes: { readonly [K in ConfigEntryKind]: Shape<ConfigEntryOf<K>> } = {
  'service-defaults': record<ConfigEntryOf<'service-defaults'>>({
    Kind: text<'service-defaults'>(),
    Protocol: opt(str),
    MeshGateway: opt(meshGateway),
    Expose: opt(expose),
    ExternalSNI: opt(str),
    ...entryFields,
  }),
  'proxy-defaults': wrapped(
    record<ConfigEntryOf<'proxy-defaults'>>({
      Kind: text<'proxy-defaults'>(),
      Config: opt(map(any)),
      MeshGateway: opt(meshGateway),
      Expose: opt(expose),
      ...entryFields,
    }),
  ),
  'service-router': record<ConfigEntryOf<'service-router'>>({
    Kind: text<'service-router'>(),
    Routes: opt(list(serviceRoute)),
    ...entryFields,
  }),
  'service-splitter': record<ConfigEntryOf<'service-splitter'>>({
    Kind: text<'service-splitter'>(),
    Splits: opt(list(split)),
    ...entryFields,
  }),
  'service-resolver': record<ConfigEntryOf<'service-resolver'>>({
    Kind: text<'service-resolver'>(),
    DefaultSubset: opt(str),
    Subsets: opt(map(resolverSubset)),
    Redirect: opt(nullable(redirect)),
    Failover: opt(map(resolverFailover)),
    ConnectTimeout: opt(durationNs),
    ...entryFields,
  }),
  'ingress-gateway': record<ConfigEntryOf<'ingress-gateway'>>({
    Kind: text<'ingress-gateway'>(),
    TLS: opt(record<NonNullable<IngressGateway['TLS']>>({ Enabled: opt(bool) })),
    Listeners: opt(list(listener)),
    ...entryFields,
  }),
  'terminating-gateway': record<ConfigEntryOf<'terminating-gateway'>>({
    Kind: text<'terminating-gateway'>(),
    Services: opt(list(linked)),
    ...entryFields,
  }),
};

/** @throws MsgpackError for a kind that there is not. */
export function entryShape(kind: string): Shape<ConfigEntry> {
  if (!isConfigEntryKind(kind)) throw new MsgpackError(`invalid config entry kind: ${kind}`);
  return entryShapes[kind] as Shape<unknown> as Shape<ConfigEntry>;
}

function readEntry(reader: MsgpackReader, kind: string): ConfigEntry {
  const entry = entryShape(kind).read(reader);
  // Only the kind in front counts: agents leave the entry's own empty when they delete it.
  return entry.Kind === kind ? entry : ({ ...entry, Kind: kind } as ConfigEntry);
}

/**
 * A raw string of several values one after the other.
 * @param zero what an empty one says; none is refused.
 */
function sequence<T>(
  write: (writer: MsgpackWriter, value: T) => void,
  read: (reader: MsgpackReader) => T,
  zero: T | undefined,
): Shape<T> {
  const required = (): T => {
    if (zero === undefined) throw new MsgpackError('a config entry was expected');
    return zero;
  };
  return {
    write: (writer, value) => {
      const inner = new MsgpackWriter();
      write(inner, value);
      writer.raw(inner.bytes());
    },
    read: (reader) => {
      const inner = reader.raw();
      return inner === null ? required() : reader.nested(inner, read);
    },
    get zero() {
      return required();
    },
  };
}

/** The request's fields around an entry whose kind is known. */
function requestShape(kind: string): Shape<ConfigEntryRequest> {
  const entry: Shape<ConfigEntryRequest['Entry']> = {
    write: (writer, value) => entryShape(kind).write(writer, { CreateIndex: 0, ModifyIndex: 0, ...value }),
    read: (reader) => readEntry(reader, kind),
    zero: entryShape(kind).zero,
  };
  return record<ConfigEntryRequest>({
    Op: text<ConfigEntryRequest['Op']>(),
    Datacenter: str,
    Entry: entry,
    Token: writeFields.Token,
  });
}
const requestShapes = new Map<string, Shape<ConfigEntryRequest>>();
function requestOf(kind: string): Shape<ConfigEntryRequest> {
  let shape = requestShapes.get(kind);
  if (shape === undefined) requestShapes.set(kind, (shape = requestShape(kind)));
  return shape;
}

export const configEntryRequest = sequence<ConfigEntryRequest>(
  (writer, request) => {
    writer.str(request.Entry.Kind);
    requestOf(request.Entry.Kind).write(writer, request);
  },
  (reader) => requestOf(reader.str()).read(reader),
  undefined,
);

export const configEntryQuery = record<ConfigEntryQuery>({
  Kind: str,
  Name: opt(str),
  Datacenter: str,
  ...queryOptionsFields,
});

/** What an empty reply says. */
const noMeta: QueryMeta = { Index: 0, LastContact: 0, KnownLeader: false };

type EntryReply = QueryMeta & { readonly Entry: ConfigEntry | null };
export const configEntryResponse = sequence<EntryReply>(
  (writer, { Entry, ...meta }) => {
    writer.str(Entry?.Kind ?? '');
    if (Entry !== null) entryShape(Entry.Kind).write(writer, Entry);
    queryMeta.write(writer, meta);
  },
  (reader) => {
    const kind = reader.str();
    const Entry = kind === '' ? null : readEntry(reader, kind);
    return { ...queryMeta.read(reader), Entry };
  },
  { ...noMeta, Entry: null },
);

type EntriesReply = QueryMeta & { readonly Kind: string; readonly Entries: readonly ConfigEntry[] };
/** Entries of one kind; each carries its own in a list of all kinds, which the peer cannot read back. */
function entriesShape(kind: string): Shape<EntriesReply> {
  const entry: Shape<ConfigEntry> = {
    write: (writer, value) => entryShape(value.Kind).write(writer, value),
    read: (reader) => readEntry(reader, kind),
    get zero(): ConfigEntry {
      return entryShape(kind).zero;
    },
  };
  return record<EntriesReply>({ Kind: str, Entries: fullList(entry), ...queryMetaFields }, metaOnWire);
}
export const indexedConfigEntries = sequence<EntriesReply>(
  (writer, reply) => {
    writer.int(reply.Entries.length);
    writer.str(reply.Kind);
    entriesShape(reply.Kind).write(writer, reply);
  },
  (reader) => {
    reader.int();
    return entriesShape(reader.str()).read(reader);
  },
  { ...noMeta, Kind: '', Entries: [] },
);

/** Entries of all kinds, each with its kind in front. */
export const indexedGenericConfigEntries = sequence<QueryMeta & { readonly Entries: readonly ConfigEntry[] }>(
  (writer, { Entries, ...meta }) => {
    writer.int(Entries.length);
    for (const entry of Entries) {
      writer.str(entry.Kind);
      entryShape(entry.Kind).write(writer, entry);
    }
    queryMeta.write(writer, meta);
  },
  (reader) => {
    const Entries: ConfigEntry[] = [];
    for (let rest = reader.int(); rest > 0; rest--) Entries.push(readEntry(reader, reader.str()));
    return { ...queryMeta.read(reader), Entries };
  },
  { ...noMeta, Entries: [] },
);
