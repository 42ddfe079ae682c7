import { expect, test } from 'vitest';
import { busyLooks, busyShare, calmLooks, calmShare, HeapPolicy } from '../../../src/node/heap-policy.ts';

const calm = calmShare / 2;
const between = (calmShare + busyShare) / 2;

function observe(policy: HeapPolicy, share: number, times: number): string {
  let mode = '';
  for (let look = 0; look < times; look++) mode = policy.observe(share);
  return mode;
}

test('the heap stays small until there is load', () => {
  const policy = new HeapPolicy();
  expect(observe(policy, calm, 100)).toBe('small');
  expect(observe(policy, between, 100)).toBe('small');
  expect(observe(policy, 1, busyLooks - 1)).toBe('small');
  expect(observe(policy, between, 1)).toBe('small');
  expect(observe(policy, busyShare, busyLooks)).toBe('fast');
});

test('it becomes small again only after a while of calm', () => {
  const policy = new HeapPolicy();
  observe(policy, 1, busyLooks);
  expect(observe(policy, calm, calmLooks - 1)).toBe('fast');
  expect(policy.observe(calm)).toBe('small');
});

test('what is neither load nor calm changes nothing, and calm counts anew after it', () => {
  const policy = new HeapPolicy();
  observe(policy, 1, busyLooks);
  expect(observe(policy, between, 100)).toBe('fast');
  expect(observe(policy, calm, calmLooks - 1)).toBe('fast');
  expect(policy.observe(between)).toBe('fast');
  expect(observe(policy, calm, calmLooks - 1)).toBe('fast');
  expect(policy.observe(calm)).toBe('small');
});
