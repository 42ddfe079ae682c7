import { randomBytes } from 'node:crypto';
import { command } from '../command.ts';

/** Bytes of a gossip key: AES-256. */
const keyBytes = 32;

export const keygen = command({
  name: 'keygen',
  summary: 'Make a key for gossip encryption',
  description: ['Prints a new random key, for "encrypt" in the configuration of every agent of a cluster.'],
  flags: {},
  run({ out }) {
    out(randomBytes(keyBytes).toString('base64'));
    return 0;
  },
});
