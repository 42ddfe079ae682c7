/**
 * Rotation of the gossip keys. Each step is a question to every member, which changes its ring, writes it down, and
 * says how it went; a step has succeeded only when all members have, because one that lacks a key is cut off as soon
 * as others encrypt with it (reference/gossip.md §5.8).
 */
import { decodeGoBase64, decodeShape, MsgpackError } from '../../codec/index.ts';
import type { Logger } from '../../ports/index.ts';
import { type Keyring, KeyringError } from '../memberlist/index.ts';
import { SerfError } from './events.ts';
import { encodeMessage, keyRequest, type KeyResponse, keyResponse, messageType } from './messages.ts';
import type { QueryHandle, QueryParameters, QueryResponse, ReceivedQuery } from './queries.ts';

const queryNames = {
  install: '_serf_install-key',
  use: '_serf_use-key',
  remove: '_serf_remove-key',
  list: '_serf_list-keys',
} as const;
type KeyOperation = keyof typeof queryNames;

/** How a step went over the whole pool. */
export interface KeyResult {
  /** Members that were asked, this one included. */
  readonly numNodes: number;
  readonly numResponses: number;
  readonly numErrors: number;
  /** What members had to say, by name. */
  readonly messages: ReadonlyMap<string, string>;
  /** Of a list: how many members have each key (base64), and use it. */
  readonly keys: ReadonlyMap<string, number>;
  readonly primaryKeys: ReadonlyMap<string, number>;
  /** Why the step has failed, or null. */
  readonly error: string | null;
}

export interface KeyOptions {
  /** Copies of each answer by way of other members. */
  readonly relayFactor?: number;
}

/** Asks. The keys are base64. */
export class KeyManager {
  readonly #ask: (name: string, payload: Uint8Array, parameters: QueryParameters) => QueryHandle;
  readonly #numNodes: () => number;

  constructor(options: {
    readonly ask: (name: string, payload: Uint8Array, parameters: QueryParameters) => QueryHandle;
    /** Members alive or suspect. */
    readonly numNodes: () => number;
  }) {
    this.#ask = options.ask;
    this.#numNodes = options.numNodes;
  }

  /** Lets every member read what is encrypted with the key. @throws Error when it is no base64. */
  install(key: string, options?: KeyOptions): Promise<KeyResult> {
    return this.#run('install', decodeGoBase64(key), options);
  }

  /** Lets every member encrypt with the key. @throws Error when it is no base64. */
  use(key: string, options?: KeyOptions): Promise<KeyResult> {
    return this.#run('use', decodeGoBase64(key), options);
  }

  /** Lets every member forget the key. @throws Error when it is no base64. */
  remove(key: string, options?: KeyOptions): Promise<KeyResult> {
    return this.#run('remove', decodeGoBase64(key), options);
  }

  list(options?: KeyOptions): Promise<KeyResult> {
    // The peers send no key as an empty one.
    return this.#run('list', new Uint8Array(), options);
  }

  async #run(operation: KeyOperation, key: Uint8Array, options: KeyOptions = {}): Promise<KeyResult> {
    const numNodes = this.#numNodes();
    const payload = encodeMessage(messageType.keyRequest, keyRequest, { Key: key });
    const handle = this.#ask(queryNames[operation], payload, {
      ...options,
      onResponse: () => {
        if (handle.responses.length === numNodes) handle.close();
      },
    });
    await handle.finished;
    return summary(numNodes, handle.responses);
  }
}

function summary(numNodes: number, responses: readonly QueryResponse[]): KeyResult {
  const messages = new Map<string, string>();
  const keys = new Map<string, number>();
  const primaryKeys = new Map<string, number>();
  const increment = (counts: Map<string, number>, key: string): void => {
    counts.set(key, (counts.get(key) ?? 0) + 1);
  };
  let numErrors = 0;
  for (const { from, payload } of responses) {
    const response = decodeKeyResponse(payload);
    if (!response.Result) numErrors++;
    if (!response.Result || response.Message !== '') messages.set(from, response.Message);
    for (const key of response.Keys ?? []) increment(keys, key);
    if (response.Result && response.PrimaryKey !== '') increment(primaryKeys, response.PrimaryKey);
  }
  const numResponses = responses.length;
  let error: string | null = null;
  if (numErrors > 0) error = `${numErrors}/${numNodes} nodes reported failure`;
  else if (numResponses !== numNodes) error = `${numResponses}/${numNodes} nodes reported success`;
  return { numNodes, numResponses, numErrors, messages, keys, primaryKeys, error };
}

