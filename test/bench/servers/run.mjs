// `npm run bench:servers [-- --quick] [--record name]`: builds the agent and the bench, and starts it.
import { join } from 'node:path';
import { bundle, copyOfAgent, launch } from '../support/launch.mjs';

const agent = copyOfAgent('portolan-servers.js');
const folder = await bundle({ servers: 'test/bench/servers/main.ts' });
launch(join(folder, 'servers.mjs'), { env: { PORTOLAN_BUNDLE: agent } });
