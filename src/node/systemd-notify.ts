/**
 * Tells systemd that the agent is ready (reference/agent.md §3.8). Node has no Unix datagram sockets, so systemd's own
 * `systemd-notify` sends the message; the unit therefore needs `NotifyAccess=all`. Without `NOTIFY_SOCKET` nothing
 * happens at all.
 */
import { spawn } from 'node:child_process';
import type { Logger } from '../ports/index.ts';

/** The helper sends one datagram; what takes longer is stuck, ms. */
const notifyTimeoutMs = 5000;

export interface NotifyOptions {
  readonly logger: Logger;
  /** The process environment. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** The helper's path; tests give their own. */
  readonly command?: string;
}

/** Sends `READY=1`. Resolves when it is sent, not wanted, or failed; a failure is logged and changes nothing else. */
export function notifyReady({ logger, variables, command = 'systemd-notify' }: NotifyOptions): Promise<void> {
  const socket = variables['NOTIFY_SOCKET'];
  if (socket === undefined || socket === '') return Promise.resolve();
  return new Promise((resolve) => {
    const child = spawn(command, ['--ready'], {
      stdio: 'ignore',
      timeout: notifyTimeoutMs,
      env: { NOTIFY_SOCKET: socket, PATH: variables['PATH'] ?? '/usr/bin:/bin' },
    });
    child.unref();
    const fail = (reason: string): void => {
      logger.warn('systemd was not told that the agent is ready', { command, reason });
      resolve();
    };
    child.on('error', (error) => fail(error.message));
    child.on('exit', (code, signal) => {
      if (code === 0) resolve();
      else fail(`it ended with ${signal ?? `exit code ${code}`}`);
    });
  });
}
