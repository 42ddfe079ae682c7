// watch with a child: what the child is given, and what its end means.
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { fakeAgent } from './in-process.ts';

const answers = {
  'GET /v1/agent/self': { json: {} },
  'GET /v1/catalog/services': (_: unknown, response: ServerResponse) =>
    void response.setHeader('X-Consul-Index', '7').end('{"web":["a"],"api":[]}'),
} as const;

test.each([
  [['cat; echo " $CONSUL_INDEX"; exit 3'], '{"web":["a"],"api":[]}\n 7\n', 'exit status 3'],
  [['kill -9 $$'], '', 'signal: killed'],
  [['-shell=false', '/bin/false'], '', 'exit status 1'],
])('a failing child ends it: %j', async (words, stdout, how) => {
  const agent = await fakeAgent(answers);
  try {
    expect(await agent.run(['watch', '-type=services', ...words])).toEqual({
      exit: 1,
      stdout,
      stderr: `Error executing handler: ${how}\n`,
    });
  } finally {
    await agent.close();
  }
});

test('a question that the agent refuses ends it without a child', async () => {
  const agent = await fakeAgent({
    'GET /v1/agent/self': { json: {} },
    'GET /v1/catalog/nodes': { status: 403, text: 'Permission denied' },
  });
  try {
    const { exit, stderr } = await agent.run(['watch', '-type=nodes']);
    expect({ exit, stderr }).toEqual({
      exit: 1,
      stderr: 'Error running watch: Unexpected response code: 403 (Permission denied)\n',
    });
  } finally {
    await agent.close();
  }
});
