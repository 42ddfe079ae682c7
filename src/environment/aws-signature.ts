/**
 * AWS Signature Version 4: proof that a request comes from who holds the secret key, without sending the key. The
 * request is written down in one canonical form, hashed, and the hash is signed with a key derived from the secret,
 * the day, the region and the service. The service writes down what arrived in the same form and compares.
 */
import { createHash, createHmac } from 'node:crypto';

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Goes with keys that expire: those of roles. */
  readonly sessionToken?: string;
}

export interface SignedRequest {
  readonly method: string;
  readonly url: string;
  /** Headers besides `Host`, names in any case, each at most once. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the signature is good for, besides the request itself. */
export interface SignatureScope {
  readonly region: string;
  /** The service's name in its endpoint: `ec2`. */
  readonly service: string;
  /** Now, ms since 1970; the service allows some minutes of difference. */
  readonly wallMs: number;
}

const algorithm = 'AWS4-HMAC-SHA256';

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text, 'utf8').digest();

/** Percent-encodes all but RFC 3986's unreserved characters. */
export function uriEncode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The request's headers with those that sign it. @throws TypeError for a URL that is none */
export function signRequest(
  request: SignedRequest,
  { region, service, wallMs }: SignatureScope,
  credentials: AwsCredentials,
): Readonly<Record<string, string>> {
  const url = new URL(request.url);
  const time = new Date(wallMs).toISOString().replace(/[-:]|\.\d+/g, '');
  const added = {
    'X-Amz-Date': time,
    ...(credentials.sessionToken !== undefined && { 'X-Amz-Security-Token': credentials.sessionToken }),
  };
  const headers = Object.entries({ ...request.headers, Host: url.host, ...added })
    .map(([name, value]) => [name.toLowerCase(), value.trim().replace(/ +/g, ' ')] as const)
    .sort(([a], [b]) => byText(a, b));
  const signedHeaders = headers.map(([name]) => name).join(';');
  const canonical = [
    request.method,
    // Encoded once by the URL and once more: so every service but S3 wants it.
    url.pathname.split('/').map(uriEncode).join('/'),
    canonicalQuery(url.searchParams),
    ...headers.map(([name, value]) => `${name}:${value}`),
    '',
    signedHeaders,
    sha256(request.body),
  ].join('\n');

  const day = time.slice(0, 8);
  const scope = `${day}/${region}/${service}/aws4_request`;
  const key = [day, region, service, 'aws4_request'].reduce<string | Buffer>(
    hmac,
    `AWS4${credentials.secretAccessKey}`,
  );
  const signature = hmac(key, [algorithm, time, scope, sha256(canonical)].join('\n')).toString('hex');
  return {
    ...request.headers,
    ...added,
    Authorization: `${algorithm} Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`,
  };
}

function canonicalQuery(parameters: URLSearchParams): string {
  return [...parameters]
    .map(([name, value]) => [uriEncode(name), uriEncode(value)] as const)
    .sort(([a, x], [b, y]) => byText(a, b) || byText(x, y))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}
