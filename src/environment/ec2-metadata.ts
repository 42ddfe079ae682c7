/**
 * The metadata service of an EC2 instance: who am I, and with which keys may I ask for more. Version 2 wants a token
 * that is had by PUT, which a request smuggled through a proxy cannot do; version 1 answers whoever asks, where it is
 * still allowed. From a bridge container the token may not arrive: its packets live for `hop limit` routers, long 1 by
 * default, and the bridge is one. Then there is silence, not a refusal (reference/container-environments.md §9).
 */
import type { Clock } from '../ports/index.ts';
import { type HttpRequest, within } from './probe-ports.ts';

const base = 'http://169.254.169.254';
/** Lifetime asked for the token, s; it is used for a few requests at once. */
const tokenTtlSeconds = '21600';

/** What to do when the token does not arrive. */
export const hopLimitFix = 'aws ec2 modify-instance-metadata-options --instance-id ID --http-put-response-hop-limit 2';

export interface Ec2Metadata {
  readonly version: 1 | 2;
  /** `/latest/meta-data/local-ipv4` → text; status as it came but 401 and 403. @throws Error with the reason */
  get(path: string): Promise<{ readonly status: number; readonly body: string }>;
}

/**
 * Gets a token, or goes on without where none can be had. Rejects only in {@link Ec2Metadata.get}.
 *
 * @param options.exchangeMs limit of each request
 * @param options.onTokenTimeout called when silence answered the token request
 */
export async function openEc2Metadata(
  { clock, http }: { readonly clock: Clock; readonly http: HttpRequest },
  signal: AbortSignal,
  options: { readonly exchangeMs: number; readonly onTokenTimeout?: () => void },
): Promise<Ec2Metadata> {
  const exchange = (
    method: 'GET' | 'PUT',
    path: string,
    headers: Readonly<Record<string, string>>,
  ): ReturnType<HttpRequest> =>
    within(clock, options.exchangeMs, signal, (limit) =>
      http({ method, url: `${base}${path}`, headers, signal: limit }),
    );

  let token: string | undefined;
  let whyNoToken = '';
  try {
    const answer = await exchange('PUT', '/latest/api/token', {
      'X-aws-ec2-metadata-token-ttl-seconds': tokenTtlSeconds,
    });
    if (answer.status === 200) token = answer.body;
    else whyNoToken = `the token request answered ${answer.status}`;
  } catch (error) {
    // A refused connection means there is no service; silence is what a hop limit of 1 looks like.
    whyNoToken = `the token request: ${(error as Error).message}`;
    if (!signal.aborted && !('code' in (error as Error))) options.onTokenTimeout?.();
  }
  return {
    version: token === undefined ? 1 : 2,
    async get(path) {
      const answer = await exchange('GET', path, token === undefined ? {} : { 'X-aws-ec2-metadata-token': token });
      if (answer.status === 401 || answer.status === 403) {
        throw new Error(
          token === undefined
            ? `${whyNoToken}, and the instance requires a token (metadata v2)`
            : `answered ${answer.status}`,
        );
      }
      return answer;
    },
  };
}
