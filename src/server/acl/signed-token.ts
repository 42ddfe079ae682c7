/** Signed JSON tokens as they come: three parts in base64, which are a header, claims and a signature over both. */
import { GoJsonError, parseGoJson } from '../../codec/index.ts';
import { CallError } from '../../model/index.ts';

/** Longest login token, characters; headers of common servers allow no more. */
const bearerMax = 64 * 1024;

export type Claims = Readonly<Record<string, unknown>>;

/** A signed token (RFC 7515, compact form) taken apart; nothing of it is believed yet. */
export interface SignedToken {
  readonly header: Claims;
  /** Null when they are no claims. */
  readonly claims: Claims | null;
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/** @param before what is said in front of a problem. @throws CallError */
export function parseSignedToken(bearer: string, before: string): SignedToken {
  const parts = bearer.length > bearerMax ? [] : bearer.split('.');
  if (parts.length !== 3) {
    throw new CallError(`${before}square/go-jose: compact JWS format must have three parts`);
  }
  const [head = '', body = '', signature = ''] = parts;
  const bytes = (part: string): Uint8Array => {
    const odd = part.search(/[^\w-]/);
    const end = odd >= 0 ? odd : part.length % 4 === 1 ? part.length - 1 : -1;
    if (end >= 0) throw new CallError(`${before}illegal base64 data at input byte ${end}`);
    return Buffer.from(part, 'base64url');
  };
  let header: unknown;
  try {
    const given = bytes(head);
    header = given.length === 0 ? {} : parseGoJson(given);
  } catch (error) {
    if (!(error instanceof GoJsonError)) throw error;
    throw new CallError(`${before}${error.message}`);
  }
  return {
    header: objectOf(header) ?? {},
    claims: claimsOf(bytes(body)),
    signed: Buffer.from(`${head}.${body}`, 'latin1'),
    signature: bytes(signature),
  };
}

/** Claims whose times are numbers, else null. */
function claimsOf(bytes: Uint8Array): Claims | null {
  let claims: Claims | null;
  try {
    claims = objectOf(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch {
    return null;
  }
  const isTime = (value: unknown): boolean => value === undefined || value === null || typeof value === 'number';
  return claims !== null && ['iat', 'nbf', 'exp'].every((name) => isTime(claims[name])) ? claims : null;
}

function objectOf(value: unknown): Claims | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Claims) : null;
}
