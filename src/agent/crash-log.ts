/**
 * The last words of a process that a defect ends. It does end: nobody knows what is whole after an error that nobody
 * expected, and start-up is recovery (DESIGN rule 6). But the log says so, where operators look.
 */
import type { EventEmitter } from 'node:events';
import type { Logger } from '../ports/index.ts';

/** Logs what ends the process, and changes nothing else; @returns how to let go. */
export function logCrashes(source: Pick<EventEmitter, 'on' | 'off'>, logger: Logger): () => void {
  const log = (error: unknown, origin: string): void => {
    logger.error('the agent ends: an error that it does not know how to handle. Restart it, and report this line', {
      origin,
      error,
      ...(error instanceof Error ? { stack: error.stack } : {}),
    });
  };
  // The monitor leaves exit code and stack trace on stderr as they are; unhandled rejections come here too.
  source.on('uncaughtExceptionMonitor', log);
  return () => {
    source.off('uncaughtExceptionMonitor', log);
  };
}
