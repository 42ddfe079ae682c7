// `npm run bench`: builds the agent and the bench, and starts it.
import { join } from 'node:path';
import { bundle, copyOfAgent, launch } from './support/launch.mjs';

copyOfAgent('portolan.js');
launch(join(await bundle({ bench: 'test/bench/main.ts' }), 'bench.mjs'));
