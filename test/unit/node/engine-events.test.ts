import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EventLines, parseEvent } from '../../../src/node/engine-events.ts';

const line = (timeNano: string, name = 'web'): string =>
  `{"status":"start","id":"abc","Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{"name":${JSON.stringify(name)}}},"scope":"local","time":1795168321,"timeNano":${timeNano}}`;

describe('the event stream', () => {
  test('gives the same events however the bytes are cut', () => {
    const nanos = ['1795168321901857300', '1795168321901857301', '1795168321674844123'];
    // A label with a letter of several bytes may be cut in its middle.
    const all = Buffer.from(nanos.map((nano) => `${line(nano, 'wéb ☃')}\n`).join(''));
    fc.assert(
      fc.property(fc.array(fc.nat(all.length)), (cuts) => {
        const lines = new EventLines();
        const bounds = [0, ...cuts.toSorted((a, b) => a - b), all.length];
        const events = bounds.slice(1).flatMap((end, index) => lines.push(all.subarray(bounds[index], end)));
        expect(events.map(({ timeNano }) => timeNano)).toEqual(nanos);
        expect(events[0]!.Actor.Attributes['name']).toBe('wéb ☃');
      }),
    );
  });

  test('keeps all 19 digits of timeNano, also when a label imitates it', () => {
    expect(parseEvent(line('1795168321901857301', 'x"timeNano":5'))?.timeNano).toBe('1795168321901857301');
  });

  test('without timeNano the seconds serve', () => {
    const text = '{"Type":"container","Action":"die","Actor":{"ID":"a"},"time":5}';
    expect(parseEvent(text)).toMatchObject({ timeNano: '5000000000', Actor: { Attributes: {} } });
  });

  test.each(['', '   ', 'no json', '{}', '{"message":"server error"}', '{"Type":"container","Action":"x","Actor":{}}'])(
    'skips %j',
    (text) => {
      expect(parseEvent(text)).toBeUndefined();
    },
  );

  test('reads records of a JSON text sequence', () => {
    expect(parseEvent(`\u001e${line('1')}`)?.Action).toBe('start');
  });

  test('a line without end is no event stream', () => {
    const lines = new EventLines();
    expect(() => {
      for (let i = 0; i < 6; i++) lines.push(Buffer.alloc(1 << 20, 0x20));
    }).toThrow('longer than');
  });
});
