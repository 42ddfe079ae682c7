/**
 * gRPC checks: `grpc.health.v1.Health/Check` (reference/agent.md §4.4). The two messages have one field each and are
 * written by hand; the gRPC library is loaded when the first such check runs.
 */
import type { Clock } from '../ports/index.ts';
import type { CheckRunner } from './runner.ts';
import type { CheckTls } from './tls-options.ts';

/** Status codes by number, as Go prints them. */
const codeNames = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const;
/** `HealthCheckResponse.ServingStatus.SERVING`. */
const serving = 1;

export function grpcRunner(options: {
  /** `host:port[/service]` */
  readonly target: string;
  readonly timeoutMs: number;
  readonly useTls: boolean;
  readonly skipVerify: boolean;
  readonly serverName: string | undefined;
  readonly userAgent: string;
  readonly tls: CheckTls;
  readonly clock: Clock;
}): CheckRunner {
  const { target, timeoutMs } = options;
  const slash = target.indexOf('/');
  const address = slash < 0 ? target : target.slice(0, slash);
  const service = slash < 0 ? '' : target.slice(slash + 1);
  return {
    async run(report, signal) {
      const grpc = await import('@grpc/grpc-js');
      const buffer = (value: CheckTls['ca']): Buffer | null => {
        if (value === undefined) return null;
        return Buffer.concat([value].flat().map((part) => Buffer.from(part as string)));
      };
      const credentials = options.useTls
        ? grpc.credentials.createSsl(buffer(options.tls.ca), buffer(options.tls.key), buffer(options.tls.cert), {
            rejectUnauthorized: !options.skipVerify,
          })
        : grpc.credentials.createInsecure();
      const client = new grpc.Client(address, credentials, {
        'grpc.primary_user_agent': options.userAgent,
        // A connection of its own for each run: a shared one would hide that no new one can be made.
        'grpc.use_local_subchannel_pool': 1,
        ...(options.serverName === undefined ? {} : { 'grpc.ssl_target_name_override': options.serverName }),
      });
      try {
        await new Promise<void>((resolve, reject) => {
          let timedOut = false;
          const call = client.makeUnaryRequest(
            '/grpc.health.v1.Health/Check',
            (request: string) => encodeHealthRequest(request),
            (bytes: Buffer) => decodeHealthStatus(bytes),
            service,
            (error, status) => {
              timer.cancel();
              signal.removeEventListener('abort', onAbort);
              if (signal.aborted) {
                reject(signal.reason as Error);
                return;
              }
              if (error !== null) {
                const code = timedOut ? 'DeadlineExceeded' : (codeNames[error.code] ?? `Code(${String(error.code)})`);
                const desc = timedOut ? 'context deadline exceeded' : error.details;
                report({ status: 'critical', output: `rpc error: code = ${code} desc = ${desc}` });
              } else if (status === serving) {
                report({ status: 'passing', output: `gRPC check ${target}: success` });
              } else {
                report({ status: 'critical', output: "gRPC application didn't report service healthy" });
              }
              resolve();
            },
          );
          const onAbort = (): void => call.cancel();
          const timer = options.clock.after(timeoutMs, () => {
            timedOut = true;
            call.cancel();
          });
          signal.addEventListener('abort', onAbort, { once: true });
        });
      } finally {
        client.close();
      }
    },
  };
}

/** `message HealthCheckRequest { string service = 1; }` */
export function encodeHealthRequest(service: string): Buffer {
  const name = Buffer.from(service, 'utf8');
  if (name.length === 0) return Buffer.alloc(0);
  return Buffer.concat([Buffer.from([0x0a]), varint(name.length), name]);
}

/** `message HealthCheckResponse { ServingStatus status = 1; }`; other fields are skipped, absent is 0 (UNKNOWN). */
export function decodeHealthStatus(bytes: Uint8Array): number {
  let at = 0;
  let status = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let shift = 0; at < bytes.length; shift += 7) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new Error('health response: message cut off');
  };
  while (at < bytes.length) {
    const key = readVarint();
    const wireType = key & 7;
    if (wireType === 0) {
      const value = readVarint();
      if (key >> 3 === 1) status = value;
    } else if (wireType === 2) {
      const length = readVarint();
      at += length;
    } else if (wireType === 5) at += 4;
    else if (wireType === 1) at += 8;
    else throw new Error(`health response: unknown wire type ${wireType}`);
  }
  return status;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}
