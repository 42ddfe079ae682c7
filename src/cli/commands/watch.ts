import { askWatch, followWatch, watchPlan } from '../../client/index.ts';
import { SystemClock } from '../../node/system-clock.ts';
import { startChild } from '../child.ts';
import { attempt, CliError, command, settle } from '../command.ts';
import { serverFlags } from '../flags.ts';
import { writeJson } from '../json.ts';

export const watch = command({
  name: 'watch',
  operands: '[child...]',
  summary: 'Wait for changes and run a command on each',
  description: [
    'Asks for data of one type. Without child prints it once, as JSON. With child runs it now and after every change, with the data as one line of JSON on its standard input and the index in CONSUL_INDEX, until interrupted or until the child fails.',
  ],
  flags: {
    ...serverFlags,
    type: {
      kind: 'string',
      value: 'TYPE',
      help: 'key, keyprefix, services, nodes, service, checks or event. Required.',
    },
    key: { kind: 'string', value: 'KEY', help: 'For key: the key.' },
    prefix: { kind: 'string', value: 'PREFIX', help: 'For keyprefix: where the keys begin.' },
    service: { kind: 'string', value: 'NAME', help: 'For service (required) and checks: the service.' },
    tag: { kind: 'list', value: 'TAG', help: 'For service: only instances with this tag. May be given several times.' },
    passingonly: { kind: 'string', value: 'true|false', help: 'For service: only healthy instances.' },
    state: { kind: 'string', value: 'STATE', help: 'For checks: only those in this state.' },
    name: { kind: 'string', value: 'NAME', help: 'For event: only events of this name.' },
    shell: { kind: 'bool', help: 'Let a shell read the words of the child. Default true.' },
  },
  async run({ io, values, args, warn, client }) {
    const { type = '' } = values;
    if (type === '') throw new CliError('Watch type must be specified', { usage: true });
    const plan = settle(() =>
      watchPlan({
        type,
        key: values.key ?? '',
        prefix: values.prefix ?? '',
        service: values.service ?? '',
        tags: values.tag ?? [],
        passingOnly: isTrue(values.passingonly),
        state: values.state ?? '',
        name: values.name ?? '',
      }),
    );
    const agent = client();
    await attempt('Error querying Consul agent', agent.ok('GET', '/v1/agent/self'));
    const stale = values.stale ?? false;
    if (args.length === 0) {
      const { data } = await attempt('Error running watch', askWatch(agent, plan, { stale }));
      writeJson(io, data);
      return 0;
    }

    const stop = new AbortController();
    const { signal } = stop;
    const removeHandler = io.onSignal(() => stop.abort());
    try {
      await followWatch(
        agent,
        new SystemClock(),
        plan,
        { stale },
        {
          async onChange(json, index) {
            const child = startChild(io, args, {
              shell: values.shell ?? true,
              input: `${json}\n`,
              env: { CONSUL_INDEX: index },
            });
            const interrupt = (): void => child.kill('SIGTERM');
            signal.addEventListener('abort', interrupt, { once: true });
            const failure = await attempt('Error executing handler', child.ended);
            signal.removeEventListener('abort', interrupt);
            if (failure !== undefined && !signal.aborted) throw new CliError(`Error executing handler: ${failure}`);
          },
          onError(error, pauseMs) {
            warn(`Watch (type: ${type}) errored: ${error.message}, retry in ${pauseMs / 1000}s`);
          },
        },
        signal,
      );
      return 0;
    } finally {
      removeHandler();
    }
  },
});

function isTrue(text = 'false'): boolean {
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)$/i.test(text)) return false;
  throw new CliError(`Failed to parse 'passingonly' flag: "${text}" must be true or false`);
}
