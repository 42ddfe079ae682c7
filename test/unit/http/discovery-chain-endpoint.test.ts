// `/v1/discovery-chain/`: what a request may set aside is read as freely as config entries are.
import { afterEach, expect, test } from 'vitest';
import { meta, start, stopAll } from './harness.ts';

afterEach(stopAll);

const chain = {
  ...meta,
  Chain: {
    ServiceName: 'web',
    Namespace: 'default',
    Datacenter: 'dc1',
    CustomizationHash: '',
    Protocol: 'tcp',
    StartNode: 'resolver:web.default.dc1',
    Nodes: {},
    Targets: {},
  },
};

test.each([
  [null, {}],
  [{ Bogus: 1, Namespace: 'x' }, {}],
  [
    { OverrideProtocol: 1, OverrideConnectTimeout: true },
    { OverrideProtocol: '1', OverrideConnectTimeout: 1 },
  ],
  [
    { override_connect_timeout: '5s', override_mesh_gateway: { mode: 'local' } },
    { OverrideConnectTimeout: 5e9, OverrideMeshGateway: { Mode: 'local' } },
  ],
])('%j', async (body, overrides) => {
  const { send, calls } = await start({ 'DiscoveryChain.Get': () => chain });
  const reply = await send('POST', '/v1/discovery-chain/web', { body: JSON.stringify(body) });
  expect(reply.status).toBe(200);
  expect(calls[0]?.request).toMatchObject({
    Datacenter: 'dc1',
    Name: 'web',
    EvaluateInDatacenter: '',
    ...overrides,
  });
});

test.each([
  ['[]', 'json: cannot unmarshal array into Go value of type map[string]interface {}'],
  [
    '{"OverrideConnectTimeout":"x"}',
    `1 error(s) decoding:\n\n* error decoding 'OverrideConnectTimeout': time: invalid duration "x"`,
  ],
  ['{"OverrideMeshGateway":"x"}', "1 error(s) decoding:\n\n* 'OverrideMeshGateway' expected a map, got 'string'"],
])('%s is refused', async (body, problem) => {
  const { send } = await start();
  const reply = await send('POST', '/v1/discovery-chain/web', { body });
  expect([reply.status, reply.body]).toEqual([400, `Bad request: Request decoding failed: ${problem}`]);
});
