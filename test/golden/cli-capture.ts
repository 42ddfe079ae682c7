// Reads the recorded command lines of test/fixtures/golden/cli: what was typed, and what came back on both streams.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const captureDir = join(import.meta.dirname, '../fixtures/golden/cli');

/** Names of the captures that need no agent. */
export const withoutAgent: readonly string[] = `
  no-args unknown-command help-members help-short unknown-flag
  kv-no-sub kv-unknown-sub no-agent-info no-agent-join no-agent-kv-get
  no-agent-leave no-agent-members no-agent-reload kv-get-no-key kv-put-no-key
  kv-put-too-many kv-put-acquire-nosession kv-put-cas-create kv-put-cas-missing-index kv-put-file-missing
  kv-put-leading-slash kv-delete-empty kv-delete-cas-recurse kv-import-none kv-import-bad
  kv-import-bad-base64 leave-args maint-both maint-reason-only maint-service-only
  join-none force-leave-none members-status-bad-regex members-token-both members-unix-missing
  version-bad-format services-register-none services-register-both services-register-missing services-deregister-none
  validate-none validate-missing validate-bad validate-ok validate-quiet
  agent-bad-flag agent-bad-bool agent-bad-duration-flag agent-extra-args agent-bool-space
  lock-noargs lock-negative-n event-noname event-tag-only rtt-none
  intention-create-args intention-create-both intention-match-both
  operator-raft-remove-none operator-raft-remove-both operator-autopilot-set-bad
  watch-notype watch-badtype watch-key-missing no-agent-watch
  agent-config-missing agent-no-data-dir agent-unknown-key agent-bad-log-level agent-advertise-any
  acl-auth-method-create-bad acl-role-update acl-set-agent-token-args acl-set-agent-token-bad
  acl-token-create-none acl-token-delete-none
  config-write-none config-write-bad connect-ca-set-config-none connect-envoy-noargs connect-proxy-noargs
  debug-short exec-none keyring-none keyring-two keyring-relay-bad login-none
  snapshot-save-none snapshot-restore-none tls-cert-create-none
`
  .trim()
  .split(/\s+/);

export interface Capture {
  readonly name: string;
  /** Words after the program's name. */
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: string;
  /** It was interrupted after this time, ms. */
  readonly interruptMs: number | undefined;
  readonly exit: number;
  readonly stdout: Recorded;
  readonly stderr: Recorded;
}

export interface Recorded {
  readonly text: string;
  /** The capture holds only the beginning; a usage text followed. */
  readonly usageOmitted: boolean;
}

const omitted = '<usage text omitted>';

export function readCapture(name: string): Capture {
  const file = readFileSync(join(captureDir, `${name}.txt`), 'utf8');
  const parts = /^([^]*?)^--- stdout \((\d+) bytes\)\n([^]*?)^--- stderr \((\d+) bytes\)\n([^]*)$/m.exec(file);
  if (parts === null) throw new Error(`${name}.txt is not a capture`);
  const [, head = '', stdoutBytes, stdout = '', stderrBytes, stderr = ''] = parts;
  const field = (key: string): string | undefined => new RegExp(`^${key}: (.*)$`, 'm').exec(head)?.[1];
  const words = splitWords(field('command')!);
  const at = words.indexOf('consul');
  return {
    name,
    argv: words.slice(at + 1),
    env: Object.fromEntries(words.slice(0, at).map((word) => word.split('=', 2) as [string, string])),
    stdin: JSON.parse(field('stdin') ?? '""') as string,
    interruptMs: interruptOf(field('signal')),
    exit: Number(field('exit')),
    stdout: recorded(stdout, Number(stdoutBytes)),
    stderr: recorded(stderr, Number(stderrBytes)),
  };
}

/** `SIGINT after 2s` */
function interruptOf(text = ''): number | undefined {
  const seconds = /^SIGINT after (\d+)s$/.exec(text)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

/** The file format drops line feeds at the end of a stream; the byte count brings them back. */
function recorded(text: string, bytes: number): Recorded {
  const cut = text.indexOf(omitted);
  if (cut !== -1) return { text: text.slice(0, cut), usageOmitted: true };
  const missing = bytes - Buffer.byteLength(text.replaceAll('<management token>', '.'.repeat(36)));
  return { text: missing >= 0 ? text + '\n'.repeat(missing) : text.slice(0, missing), usageOmitted: false };
}

/** Splits as a shell does, single quotes only: that is all the captures use. */
function splitWords(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|<[^>]*>|[^\s'])+/g)].map(([word]) => word.replaceAll("'", ''));
}
