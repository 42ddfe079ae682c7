import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { engineEndpoint } from '../../../src/node/engine-endpoint.ts';

describe('where the engine is', () => {
  test.each([
    [{}, { kind: 'unix', socketPath: '/var/run/docker.sock' }],
    [{ DOCKER_HOST: '' }, { kind: 'unix', socketPath: '/var/run/docker.sock' }],
    [{ DOCKER_HOST: 'unix:///run/user/1/docker.sock' }, { kind: 'unix', socketPath: '/run/user/1/docker.sock' }],
    [{ DOCKER_HOST: 'tcp://h' }, { kind: 'tcp', host: 'h', port: 2375, tls: undefined }],
    [{ DOCKER_HOST: 'tcp://h:80/base' }, { kind: 'tcp', host: 'h', port: 80 }],
    [{ DOCKER_HOST: 'tcp://[::1]:2377' }, { kind: 'tcp', host: '::1', port: 2377 }],
    [
      { DOCKER_HOST: 'tcp://h:2375', DOCKER_CERT_PATH: '/x' },
      { kind: 'tcp', tls: undefined },
    ],
    [
      { DOCKER_HOST: 'tcp://h:2375', DOCKER_TLS_VERIFY: '', DOCKER_CERT_PATH: '/x' },
      { kind: 'tcp', tls: undefined },
    ],
  ])('%j', (env, expected) => {
    expect(engineEndpoint(env)).toMatchObject(expected);
  });

  test('a URL of the configuration wins over the environment', () => {
    expect(engineEndpoint({ DOCKER_HOST: 'tcp://h' }, 'unix:///x')).toMatchObject({ socketPath: '/x' });
  });

  test('TLS takes the files of DOCKER_CERT_PATH, and says which one is missing', () => {
    const dir = mkdtempSync(join(tmpdir(), 'portolan-certs-'));
    try {
      const env = { DOCKER_HOST: 'tcp://h', DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: dir };
      expect(() => engineEndpoint(env)).toThrow(/ca\.pem.*DOCKER_CERT_PATH must name a folder/);
      for (const name of ['ca', 'cert', 'key']) writeFileSync(join(dir, `${name}.pem`), name);
      expect(engineEndpoint(env)).toMatchObject({ port: 2376, tls: { ca: Buffer.from('ca'), verify: true } });
      expect(engineEndpoint({ ...env, DOCKER_TLS_VERIFY: '', DOCKER_TLS: '1' })).toMatchObject({
        tls: { verify: false },
      });
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('what cannot be used is refused with Consul’s text or a hint', () => {
    expect(() => engineEndpoint({ DOCKER_HOST: '/var/run/docker.sock' })).toThrow(
      'unable to parse docker host `/var/run/docker.sock`',
    );
    expect(() => engineEndpoint({ DOCKER_HOST: 'ssh://h' })).toThrow('use unix:///path/docker.sock or tcp://host:port');
  });
});
