// The body that registers a service with a foreign agent.
import { describe, expect, test } from 'vitest';
import { serviceRegistrationBody } from '../../../src/client/index.ts';
import type { ServiceDefinition } from '../../../src/model/index.ts';

describe('a registration body', () => {
  test('has wire names, durations as text, and nothing that was not given', () => {
    const definition: ServiceDefinition = {
      id: 'web-1',
      name: 'web',
      tags: ['a'],
      port: 80,
      meta: { k: 'v' },
      taggedAddresses: { lan: { Address: '10.0.0.1', Port: 80 } },
      checks: [
        { id: 'c', http: 'http://127.0.0.1/', intervalMs: 90_000, timeoutMs: 250, header: { Accept: ['a', 'b'] } },
        { ttlMs: 30_000, deregisterCriticalServiceAfterMs: 3_600_000 },
      ],
      connect: { sidecarService: { port: 21000 } },
    };
    expect(JSON.parse(serviceRegistrationBody(definition))).toEqual({
      ID: 'web-1',
      Name: 'web',
      Tags: ['a'],
      Port: 80,
      Meta: { k: 'v' },
      TaggedAddresses: { lan: { Address: '10.0.0.1', Port: 80 } },
      Checks: [
        {
          CheckID: 'c',
          HTTP: 'http://127.0.0.1/',
          Interval: '1m30s',
          Timeout: '250ms',
          Header: { Accept: ['a', 'b'] },
        },
        { TTL: '30s', DeregisterCriticalServiceAfter: '1h0m0s' },
      ],
      Connect: { SidecarService: { Port: 21000 } },
    });
  });

  test('of the least definition is the name', () => {
    expect(serviceRegistrationBody({ name: 'x' })).toBe('{"Name":"x"}');
  });
});
