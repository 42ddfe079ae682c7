import { describe, expect, test } from 'vitest';
import { GoDurationError, parseGoDuration } from '../../../src/codec/index.ts';

describe('units', () => {
  test.each(['constructor', 'toString', '__proto__', 'hasOwnProperty'])(
    '%s is a unit of nothing, though every object has it',
    (unit) => {
      expect(() => parseGoDuration(`5${unit}`)).toThrow(
        new GoDurationError(`time: unknown unit "${unit}" in duration "5${unit}"`),
      );
    },
  );
});
