import { describe, expect, test } from 'vitest';
import {
  type AliasedCheck,
  type AliasTarget,
  type AliasView,
  AliasCheck,
  judgeAlias,
} from '../../../src/checks/alias.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';

const target: AliasTarget = { checkId: 'me', ownServiceId: 'follower', node: '', serviceId: 'web' };

function check(CheckID: string, ServiceID: string, Status: string, more: Partial<AliasedCheck> = {}): AliasedCheck {
  return {
    CheckID,
    ServiceID,
    Status,
    Name: `name of ${CheckID}`,
    Output: `output of ${CheckID}`,
    Type: 'ttl',
    ...more,
  };
}

function view(...checks: AliasedCheck[]): AliasView {
  return { hasService: (id) => id === 'web' || id === 'follower', checks: () => checks };
}

describe('the verdict', () => {
  const failing = (id: string): string => `Aliased check "name of ${id}" failing: output of ${id}`;

  test.each<[string, AliasTarget, AliasView | null, string, string]>([
    ['no checks', target, view(), 'passing', 'No checks found.'],
    ['all pass', target, view(check('a', 'web', 'passing')), 'passing', 'All checks passing.'],
    ['a warning', target, view(check('a', 'web', 'warning'), check('b', 'web', 'passing')), 'warning', failing('a')],
    [
      'the last warning',
      target,
      view(check('a', 'web', 'warning'), check('b', 'web', 'warning')),
      'warning',
      failing('b'),
    ],
    [
      'the first critical',
      target,
      view(check('w', 'web', 'warning'), check('a', 'web', 'critical'), check('b', 'web', 'critical')),
      'critical',
      failing('a'),
    ],
    ['another service', target, view(check('a', 'other', 'critical')), 'passing', 'No checks found.'],
    [
      'a check of the node',
      target,
      view(check('a', 'web', 'passing'), check('n', '', 'critical')),
      'critical',
      failing('n'),
    ],
    ['itself', { ...target, ownServiceId: 'web' }, view(check('me', 'web', 'critical')), 'passing', 'No checks found.'],
    [
      'a node-level alias and another one',
      { ...target, ownServiceId: '' },
      view(check('n', '', 'critical', { Type: 'alias' })),
      'passing',
      'No checks found.',
    ],
    [
      'an unknown service',
      { ...target, serviceId: 'nope' },
      view(),
      'critical',
      'Service nope could not be found on node ',
    ],
    ['an unknown node', { ...target, node: 'far' }, null, 'critical', 'Node far could not be found in the catalog'],
    [
      'a node without a service',
      { ...target, node: 'far', serviceId: '' },
      view(check('serfHealth', '', 'passing')),
      'passing',
      'All checks passing.',
    ],
  ])('%s', (_name, aliasTarget, aliasView, status, output) => {
    expect(judgeAlias(aliasTarget, aliasView)).toEqual({ status, output });
  });
});

describe('an alias check', () => {
  function start(
    checks: AliasedCheck[],
    aliasTarget = target,
  ): {
    clock: VirtualClock;
    change: () => void;
    answer: (aliasView: AliasView | null) => void;
    statuses: string[];
    alias: AliasCheck;
    listeners: () => number;
  } {
    const clock = new VirtualClock();
    const listeners = new Set<() => void>();
    const watchers = new Set<(aliasView: AliasView | null) => void>();
    const statuses: string[] = [];
    const alias = new AliasCheck({
      target: aliasTarget,
      source: {
        local: () => ({ hasService: () => true, checks: () => checks }),
        onLocalChange: (callback) => {
          listeners.add(callback);
          return () => listeners.delete(callback);
        },
        watchNode: (_node, onView) => {
          watchers.add(onView);
          return () => watchers.delete(onView);
        },
      },
      clock,
      outputBytesMax: 100,
      onStatus: (status, output) => statuses.push(`${status}: ${output}`),
    });
    return {
      clock,
      statuses,
      alias,
      change: () => listeners.forEach((callback) => callback()),
      answer: (aliasView) => watchers.forEach((callback) => callback(aliasView)),
      listeners: () => listeners.size + watchers.size,
    };
  }

  test('looks at once, after a change, and tells only what changed', () => {
    const checks = [check('a', 'web', 'passing')];
    const { clock, change, statuses } = start(checks);
    clock.advanceSync(0);
    change();
    change();
    clock.advanceSync(0);
    checks[0] = check('a', 'web', 'critical', { Output: 'gone' });
    change();
    clock.advanceSync(0);
    expect(statuses).toEqual(['passing: All checks passing.', 'critical: Aliased check "name of a" failing: gone']);
  });

  test('looks every minute without a change', () => {
    const checks = [check('a', 'web', 'passing')];
    const { clock, statuses } = start(checks);
    clock.advanceSync(0);
    checks[0] = check('a', 'web', 'warning', { Output: 'hm' });
    clock.advanceSync(59_999);
    expect(statuses).toHaveLength(1);
    clock.advanceSync(1);
    expect(statuses[1]).toBe('warning: Aliased check "name of a" failing: hm');
  });

  test('keeps its output within the limit, so two aliases of each other come to rest', () => {
    const { clock, statuses } = start([check('a', 'web', 'critical', { Output: 'x'.repeat(500) })]);
    clock.advanceSync(0);
    expect(statuses[0]).toHaveLength('critical: '.length + 100);
  });

  test('follows another node by its answers, and stops', () => {
    const { clock, answer, statuses, alias, listeners } = start([], { ...target, node: 'far' });
    clock.advanceSync(0);
    expect(statuses).toEqual([]);
    answer(view(check('a', 'web', 'passing')));
    clock.advanceSync(0);
    answer(null);
    clock.advanceSync(0);
    expect(statuses).toEqual(['passing: All checks passing.', 'critical: Node far could not be found in the catalog']);
    alias.stop();
    expect([listeners(), clock.pendingTimers]).toEqual([0, 0]);
  });
});