function decodeKeyResponse(payload: Uint8Array): KeyResponse {
  if (payload[0] !== messageType.keyResponse) {
    return { ...keyResponse.zero, Message: `Invalid key query response type: ${payload[0]}` };
  }
  try {
    return decodeShape(keyResponse, payload.subarray(1));
  } catch (error) {
    if (!(error instanceof MsgpackError)) throw error;
    return { ...keyResponse.zero, Message: `Failed to decode key query response: ${error.message}` };
  }
}

/** Answers a question about keys; others are not its business. */
export async function answerKeyQuery(
  received: ReceivedQuery,
  dependencies: {
    readonly keyring: Keyring | undefined;
    /** Writes the ring down. */
    readonly save: (keys: readonly Uint8Array[]) => Promise<void>;
    readonly logger: Logger;
  },
): Promise<void> {
  const operation = (Object.keys(queryNames) as KeyOperation[]).find((name) => queryNames[name] === received.name);
  if (operation === undefined) return;
  try {
    if (operation === 'list') respondWithKeys(received, dependencies.keyring);
    else respond(received, await changed(operation, received.payload, dependencies));
  } catch (error) {
    if (!(error instanceof SerfError)) throw error;
    dependencies.logger.error(`serf: failed to answer the query ${received.name}`, { error });
  }
}

async function changed(
  operation: Exclude<KeyOperation, 'list'>,
  payload: Uint8Array,
  {
    keyring,
    save,
    logger,
  }: {
    readonly keyring: Keyring | undefined;
    readonly save: (keys: readonly Uint8Array[]) => Promise<void>;
    readonly logger: Logger;
  },
): Promise<Partial<KeyResponse>> {
  try {
    const key = decodeKeyRequest(payload);
    if (keyring === undefined) throw new KeyringError('No keyring to modify (encryption not enabled)');
    if (operation === 'install') keyring.add(key);
    else if (operation === 'use') keyring.use(key);
    else keyring.remove(key);
    await save(keyring.keys);
    return { Result: true };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    logger.error(`serf: failed to ${operation} a gossip key: ${message}`);
    return { Message: message };
  }
}

function decodeKeyRequest(payload: Uint8Array): Uint8Array {
  if (payload[0] !== messageType.keyRequest) throw new MsgpackError('this is no key request');
  return decodeShape(keyRequest, payload.subarray(1)).Key ?? new Uint8Array();
}

/** As many keys as fit one packet. */
function respondWithKeys(received: ReceivedQuery, keyring: Keyring | undefined): void {
  if (keyring === undefined) {
    respond(received, { Message: 'Keyring is empty (encryption not enabled)' });
    return;
  }
  const all = keyring.keys.map(toBase64);
  const PrimaryKey = toBase64(keyring.primary);
  for (let count = all.length; count >= 0; count--) {
    const Message =
      count === all.length ? '' : `truncated key list response, showing first ${count} of ${all.length} keys`;
    const response = { Result: true, Message, Keys: all.slice(0, count), PrimaryKey };
    if (count > 0 && !received.fits(encodeMessage(messageType.keyResponse, keyResponse, response))) continue;
    respond(received, response);
    return;
  }
}

function respond(received: ReceivedQuery, response: Partial<KeyResponse>): void {
  received.respond(encodeMessage(messageType.keyResponse, keyResponse, response));
}

function toBase64(key: Uint8Array): string {
  return Buffer.from(key).toString('base64');
}

/** The text of a keyring file: a JSON list of base64 keys, the primary first (gossip.md §5.12). */
export function formatKeyringFile(keys: readonly Uint8Array[]): string {
  return JSON.stringify(keys.map(toBase64), null, 2);
}

/** @throws Error when the text is no list of base64 keys. */
export function parseKeyringFile(text: string): readonly Uint8Array[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    throw new Error(`a keyring file is a JSON list of base64 keys: ${(error as Error).message}`, { cause: error });
  }
  if (!Array.isArray(list) || list.length === 0 || !list.every((key) => typeof key === 'string')) {
    throw new Error('a keyring file is a JSON list of base64 keys, the first of which is the primary');
  }
  return list.map(decodeGoBase64);
}
