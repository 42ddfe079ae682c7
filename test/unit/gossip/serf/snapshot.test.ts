import { describe, expect, test } from 'vitest';
import { replaySnapshot, Snapshot } from '../../../../src/gossip/serf/snapshot.ts';
import { MemoryAppendFile } from '../../../../src/sim/memory-append-file.ts';
import { VirtualClock } from '../../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../../helpers/logger.ts';

const replay = (text: string, rejoinAfterLeave = false) => {
  const { alive, ...times } = replaySnapshot(text, { rejoinAfterLeave });
  return { alive: Object.fromEntries(alive), ...times };
};

describe('reading a snapshot', () => {
  test('gives who was alive, and the clocks', () => {
    const text = [
      'alive: a 10.0.0.1:7946',
      'clock: 3',
      'alive: with space [fd00::1]:8301',
      'alive: b 10.0.0.2:7946',
      'not-alive: b',
      'event-clock: 7',
      'coordinate: {}',
      '# said by somebody',
      'query-clock: 9',
      'clock: 5',
      '',
    ].join('\n');
    expect(replay(text)).toEqual({
      alive: { a: '10.0.0.1:7946', 'with space': '[fd00::1]:8301' },
      memberTime: 5,
      eventTime: 7,
      queryTime: 9,
    });
  });

  const left = 'alive: a 10.0.0.1:1\nclock: 4\nevent-clock: 2\nleave\n';

  test('gives nothing after a leave', () => {
    expect(replay(left)).toEqual({ alive: {}, memberTime: 0, eventTime: 0, queryTime: 0 });
  });

  test('gives everything after a leave when told to rejoin', () => {
    expect(replay(left, true)).toEqual({ alive: { a: '10.0.0.1:1' }, memberTime: 4, eventTime: 2, queryTime: 0 });
  });

  test.each([
    ['a line cut by a crash', 'alive: a 10.0.0.1:1\nalive: b 10.0'],
    ['lines of another kind', 'alive: a 10.0.0.1:1\nfoo: bar\nalive:\nclock: x\nclock: 99999999999999999999\n'],
  ])('passes over %s', (_, text) => {
    expect(replay(text)).toEqual({ alive: { a: '10.0.0.1:1' }, memberTime: 0, eventTime: 0, queryTime: 0 });
  });
});

describe('writing a snapshot', () => {
  function setUp(options: { readonly text?: string; readonly rejoinAfterLeave?: boolean } = {}) {
    const { text = '', rejoinAfterLeave = false } = options;
    const clock = new VirtualClock();
    const file = new MemoryAppendFile(text);
    let memberTime = 1;
    const snapshot = new Snapshot({
      file,
      text,
      clock,
      logger: silentLogger,
      rejoinAfterLeave,
      memberClock: () => memberTime,
    });
    snapshot.start();
    return { clock, file, snapshot, setMemberTime: (time: number) => (memberTime = time) };
  }

  test('appends a line for each change', async () => {
    const { clock, file, snapshot, setMemberTime } = setUp();
    snapshot.memberAlive('a', '10.0.0.1:7946');
    snapshot.memberAlive('b', '10.0.0.2:7946');
    snapshot.memberGone('b');
    snapshot.sawEvent(4);
    snapshot.sawEvent(4);
    snapshot.sawQuery(2);
    setMemberTime(6);
    clock.advanceSync(499);
    expect(file.text).not.toContain('\nclock:');
    clock.advanceSync(1001);
    expect(file.text).toBe(
      'alive: a 10.0.0.1:7946\nalive: b 10.0.0.2:7946\nnot-alive: b\nevent-clock: 4\nquery-clock: 2\nclock: 5\n',
    );
    setMemberTime(7);
    await snapshot.stop();
    expect(file.text.endsWith('clock: 6\n')).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  test('notes no members after a leave, but still the clocks', async () => {
    const { file, snapshot } = setUp();
    snapshot.memberAlive('a', '10.0.0.1:1');
    await snapshot.leave();
    snapshot.memberGone('a');
    snapshot.sawEvent(3);
    expect(file.text).toBe('alive: a 10.0.0.1:1\nleave\nevent-clock: 3\n');
    file.crash();
    expect(file.text).toBe('alive: a 10.0.0.1:1\nleave\n');
  });

  test('never lets a name make lines of its own', () => {
    const { file, snapshot } = setUp();
    snapshot.memberAlive('evil\nleave', '10.0.0.1:1');
    snapshot.memberGone('evil\nleave');
    expect(file.text).toBe('');
  });

  test('begins anew when much of it is history, and says the same', () => {
    const { file, snapshot } = setUp();
    snapshot.memberAlive('stays', '10.0.0.9:1');
    let largest = 0;
    for (let i = 0; i < 20_000; i++) {
      snapshot.memberAlive(`n${i % 10}`, '10.0.0.1:7946');
      snapshot.memberGone(`n${i % 10}`);
      snapshot.sawEvent(i);
      largest = Math.max(largest, file.text.length);
    }
    expect(largest).toBeLessThanOrEqual(128 * 1024);
    expect(replay(file.text)).toMatchObject({ alive: { stays: '10.0.0.9:1' }, eventTime: 19_999 });
  });

  test.each([false, true])('keeps the meaning of a leave over a new file (rejoin: %s)', async (rejoinAfterLeave) => {
    const { file, snapshot } = setUp({ rejoinAfterLeave });
    snapshot.memberAlive('a', '10.0.0.1:1');
    await snapshot.leave();
    for (let i = 1; i < 20_000; i++) snapshot.sawEvent(i);
    expect(Object.keys(replay(file.text, rejoinAfterLeave).alive)).toEqual(rejoinAfterLeave ? ['a'] : []);
  });

  test('repairs the end of a file that a crash has cut', () => {
    const { file, snapshot } = setUp({ text: 'alive: a 10.0.0.1:1\nalive: b 10.0' });
    snapshot.memberAlive('c', '10.0.0.3:1');
    expect(replay(file.text).alive).toEqual({ a: '10.0.0.1:1', c: '10.0.0.3:1' });
  });
});
