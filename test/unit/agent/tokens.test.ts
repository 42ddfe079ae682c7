import { describe, expect, test } from 'vitest';
import { AgentTokens } from '../../../src/agent/tokens.ts';
import type { Logger } from '../../../src/ports/index.ts';
import { MemoryFiles } from '../../../src/sim/memory-files.ts';

const configured = { default: 'd', agent: '', agent_master: 'm', replication: '' };

function tokensWith(files: MemoryFiles | undefined): { tokens: AgentTokens; warnings: string[] } {
  const warnings: string[] = [];
  const logger: Logger = {
    trace() {},
    debug() {},
    info() {},
    warn: (message) => void warnings.push(message),
    error() {},
    named: () => logger,
  };
  return { tokens: new AgentTokens({ configured, files, logger }), warnings };
}

describe('the agent’s own tokens', () => {
  test('without one of its own the agent uses the default token', () => {
    const { tokens } = tokensWith(undefined);
    expect([tokens.user, tokens.agent]).toEqual(['d', 'd']);
    tokens.configure({ ...configured, agent: 'a' });
    expect(tokens.agent).toBe('a');
  });

  test('what was exchanged wins over the configuration, also after a restart', async () => {
    const files = new MemoryFiles();
    const before = tokensWith(files).tokens;
    await Promise.all([before.set('default', 'x'), before.set('agent', 'y')]);
    const { tokens, warnings } = tokensWith(files);
    await tokens.load();
    expect([tokens.user, tokens.agent]).toEqual(['x', 'y']);
    expect(warnings).toHaveLength(1);
    tokens.configure({ ...configured, default: 'z' });
    expect(tokens.user).toBe('x');
  });

  test('exchanging for nothing takes the token away', async () => {
    const { tokens } = tokensWith(undefined);
    await tokens.set('default', '');
    expect(tokens.user).toBe('');
  });

  test('a file that cannot be read costs a warning', async () => {
    const files = new MemoryFiles();
    await files.write('acl-tokens.json', '{');
    const { tokens, warnings } = tokensWith(files);
    await tokens.load();
    expect(tokens.user).toBe('d');
    expect(warnings).toHaveLength(1);
  });

  test('so does a disk that cannot be read', async () => {
    const files = new MemoryFiles();
    files.read = () => Promise.reject(new Error('EIO: i/o error, read'));
    const { tokens, warnings } = tokensWith(files);
    await tokens.load();
    expect([tokens.user, warnings.length]).toEqual(['d', 1]);
  });

  test('no token is not the master token', async () => {
    const { tokens } = tokensWith(undefined);
    expect(tokens.isAgentMaster('m')).toBe(true);
    await tokens.set('agent_master', '');
    expect(tokens.isAgentMaster('')).toBe(false);
  });
});
