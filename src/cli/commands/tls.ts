/** `tls`: certificates for agents, signed by an authority of one's own. Needs no agent. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { goFileError } from '../../client/index.ts';
import { certificateSubject, decodePem, encodePem, makeCertificate } from '../../codec/index.ts';
import { parseIp } from '../../config/index.ts';
import { SystemClock } from '../../node/system-clock.ts';
import { SystemRandom } from '../../node/system-random.ts';
import { CliError, command } from '../command.ts';

const dayMs = 24 * 3600 * 1000;
const caDaysDefault = 1825;
const certificateDaysDefault = 365;
/** A certificate may be shown to everybody, its key to nobody. */
const certificateMode = 0o644;
const keyMode = 0o600;
/** Certificates of a kind in one folder: the number in the names of the files. */
const certificatesMax = 100;

function daysFlag(days: number) {
  return { kind: 'int', value: 'DAYS', help: `Life of the certificate, days. Default ${days}.` } as const;
}

const createCa = command({
  name: 'tls ca create',
  summary: 'Make a certificate authority',
  description: [
    'Makes a certificate authority for agents: DOMAIN-agent-ca.pem and its key, DOMAIN-agent-ca-key.pem, in this folder. All agents get the certificate, none the key.',
  ],
  flags: {
    days: daysFlag(caDaysDefault),
    domain: { kind: 'string', value: 'NAME', help: 'Domain of DNS names. Default consul.' },
    'name-constraint': { kind: 'bool', help: 'An authority for names in that domain and localhost only.' },
    'additional-name-constraint': {
      kind: 'list',
      value: 'DOMAIN',
      help: 'With -name-constraint: this domain too. May be given several times.',
    },
  },
  run({ values, out }) {
    const { domain = 'consul', days = caDaysDefault, 'additional-name-constraint': more = [] } = values;
    const files = [`${domain}-agent-ca.pem`, `${domain}-agent-ca-key.pem`] as const;
    for (const file of files) if (existsSync(file)) throw new CliError(`${file} already exists.`);
    const key = newKey();
    const serial = newSerial();
    const name = `Portolan Agent CA ${serial}`;
    const nowMs = new SystemClock().wallMs();
    const certificate = makeCertificate({
      serial,
      commonName: name,
      issuerName: name,
      notBeforeMs: nowMs,
      notAfterMs: nowMs + days * dayMs,
      publicKey: createPublicKey(key),
      signingKey: key,
      isAuthority: true,
      ...(values['name-constraint'] && { permittedDomains: [...more, domain, 'localhost'] }),
    });
    save(files, certificate, key, out);
    return 0;
  },
});

