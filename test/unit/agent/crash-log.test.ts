import { EventEmitter } from 'node:events';
import { describe, expect, test } from 'vitest';
import { logCrashes } from '../../../src/agent/crash-log.ts';
import { recordingLogger } from '../checks/support.ts';

describe('the log of a crash', () => {
  test('names the error and where it came from, until it is let go', () => {
    const { logger, lines } = recordingLogger();
    const source = new EventEmitter();
    const letGo = logCrashes(source, logger);
    const error = new Error('out of order');
    source.emit('uncaughtExceptionMonitor', error, 'unhandledRejection');
    letGo();
    source.emit('uncaughtExceptionMonitor', error, 'uncaughtException');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 'error', fields: { error, origin: 'unhandledRejection' } });
  });
});
