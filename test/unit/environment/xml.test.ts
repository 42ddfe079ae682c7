import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { descend, parseXml, textAt, type XmlElement } from '../../../src/environment/xml.ts';

test('elements, attributes, sections, comments, entities', () => {
  const root = parseXml(
    '\uFEFF<?xml version="1.0" encoding="UTF-8"?>\n<!-- x -->\n<a xmlns="http://example.com/" b=\'1\'>\n' +
      '  <item><k>1 &lt; 2 &amp;&#x41;&#66;</k><none/></item><item ><k><![CDATA[<&>]]></k></item>\n</a>\n',
  );
  expect(root.name).toBe('a');
  expect(descend(root, 'item', 'k').map(({ text }) => text)).toEqual(['1 < 2 &AB', '<&>']);
  expect(textAt(root, 'item', 'none')).toBeUndefined();
  expect(textAt(root, 'other')).toBeUndefined();
});

test.each([
  ['nothing', '', 'no element'],
  ['text', 'hello', 'text outside the root element'],
  ['a document type', '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', '"<!DOCTYPE'],
  ['an entity of its own', '<a>&b;</a>', 'entity &b'],
  ['a bare ampersand', '<a>b & c</a>', 'entity & c'],
  ['a number that is no character', '<a>&#x110000;</a>', 'entity &#x110000'],
  ['an open element', '<a><b></b>', '<a> is not closed'],
  ['crossing elements', '<a><b></a></b>', '</a> closes b'],
  ['an end alone', '</a>', '</a> closes nothing'],
  ['two roots', '<a/><b/>', 'a second root element'],
  ['a broken tag', '<a b></a>', '"<a b></a>"'],
  ['depth without end', '<a>'.repeat(1000), 'more than 64 levels'],
])('%s is refused', (_, document, reason) => {
  expect(() => parseXml(document)).toThrow(reason);
});

describe('what is written', () => {
  const name = fc.stringMatching(/^[A-Za-z_][\w.-]{0,8}$/);
  const text = fc.string({ unit: 'grapheme' }).map((value) => value.trim());
  /** So many levels of at most three children. */
  const tree = (levels: number): fc.Arbitrary<XmlElement> =>
    fc.record({
      name,
      children: levels === 0 ? fc.constant([]) : fc.array(tree(levels - 1), { maxLength: 3 }),
      text,
    });
  const element = tree(3);
  const escape = (value: string): string => value.replace(/[<>&]/g, (each) => `&#${each.charCodeAt(0)};`);
  const write = ({ name, children, text }: XmlElement): string =>
    `<${name}>${escape(text)}${children.map(write).join('')}</${name}>`;

  test('is read back', () => {
    fc.assert(
      fc.property(element, (root) => {
        expect(parseXml(write(root))).toEqual(root);
      }),
    );
  });

  test('cut anywhere is refused', () => {
    fc.assert(
      fc.property(element, fc.nat(), (root, cut) => {
        const document = write(root);
        expect(() => parseXml(document.slice(0, cut % document.length))).toThrow('not the XML we read');
      }),
    );
  });
});
