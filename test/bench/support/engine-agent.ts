/** An engine of our own with an agent beside it, in the engine's network namespace. */
import { startEngine, type TestEngine } from '../../engine/support/dockerd.ts';
import type { Context } from './context.ts';
import { EngineApi } from './engine-api.ts';
import { portolan, RunningSubject } from './subject.ts';

/** Five ports from here on, in the engine's namespace. */
const port = 21_000;

export interface EngineAgent {
  readonly engine: TestEngine;
  readonly api: EngineApi;
  /** Starts an agent that watches the engine, and waits for its leader. */
  readonly startAgent: (node?: string, env?: Readonly<Record<string, string>>) => Promise<RunningSubject>;
}

/** Runs `body` with an engine, and removes everything afterwards. */
export async function withEngine<T>(
  context: Context,
  dockerdArgs: readonly string[],
  body: (rig: EngineAgent) => Promise<T>,
): Promise<T> {
  const engine = await startEngine({ own: true, args: dockerdArgs });
  let agent: RunningSubject | undefined;
  try {
    return await body({
      engine,
      api: new EngineApi(engine.host),
      async startAgent(node, env = {}) {
        await agent?.stop();
        agent = new RunningSubject(portolan(context.bundle, node), {
          address: engine.hostAddress,
          netns: engine.netns,
          port,
          env: { ...env, DOCKER_HOST: engine.host },
          args: [`-advertise=${engine.hostAddress}`],
        });
        await agent.started();
        return agent;
      },
    });
  } finally {
    await agent?.stop();
    await engine.close();
  }
}