const createCert = command({
  name: 'tls cert create',
  summary: 'Make a certificate for an agent',
  description: [
    'Makes a certificate, DC-KIND-DOMAIN-N.pem, and its key, DC-KIND-DOMAIN-N-key.pem, in this folder, signed by the authority of "portolan tls ca create".',
  ],
  flags: {
    server: { kind: 'bool', help: 'For a server.' },
    client: { kind: 'bool', help: 'For a client agent.' },
    cli: { kind: 'bool', help: 'For the command line.' },
    ca: { kind: 'string', value: 'FILE', help: 'The authority. Default DOMAIN-agent-ca.pem.' },
    key: { kind: 'string', value: 'FILE', help: 'Its key. Default DOMAIN-agent-ca-key.pem.' },
    days: daysFlag(certificateDaysDefault),
    dc: { kind: 'string', value: 'DC', help: 'Datacenter. Default dc1.' },
    domain: { kind: 'string', value: 'NAME', help: 'Domain of DNS names. Default consul.' },
    node: { kind: 'string', value: 'NAME', help: 'With -server: name of the node, added to the DNS names.' },
    'additional-dnsname': { kind: 'list', value: 'NAME', help: 'DNS name to add. May be given several times.' },
    'additional-ipaddress': { kind: 'list', value: 'ADDR', help: 'IP address to add. May be given several times.' },
  },
  run({ values, out }) {
    const kinds = (['server', 'client', 'cli'] as const).filter((one) => values[one]);
    const [kind] = kinds;
    if (kind === undefined || kinds.length > 1) {
      throw new CliError('Please provide either -server, -client, or -cli');
    }
    const { dc = 'dc1', domain = 'consul', days = certificateDaysDefault, node = '' } = values;
    if (node !== '' && kind !== 'server') throw new CliError('-node requires -server');
    const ca = values.ca ?? `${domain}-agent-ca.pem`;
    const caKey = values.key ?? `${domain}-agent-ca-key.pem`;
    const files = freeFiles(`${dc}-${kind}-${domain}`);
    if (kind === 'server') {
      out(
        '==> WARNING: who holds this certificate can act as a server, and so reach\n    everything in the cluster, root keys and ACL tokens included. Keep it on\n    servers only, and its key as safe as that of the authority.',
      );
    }
    const authority = decodePem('CERTIFICATE', read('CA', ca));
    if (authority === undefined) throw new CliError(`Error reading CA: ${ca} holds no certificate`);
    const signingKey = readKey(caKey);
    const addresses = [...(values['additional-ipaddress'] ?? []), ...(kind === 'cli' ? [] : ['127.0.0.1'])];
    const host = `${kind}.${dc}.${domain}`;
    const key = newKey();
    const nowMs = new SystemClock().wallMs();
    out(`==> Using ${ca} and ${caKey}`);
    const certificate = makeCertificate({
      serial: newSerial(),
      commonName: host,
      issuerName: certificateSubject(authority),
      notBeforeMs: nowMs,
      notAfterMs: nowMs + days * dayMs,
      publicKey: createPublicKey(key),
      signingKey,
      isAuthority: false,
      dnsNames: [
        ...(values['additional-dnsname'] ?? []),
        ...(node === '' ? [] : [`${node}.${host}`]),
        host,
        'localhost',
      ],
      ipAddresses: addresses.map(addressBytes),
      purposes: purposesOf[kind],
    });
    save(files, certificate, key, out);
    return 0;
  },
});

const purposesOf = { server: ['server', 'client'], client: ['client', 'server'], cli: [] } as const;

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
}

/** 128 random bits. */
function newSerial(): bigint {
  return BigInt(`0x${Buffer.from(new SystemRandom().bytes(16)).toString('hex')}`);
}

type FilePair = readonly [certificate: string, key: string];

/** The first names with that beginning which nothing has. */
function freeFiles(prefix: string): FilePair {
  for (let number = 0; number < certificatesMax; number++) {
    const files: FilePair = [`${prefix}-${number}.pem`, `${prefix}-${number}-key.pem`];
    if (!files.some((file) => existsSync(file))) return files;
  }
  throw new CliError(`could not find a filename that doesn't already exist: ${prefix}-0 to -${certificatesMax - 1}`);
}

function read(what: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError(`Error reading ${what}: ${goFileError('open', path, error)}`, { cause: error });
  }
}

function readKey(path: string): KeyObject {
  const pem = read('CA key', path);
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new CliError(`Error reading CA key: ${path} holds no private key`, { cause: error });
  }
}

function save(
  [certificateFile, keyFile]: FilePair,
  certificate: Uint8Array,
  key: KeyObject,
  out: (line: string) => void,
): void {
  const write = (path: string, text: string, mode: number): void => {
    try {
      writeFileSync(path, text, { mode, flag: 'wx' });
    } catch (error) {
      throw new CliError(`Error writing: ${goFileError('open', path, error)}`, { cause: error });
    }
    out(`==> Saved ${path}`);
  };
  write(certificateFile, encodePem('CERTIFICATE', certificate), certificateMode);
  write(keyFile, key.export({ type: 'sec1', format: 'pem' }) as string, keyMode);
}

/** @throws CliError for what is no address. */
function addressBytes(text: string): Uint8Array {
  const ip = parseIp(text);
  if (ip === undefined) throw new CliError(`-additional-ipaddress must be an IP address, not "${text}"`);
  return Buffer.from(ip.value.toString(16).padStart(ip.family === 4 ? 8 : 32, '0'), 'hex');
}

export const tls = [createCa, createCert];
