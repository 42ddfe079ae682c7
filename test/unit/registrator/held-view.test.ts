import { describe, expect, test } from 'vitest';
import type { HeldService } from '../../../src/registrator/index.ts';
import { HeldView } from '../../../src/registrator/held-view.ts';
import { Limiter } from '../../../src/registrator/retry.ts';
import { idOf, map } from './support.ts';

const [service] = map({ publish: { '80': ['8080'] } }).services;
const definition = service!.definition;
const engines = new Set(['ENGINE']);
const held: HeldService = {
  id: definition.id,
  name: definition.name,
  address: definition.address!,
  port: definition.port!,
  tags: definition.tags!,
  meta: definition.meta!,
  checks: new Map(),
};

describe('what the backend holds', () => {
  test('a list does not undo what was written while it was under way', async () => {
    const view = new HeldView();
    await view.refresh(async () => {
      view.registered(definition);
      return new Map();
    });
    expect(view.holds(service!)).toBe(true);
    await view.refresh(async () => {
      view.deregistered(definition.id);
      return new Map([[definition.id, held]]);
    });
    expect(view.get(definition.id)).toBeUndefined();
    expect(view.ownedBy(idOf('w1'), engines)).toEqual([]);
  });

  test('a registration whose answer was lost is owned, and equal to nothing', () => {
    const view = new HeldView();
    view.unsure(definition);
    expect(view.holds(service!)).toBe(false);
    expect(view.ownedBy(idOf('w1'), engines)).toEqual([definition.id]);
  });

  test.each([
    ['name', { name: 'other' }],
    ['address', { address: '1.1.1.1' }],
    ['port', { port: 1 }],
    ['tags', { tags: ['x'] }],
    ['meta', { meta: { ...held.meta, extra: '1' } }],
    ['digest', { meta: { ...held.meta, 'portolan-digest': 'x' } }],
  ])('a changed %s needs a write (R5)', async (_, change) => {
    const view = new HeldView();
    await view.refresh(async () => new Map([[held.id, held]]));
    expect(view.holds(service!)).toBe(true);
    await view.refresh(async () => new Map([[held.id, { ...held, ...change }]]));
    expect(view.holds(service!)).toBe(false);
  });
});

test('events pass before the background, and places never leak', async () => {
  const limiter = new Limiter(1);
  const order: string[] = [];
  let release = (): void => undefined;
  const first = limiter.run(false, () => new Promise((resolve) => (release = resolve)));
  const rest = [
    limiter.run(false, async () => void order.push('background')),
    limiter.run(true, async () => void order.push('urgent')),
    limiter
      .run(true, async () => {
        order.push('failed');
        throw new Error('x');
      })
      .catch(() => undefined),
  ];
  release();
  await Promise.all([first, ...rest]);
  expect(order).toEqual(['urgent', 'failed', 'background']);
  await limiter.run(false, async () => void order.push('again'));
  expect(order.at(-1)).toBe('again');
});
