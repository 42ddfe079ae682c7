// The files in ecs/ agree with each other: what the template holds is what stands beside it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const folder = join(import.meta.dirname, '../../ecs');
const text = (name: string): string => readFileSync(join(folder, name), 'utf8');
const json = (name: string): unknown => JSON.parse(text(name));

interface Template {
  readonly Resources: Readonly<Record<string, { readonly Properties: Readonly<Record<string, unknown>> }>>;
}
const { Resources } = parse(text('template.yaml')) as Template;
const properties = (resource: string): Readonly<Record<string, unknown>> => Resources[resource]!.Properties;

const without = (record: Readonly<Record<string, unknown>>, ...names: readonly string[]): unknown =>
  Object.fromEntries(Object.entries(record).filter(([name]) => !names.includes(name)));

test("the template's user data ends with user-data.sh", () => {
  const { LaunchTemplateData } = properties('LaunchTemplate') as {
    readonly LaunchTemplateData: { readonly UserData: unknown };
  };
  const { UserData } = LaunchTemplateData as {
    readonly UserData: {
      readonly 'Fn::Base64': {
        readonly 'Fn::If': readonly [string, unknown, { readonly 'Fn::Join': readonly [string, readonly unknown[]] }];
      };
    };
  };
  const [separator, parts] = UserData['Fn::Base64']['Fn::If'][2]['Fn::Join'];
  expect(separator).toBe('\n');
  expect(parts[0]).toBe('#!/bin/bash');
  expect(parts.at(-1)).toBe(text('user-data.sh'));
});

test('user data is within the limit of EC2, 16 KB, with room for its settings', () => {
  expect(Buffer.byteLength(text('user-data.sh'))).toBeLessThan(12_000);
});

test.each([
  ['InstanceRole', 'the instance'],
  ['TaskRole', 'the task'],
])('%s may do what iam-policy.json allows', (resource) => {
  const [{ PolicyDocument }] = properties(resource)['Policies'] as [{ readonly PolicyDocument: unknown }];
  const { Statement } = json('iam-policy.json') as { readonly Statement: readonly Readonly<Record<string, unknown>>[] };
  expect(PolicyDocument).toEqual({
    Version: '2012-10-17',
    Statement: Statement.map((statement) => without(statement, 'Sid')),
  });
});

/** Names with a capital letter are the same with a small one. */
function asJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name[0]!.toLowerCase() + name.slice(1), asJson(inner)]),
  );
}

test("the template's task is that of task-definition-host.json", () => {
  const file = json('task-definition-host.json') as Readonly<Record<string, unknown>>;
  const filled = JSON.stringify(asJson(without(properties('TaskDefinition'), 'Family', 'TaskRoleArn')))
    .replace('{"ref":"Image"}', '"portolan"')
    .replace(
      '{"fn::Sub":"provider=aws tag_key=${TagKey} tag_value=server"}',
      '"provider=aws tag_key=portolan tag_value=server"',
    );
  expect(JSON.parse(filled)).toEqual(without(file, 'family'));
});

test('the two task definitions differ in the network only', () => {
  interface Definition {
    readonly containerDefinitions: readonly [Readonly<Record<string, unknown>>];
  }
  const strip = (name: string): unknown => {
    const definition = json(name) as Definition & Readonly<Record<string, unknown>>;
    return [
      without(definition, 'networkMode', 'containerDefinitions'),
      without(definition.containerDefinitions[0], 'command', 'portMappings'),
    ];
  };
  expect(strip('task-definition-bridge.json')).toEqual(strip('task-definition-host.json'));
});
