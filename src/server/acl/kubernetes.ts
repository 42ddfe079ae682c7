/**
 * Auth methods of type `kubernetes`: a container shows the token of its service account, and the cluster's API says
 * whether it is good and whose it is. An annotation of the account may name another service
 * (reference/http-api.md §9.11).
 */
import { X509Certificate } from 'node:crypto';
import { GoJsonError, parseGoJson } from '../../codec/index.ts';
import { CallError } from '../../model/index.ts';
import type { Clock, HttpClient } from '../../ports/index.ts';
import { invalidMethod } from './jwt-settings.ts';
import { parseSignedToken } from './signed-token.ts';
import type { Identity, Validator } from './validator.ts';

/** Longest answer of the cluster's API, ms. */
const answerTimeoutMs = 10_000;
/** Annotation of a service account: the name that counts in place of its own. */
const nameAnnotation = 'consul.hashicorp.com/service-name';
const settingNames = ['Host', 'CACert', 'ServiceAccountJWT'] as const;

interface KubernetesSettings {
  readonly host: string;
  /** PEM. */
  readonly ca: string;
  /** Of an account that may ask about tokens and read accounts. */
  readonly token: string;
}

/** @throws CallError what is wrong with the configuration. */
export function kubernetesValidator(
  config: Readonly<Record<string, unknown>> | null,
  parts: { readonly clock: Clock; readonly http: HttpClient },
): Validator {
  const settings = readSettings(config ?? {});
  return {
    fields: { serviceaccount: { struct: { namespace: 'string', name: 'string', uid: 'string' } } },
    variables: ['namespace', 'name', 'uid'].map((name) => `serviceaccount.${name}`),
    check: () => Promise.resolve(),
    validate: async (bearer) => {
      parseSignedToken(bearer, 'failed to parse and validate JWT: ');
      const account = await reviewed(settings, parts, bearer);
      return identityOf({ ...account, name: await annotatedName(settings, parts, account) });
    },
  };
}

interface Account {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

function identityOf(account: Account): Identity {
  return {
    selectable: { serviceaccount: account },
    variables: Object.fromEntries(Object.entries(account).map(([name, value]) => [`serviceaccount.${name}`, value])),
  };
}

function readSettings(config: Readonly<Record<string, unknown>>): KubernetesSettings {
  const known = settingNames.map((name) => name.toLowerCase());
  const unknown = Object.keys(config).filter((name) => !known.includes(name.toLowerCase()));
  if (unknown.length > 0) {
    const problem = `* '' has invalid keys: ${unknown.toSorted().join(', ')}`;
    throw invalidMethod(`error decoding config: 1 error(s) decoding:\n\n${problem}`);
  }
  const given = new Map(Object.entries(config).map(([name, value]) => [name.toLowerCase(), value]));
  const setting = (name: (typeof settingNames)[number]): string => {
    const value = given.get(name.toLowerCase());
    if (typeof value === 'string' && value !== '') return value;
    throw invalidMethod(`Config.${name} is required`);
  };
  const host = setting('Host').replace(/\/+$/, '');
  const ca = setting('CACert');
  try {
    void new X509Certificate(ca);
  } catch {
    throw invalidMethod('error parsing kubernetes ca cert: data does not contain any valid RSA or ECDSA certificates');
  }
  if (!/^https?:\/\//i.test(host) || !URL.canParse(host))
    throw invalidMethod('Config.Host must be a URL of http or https');
  const token = setting('ServiceAccountJWT');
  try {
    parseSignedToken(token, 'Config.ServiceAccountJWT is not a valid JWT: ');
  } catch (error) {
    throw invalidMethod((error as Error).message);
  }
  return { host, ca, token };
}

type Document = Readonly<Record<string, unknown>>;

/** Whose token it is, by `TokenReview`. @throws CallError */
async function reviewed(
  settings: KubernetesSettings,
  parts: { readonly clock: Clock; readonly http: HttpClient },
  token: string,
): Promise<Account> {
  const review = { kind: 'TokenReview', apiVersion: 'authentication.k8s.io/v1', spec: { token } };
  const answer = await ask(settings, parts, 'POST', '/apis/authentication.k8s.io/v1/tokenreviews', review);
  const status = objectOf(answer['status']);
  const failed = (why: string): CallError => new CallError(`lookup failed: ${why}`);
  const error = textOf(status['error']);
  if (error !== '') throw failed(error);
  if (status['authenticated'] !== true) throw failed('service account jwt not valid');
  const user = objectOf(status['user']);
  const [system, kind, namespace, name, ...more] = textOf(user['username']).split(':');
  if (system !== 'system' || kind !== 'serviceaccount' || !namespace || !name || more.length > 0) {
    throw failed('unexpected username format');
  }
  return { namespace, name, uid: textOf(user['uid']) };
}

/** @throws CallError */
async function annotatedName(
  settings: KubernetesSettings,
  parts: { readonly clock: Clock; readonly http: HttpClient },
  { namespace, name }: Account,
): Promise<string> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(name)}`;
  try {
    const { metadata } = await ask(settings, parts, 'GET', path);
    return textOf(objectOf(objectOf(metadata)['annotations'])[nameAnnotation]) || name;
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    throw new CallError(`annotation lookup failed: ${error.message}`, { cause: error });
  }
}

/** @throws CallError in the words of the API, where it has some. */
async function ask(
  { host, ca, token }: KubernetesSettings,
  { clock, http }: { readonly clock: Clock; readonly http: HttpClient },
  method: 'GET' | 'POST',
  path: string,
  body?: object,
): Promise<Document> {
  const limit = new AbortController();
  const timer = clock.after(answerTimeoutMs, () => limit.abort(new Error('context deadline exceeded')));
  const url = `${host}${path}`;
  try {
    const { status, ...answer } = await http({
      method,
      url,
      headers: {
        Authorization: `Bearer ${token}`,
        Accept: 'application/json',
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ca,
      signal: limit.signal,
    }).catch((error: unknown) => {
      const verb = method === 'GET' ? 'Get' : 'Post';
      throw new CallError(`${verb} ${JSON.stringify(url)}: ${(error as Error).message}`, { cause: error });
    });
    const document = parsed(answer.body);
    if (status >= 200 && status <= 299) return document;
    throw new CallError(textOf(document['message']) || `the API answered ${status} ${answer.statusText}`);
  } finally {
    timer.cancel();
  }
}

function parsed(text: string): Document {
  try {
    return objectOf(parseGoJson(Buffer.from(text)));
  } catch (error) {
    if (error instanceof GoJsonError) return {};
    throw error;
  }
}

function objectOf(value: unknown): Document {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Document) : {};
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
