/** TCP checks: connect, and close at once (reference/agent.md §4.4). */
import { connect } from 'node:net';
import type { Clock } from '../ports/index.ts';
import { dialErrorText, splitHostPort } from './dial-error.ts';
import type { CheckResult, CheckRunner } from './runner.ts';

/** `timeout` of a network check that names none, ms. */
export const networkTimeoutMsDefault = 10_000;

export function tcpRunner(options: {
  readonly target: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
}): CheckRunner {
  const { target, timeoutMs, clock } = options;
  return {
    run(report, signal) {
      const address = splitHostPort(target);
      if (address === undefined) {
        report({ status: 'critical', output: `dial tcp: address ${target}: missing port in address` });
        return Promise.resolve();
      }
      return new Promise((resolve, reject) => {
        // An empty host is this machine, as in Go.
        const socket = connect({ host: address.host || 'localhost', port: address.port, autoSelectFamily: true });
        const end = (result: CheckResult | undefined): void => {
          timer.cancel();
          signal.removeEventListener('abort', onAbort);
          socket.removeAllListeners();
          socket.on('error', () => undefined);
          socket.destroy();
          if (result === undefined) reject(signal.reason as Error);
          else {
            report(result);
            resolve();
          }
        };
        const onAbort = (): void => end(undefined);
        const timer = clock.after(timeoutMs, () => {
          end({ status: 'critical', output: `dial tcp ${target}: i/o timeout` });
        });
        signal.addEventListener('abort', onAbort, { once: true });
        socket.once('connect', () => end({ status: 'passing', output: `TCP connect ${target}: Success` }));
        socket.once('error', (error) => end({ status: 'critical', output: dialErrorText(error, target) }));
      });
    },
  };
}
