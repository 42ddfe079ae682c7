// reference/registrator.md §5.4: every function of the table, and errors at start-up (R26).
import { describe, expect, test } from 'vitest';
import { documentOf, sampleDocument } from '../../../src/registrator/document.ts';
import { validateRegistratorOptions } from '../../../src/registrator/index.ts';
import { parseTemplate, TemplateError } from '../../../src/registrator/template.ts';
import { inspectOf, optionsOf } from './support.ts';

const options = optionsOf({ envAllow: ['A'] });
const sample = sampleDocument(options);
const document = documentOf(
  inspectOf({
    name: 'web',
    image: 'reg:5000/team/app:v2',
    env: ['A=1', 'B=2'],
    labels: { team: 'core', 'a.b': 'dots' },
  }),
  options,
  { network: 'bridge', engineName: 'host' },
);
const render = (text: string): string => parseTemplate(text, sample).render(document);

describe('templates', () => {
  test.each([
    ['{{strSlice "abcdef" 2}}', 'cdef'],
    ['{{strSlice "abcdef" 1 3}}', 'bc'],
    ['{{sIndex 1 (split "," "a,b,c")}}', 'b'],
    ['{{sIndex -1 (split "," "a,b,c")}}', 'c'],
    ['{{sIndex 9 (split "," "a,b,c")}}', 'c'],
    ['{{mIndex "team" .Config.Labels}}{{mIndex "none" .Config.Labels}}', 'core'],
    ['{{toUpper "aB"}}{{toLower "aB"}}', 'ABab'],
    ['{{replace -1 "a" "b" "aaa"}} {{replace 2 "a" "b" "aaa"}}', 'bbb bba'],
    ['{{join "-" (split "." "a.b.c")}}', 'a-b-c'],
    ['{{splitIndex 0 ":" .Config.Image}} {{splitIndex 9 ":" "a:b"}}', 'reg b'],
    ['{{matchFirstElement "^B" .Config.Env}}', 'B=2'],
    ['{{matchAllElements "=" .Config.Env | join ";"}}', 'A=1;B=2'],
    ['{{jsonParse `{"a":{"b":[1,2]}}` "a::b::1"}}', '2'],
    ['{{.Name}} {{.ID | printf "%s" | len}} {{.Portolan.ContainerName}}', '/web 64 web'],
    ['{{.Portolan.ImageName}} {{.Portolan.ImageTag}}', 'reg:5000/team/app v2'],
    ['{{if eq .Portolan.Network "bridge" "host"}}yes{{else}}no{{end}}', 'yes'],
    ['{{if .Config.Labels.missing}}yes{{else if true}}other{{end}}', 'other'],
    ['{{range $i, $e := .Config.Env}}{{$i}}{{$e}};{{end}}', '0A=1;1B=2;'],
    ['{{range .Portolan.Host}}x{{else}}empty{{end}}', 'empty'],
    ['{{with .Config}}{{.Hostname}}{{$.Portolan.ShortID | len}}{{end}}', 'box12'],
    ['{{with $x := "v"}}{{$x}}{{end}}', 'v'],
    ['{{$x := "a"}}{{if true}}{{$x = "b"}}{{end}}{{$x}}', 'b'],
    ['a {{- " b " -}} c{{/* nothing */}}', 'a b c'],
    ['{{index .Config.Labels "a.b"}} {{index .Config.Env 1}}', 'dots B=2'],
    ['{{and true "x"}} {{or "" "y"}} {{not false}} {{lt 1 2}} {{print "a" 1}}', 'x y true true a1'],
    ['{{range $n, $net := .NetworkSettings.Networks}}{{$n}}={{$net.IPAddress}}{{end}}', 'bridge=172.17.0.2'],
  ])('%s', (text, expected) => {
    expect(render(text)).toBe(expected);
  });

  test.each([
    ['{{httpGet "http://x"}}', 'httpGet is refused'],
    ['{{nope 1}}', 'function "nope" not defined'],
    ['{{.Nope}}', "can't evaluate field Nope"],
    ['{{if .Config.Nope}}{{end}}', "can't evaluate field Nope"],
    ['{{strSlice "a"}}', 'wrong number of args for strSlice: want 2 to 3 got 1'],
    ['{{if true}}', 'has no {{end}}'],
    ['{{end}}', 'unexpected {{end}}'],
    ['{{.Name', 'is not closed'],
    ['{{$x}}', 'undefined variable'],
    ['{{(print "a"}}', 'unclosed left paren'],
    ['{{}}', 'missing value'],
    [`{{${'('.repeat(100)}1${')'.repeat(100)}}}`, 'nested deeper'],
  ])('%s fails when it is parsed: %s', (text, message) => {
    expect(() => parseTemplate(text, sample)).toThrow(TemplateError);
    expect(() => parseTemplate(text, sample)).toThrow(message);
    expect(validateRegistratorOptions(optionsOf({ tags: text }))[0]).toContain(`-tags: `);
  });

  test('output is bounded', () => {
    const long = `{{range .}}{{end}}`.replace('.', '(split "" $.ID)').replace('{{end}}', `${'x'.repeat(2000)}{{end}}`);
    expect(() => render(long)).toThrow('longer than');
  });
});
