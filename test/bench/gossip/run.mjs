// `npm run bench:gossip [-- --only growth|lifeguard|member] [--quick]`: bundles the bench and starts it. Thousands of
// members in one process hold millions of records, so the heap is made large.
import { join } from 'node:path';
import { bundle, launch } from '../support/launch.mjs';

const folder = await bundle({
  gossip: 'test/bench/gossip/main.ts',
  'gossip-member': 'test/bench/gossip/member-process.ts',
});
launch(join(folder, 'gossip.mjs'), { flags: ['--max-old-space-size=16000', '--max-semi-space-size=256'] });
