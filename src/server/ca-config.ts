/**
 * What the settings of the built-in certificate authority may be: read and refused in the peer's words
 * (reference/http-api.md §9.9). Settings of keys are looked at only: the root is made once, by the leader.
 */
import { formatGoDuration, GoDurationError, parseGoDurationMs } from '../codec/index.ts';
import { type CAConfiguration, CallError } from '../model/index.ts';

type Settings = CAConfiguration['Config'];

const hourMs = 3_600_000;
const leafTtlMsDefault = 72 * hourMs;
const leafTtlMsMin = hourMs;
const leafTtlMsMax = 365 * 24 * hourMs;
const intermediateTtlMsMin = 3 * hourMs;
const durationKeys = ['LeafCertTTL', 'RotationPeriod', 'IntermediateCertTTL'] as const;
const keyBits: Readonly<Record<string, { readonly allowed: readonly number[]; readonly problem: string }>> = {
  ec: { allowed: [224, 256, 384, 521], problem: 'EC key length must be one of (224, 256, 384, 521) bits' },
  rsa: { allowed: [2048, 4096], problem: 'RSA key length must be 2048 or 4096 bits' },
};

/** Validity of leaf certificates by stored settings, ms. */
export function leafTtlMs(settings: Settings): number {
  const given = settings?.['LeafCertTTL'];
  return given === undefined || given === '' ? leafTtlMsDefault : durationMs('LeafCertTTL', given, []);
}

/** @throws CallError when the authority cannot be run by these settings. */
export function requireValidCaSettings(settings: Settings): void {
  const problems: string[] = [];
  const durations = new Map(
    durationKeys.flatMap((key) => {
      const given = settings?.[key];
      return given === undefined || given === '' ? [] : [[key, durationMs(key, given, problems)] as const];
    }),
  );
  const rate = settings?.['CSRMaxPerSecond'];
  if (typeof rate === 'string' && (rate.trim() === '' || Number.isNaN(Number(rate)))) {
    problems.push(
      `cannot parse 'CSRMaxPerSecond' as float: strconv.ParseFloat: parsing ${JSON.stringify(rate)}: invalid syntax`,
    );
  }
  const bits = settings?.['PrivateKeyBits'];
  if (typeof bits === 'object' && bits !== null) problems.push(unconvertible('PrivateKeyBits', 'int', bits));
  if (problems.length > 0) {
    const lines = problems.toSorted().map((problem) => `* ${problem}`);
    throw refusal(`error decoding config: ${lines.length} error(s) decoding:\n\n${lines.join('\n')}`);
  }
  const leaf = durations.get('LeafCertTTL') ?? leafTtlMsDefault;
  if (leaf < leafTtlMsMin) throw refusal(`leaf cert TTL must be greater or equal than ${told(leafTtlMsMin)}`);
  if (leaf > leafTtlMsMax) throw refusal(`leaf cert TTL must be less than ${told(leafTtlMsMax)}`);
  if ((durations.get('IntermediateCertTTL') ?? Infinity) < intermediateTtlMsMin) {
    throw refusal('Intermediate Cert TTL must be greater or equal than 3h');
  }
  requireKeyKind(settings);
  for (const key of ['PrivateKey', 'RootCert']) {
    if (settings?.[key]) throw refusal(`${key} cannot be given; the root is made by the leader`);
  }
}

function requireKeyKind(settings: Settings): void {
  const type = settings?.['PrivateKeyType'] ?? '';
  if (type === '') return;
  const kind = typeof type === 'string' && Object.hasOwn(keyBits, type) ? keyBits[type] : undefined;
  if (kind === undefined) throw refusal("private key type must be either 'ec' or 'rsa'");
  const bits = settings?.['PrivateKeyBits'];
  if (bits !== undefined && !kind.allowed.includes(Number(bits))) throw refusal(kind.problem);
}

function durationMs(key: string, given: unknown, problems: string[]): number {
  if (typeof given === 'number') return given / 1e6;
  if (typeof given === 'string') {
    try {
      return parseGoDurationMs(given);
    } catch (error) {
      if (!(error instanceof GoDurationError)) throw error;
      problems.push(`error decoding '${key}': ${error.message}`);
      return 0;
    }
  }
  problems.push(unconvertible(key, 'time.Duration', given));
  return 0;
}

function unconvertible(key: string, type: string, given: unknown): string {
  const kind = Array.isArray(given) ? '[]interface {}' : 'map[string]interface {}';
  return `'${key}' expected type '${type}', got unconvertible type '${kind}'`;
}

function refusal(text: string): CallError {
  return new CallError(`error configuring provider: ${text}`);
}

function told(ms: number): string {
  return formatGoDuration(ms * 1e6);
}
