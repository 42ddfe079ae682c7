// An engine over TCP with TLS, as DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH describe it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DockerodeEngine } from '../../src/node/dockerode-engine.ts';
import { engineEndpoint } from '../../src/node/engine-endpoint.ts';
import { SystemClock } from '../../src/node/system-clock.ts';
import { SystemRandom } from '../../src/node/system-random.ts';
import { recordingLogger, recordingMetrics } from '../unit/checks/support.ts';
import { engineSkipReason, startEngine, type TestEngine } from './support/dockerd.ts';

const skipped = engineSkipReason({ own: true });

describe.skipIf(skipped !== undefined)('an engine behind TLS', () => {
  let dir: string;
  let docker: TestEngine;

  /** A certificate of the authority in `dir`; without `extension` the authority itself. */
  function certificate(name: string, subject: string, extension?: string): void {
    const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}-key.pem`];
    if (extension === undefined) {
      openssl('req', '-x509', ...key, '-days', '2', '-subj', subject, '-out', `${name}.pem`);
      return;
    }
    writeFileSync(join(dir, `${name}.ext`), extension);
    openssl('req', ...key, '-subj', subject, '-out', `${name}.csr`);
    const issuer = ['-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial'];
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...issuer,
      '-days',
      '2',
      '-extfile',
      `${name}.ext`,
      '-out',
      `${name}.pem`,
    );
  }

  const engine = (more: Record<string, string>): DockerodeEngine =>
    new DockerodeEngine({
      endpoint: engineEndpoint({ DOCKER_HOST: `tcp://${docker.hostAddress}:2376`, ...more }),
      clock: new SystemClock(),
      random: new SystemRandom(),
      logger: recordingLogger().logger,
      metrics: recordingMetrics().metrics,
    });

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'portolan-engine-tls-'));
    certificate('ca', '/CN=test authority');
    // The address is known only when the engine runs, so the certificate is for all it may get.
    const addresses = Array.from({ length: 200 }, (_, slot) => `IP:10.213.${slot}.2`).join(',');
    certificate('server', '/CN=engine', `subjectAltName=${addresses}\nextendedKeyUsage=serverAuth\n`);
    certificate('cert', '/CN=client', 'extendedKeyUsage=clientAuth\n');
    execFileSync('cp', ['cert-key.pem', 'key.pem'], { cwd: dir });
    const tls = [`--tlscacert=${dir}/ca.pem`, `--tlscert=${dir}/server.pem`, `--tlskey=${dir}/server-key.pem`];
    docker = await startEngine({ own: true, args: ['--host=tcp://0.0.0.0:2376', '--tlsverify', ...tls] });
  });

  afterAll(async () => {
    await docker?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  test('is used with the certificates of DOCKER_CERT_PATH, execs included', async () => {
    const secure = engine({ DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: dir });
    const id = await docker.run('acme/plain');
    expect((await secure.listContainers({ all: false })).map(({ Id }) => Id)).toEqual([id]);
    const result = await secure.exec(id, { argv: ['echo', 'safe'], timeoutMs: 20_000, outputBytesMax: 100 });
    expect(Buffer.from(result.output).toString()).toBe('safe\n');
  });

  test('is used without verification with DOCKER_TLS', async () => {
    expect((await engine({ DOCKER_TLS: '1', DOCKER_CERT_PATH: dir }).info()).ID).not.toBe('');
  });

  test('refuses plain HTTP and a client without certificate; the error says which', async () => {
    await expect(engine({}).info()).rejects.toThrow(/HTTP request to an HTTPS server/);
    const without = engine({ DOCKER_TLS: '1', DOCKER_CERT_PATH: '/nonexistent' });
    await expect(without.info()).rejects.toThrow(/no TLS connection/);
  });
});
