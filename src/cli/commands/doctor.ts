import { collectDoctorReport, formatDoctor } from '../../environment/index.ts';
import { DockerodeEngine } from '../../node/dockerode-engine.ts';
import { engineEndpoint } from '../../node/engine-endpoint.ts';
import { createProbePorts } from '../../node/environment-probes.ts';
import { createLogger } from '../../node/logger.ts';
import { SystemClock } from '../../node/system-clock.ts';
import { SystemRandom } from '../../node/system-random.ts';
import { command, expectNoArgs, settle } from '../command.ts';
import { formatFlag, oneOf, wantsJson } from '../flags.ts';
import { noMetrics } from '../registrator-flags.ts';

/** Ports of an agent that nobody configured otherwise. */
const portDefaults = { serfLan: 8301, serfWan: 8302, server: 8300 } as const;

const metadataModes = ['auto', 'always', 'never'] as const;

export const doctor = command({
  name: 'doctor',
  summary: 'Tell what the agent finds out about where it runs',
  description: [
    'Looks at interfaces, container, Docker engine, ECS and cloud metadata as the agent does when it starts, and prints which address it would advertise and why, which ports are not published, and what to mend.',
  ],
  flags: {
    ...formatFlag,
    advertise: { kind: 'string', value: 'ADDR', help: 'As for the agent.' },
    bind: { kind: 'string', value: 'ADDR', help: 'As for the agent. Default 0.0.0.0.' },
    'serf-lan-port': { kind: 'int', value: 'PORT', help: 'As for the agent. Default 8301.' },
    'serf-wan-port': { kind: 'int', value: 'PORT', help: 'As for the agent. Default 8302; 0 on clients.' },
    'server-port': { kind: 'int', value: 'PORT', help: 'As for the agent. Default 8300; 0 on clients.' },
    metadata: {
      kind: 'string',
      value: 'auto|always|never',
      help: 'Ask the metadata services of clouds. Default auto.',
    },
  },
  async run({ io, values, args, color, dependencies }) {
    expectNoArgs(args);
    const format = wantsJson(values.format) ? 'json' : 'table';
    const clock = new SystemClock();
    const { logger } = createLogger({ level: 'error', json: false, stdout: io.stderr, clock });
    const endpoint = settle(() => engineEndpoint(io.env));
    const engine = new DockerodeEngine({ endpoint, clock, random: new SystemRandom(), logger, metrics: noMetrics });
    const report = await collectDoctorReport(createProbePorts(clock, engine), {
      advertise: {
        advertiseAddr: values.advertise ?? null,
        bindAddr: values.bind ?? '0.0.0.0',
        ports: {
          serfLan: values['serf-lan-port'] ?? portDefaults.serfLan,
          serfWan: values['serf-wan-port'] ?? portDefaults.serfWan,
          server: values['server-port'] ?? portDefaults.server,
        },
      },
      metadata: oneOf('metadata', values.metadata, metadataModes) ?? 'auto',
      versions: [
        ['Portolan', dependencies.version.version],
        ['Node', process.versions.node],
      ],
    });
    io.stdout.write(formatDoctor(report, { color, format }));
    return 0;
  },
});
