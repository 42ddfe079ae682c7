// A client agent and, behind it, a real server: they take the place of the one agent that a recorded conversation asks
// for. Arguments: the command of the client, then what that agent would be given. $PAIR_CONSUL is the real program.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../helpers/free-ports.mjs';

const words = process.argv.slice(2);
const start = words.indexOf('agent');
const [program, ...first] = words.slice(0, start);
const config = JSON.parse(readFileSync(words[words.indexOf('-config-file') + 1], 'utf8'));
/** What is neither the kind of agent nor where it finds its files. */
const others = words
  .slice(start + 1)
  .filter(
    (word, at, all) => word !== '-dev' && ![word, all[at - 1]].some((one) => /^-(config-file|data-dir)$/.test(one)),
  );
const directory = mkdtempSync(join(tmpdir(), 'portolan-pair-'));

function without(names) {
  return Object.fromEntries(Object.entries(config).filter(([name]) => !names.includes(name)));
}

function write(name, content) {
  const path = join(directory, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

const ports = {};
for (const name of ['http', 'server', 'serf_lan', 'serf_wan']) ports[name] = await freePort();
const server = write('server.json', {
  ...without(['node_name', 'node_id', 'node_meta', 'services', 'checks', 'watches', 'bootstrap_expect']),
  node_name: 'pair-server',
  ports: { ...ports, dns: -1, grpc: -1 },
});
const client = write('client.json', {
  ...without(['server', 'bootstrap', 'bootstrap_expect', 'ui']),
  data_dir: join(directory, 'data'),
  ports: { ...config.ports, server: ports.server },
  retry_join: [`127.0.0.1:${ports.serf_lan}`],
  retry_interval: '1s',
});
const children = [
  spawn(process.env.PAIR_CONSUL, ['agent', '-dev', '-config-file', server], { stdio: 'ignore' }),
  spawn(program, [...first, 'agent', '-config-file', client, ...others], { stdio: 'inherit' }),
];

let ended = false;
async function end() {
  if (ended) return;
  ended = true;
  const gone = children.map(async (child) => {
    if (child.exitCode === null && child.signalCode === null) await new Promise((done) => child.once('exit', done));
  });
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(gone);
  rmSync(directory, { recursive: true, force: true });
  process.exit(0);
}
process.on('SIGTERM', end);
process.on('SIGINT', end);
for (const child of children) child.once('exit', end);
