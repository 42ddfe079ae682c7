/** What the `kv` commands share: entries as the API gives them, keys and data as the command line gives them. */
import { readFileSync } from 'node:fs';
import { type AgentClient, type ClientQuery, goFileError, UnexpectedResponseError } from '../client/index.ts';
import { parseGoJson } from '../codec/index.ts';
import { CliError, type CliIo } from './command.ts';

/** An entry of `GET /v1/kv/…`; numbers may be bigint beyond 2^53. */
export interface KvEntry {
  readonly Key: string;
  readonly Flags: number | bigint;
  /** base64, null when empty. */
  readonly Value: string | null;
  readonly Session?: string;
  readonly CreateIndex: number | bigint;
  readonly ModifyIndex: number | bigint;
  readonly LockIndex: number | bigint;
}

/** Keys never begin with a slash, people often do. */
export function withoutLeadingSlash(key: string): string {
  return key.startsWith('/') ? key.slice(1) : key;
}

/** The only operand, `''` when missing. */
export function optionalKey(args: readonly string[]): string {
  if (args.length > 1) throw new CliError(`Error! Too many arguments (expected 1, got ${args.length})`);
  return withoutLeadingSlash(args[0] ?? '');
}

/**
 * Reads below `/v1/kv/`. Missing keys are null; other refusals are told by their code only, as the reference program
 * does for this endpoint.
 */
export async function readKv<T>(client: AgentClient, key: string, query: ClientQuery): Promise<T | null> {
  const { status, body } = await client.request('GET', `/v1/kv/${key}`, { query });
  if (status === 404) return null;
  if (status !== 200) throw new Error(`Unexpected response code: ${status}`);
  return parseGoJson(body) as T;
}

/**
 * Writes below `/v1/kv/`.
 * @returns what the server said: false for a lost race or a held lock.
 */
export async function writeKv(
  client: AgentClient,
  method: 'PUT' | 'DELETE',
  key: string,
  query: ClientQuery,
  body?: Uint8Array,
): Promise<boolean> {
  if (key.startsWith('/')) throw new Error(`Invalid key. Key must not begin with a '/': ${key}`);
  const response = await client.request(method, `/v1/kv/${key}`, { query, ...(body && { body }) });
  if (response.status !== 200) throw new UnexpectedResponseError(response.status, response.body.toString('utf8'));
  return response.body.includes('true');
}

/** The bytes an operand stands for: `-` is stdin, `@F` the file F, anything else itself. */
export async function readData(operand: string, io: CliIo): Promise<Buffer> {
  if (operand === '-') {
    const chunks: Buffer[] = [];
    for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  }
  if (!operand.startsWith('@')) return Buffer.from(operand);
  const path = operand.slice(1);
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CliError(`Error! Failed to read file: ${goFileError('open', path, error)}`, { cause: error });
  }
}
