/** How long a start takes: from exec to the first HTTP answer, and to a leader; the real Consul beside it. */
import type { Context } from './support/context.ts';
import { progress, type Section, show } from './support/report.ts';
import { median, quantile } from './support/stats.ts';
import { consulOrReason, portolan, RunningSubject, type StartTimes, type Subject } from './support/subject.ts';

const rounds = 20;
const quickRounds = 4;
/** "Well under a second", to a leader (ms). */
const limitMs = 1_000;
const port = 21_100;

export async function measureStart(context: Context): Promise<Section> {
  const peer = consulOrReason(context.root);
  const subjects: readonly Subject[] = [portolan(context.bundle), ...(typeof peer === 'string' ? [] : [peer])];
  const times = new Map<string, StartTimes[]>(subjects.map(({ name }) => [name, []]));
  const total = context.quick ? quickRounds : rounds;
  for (let round = 0; round < total; round++) {
    // Alternating order, so that neither always has the warmer machine.
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      const running = new RunningSubject(subject, { port });
      try {
        times.get(subject.name)!.push(await running.started());
      } finally {
        await running.stop();
      }
    }
    progress(`start: ${round + 1} of ${total}`);
  }
  const figures = subjects.map(({ name }) => {
    const answer = times.get(name)!.map(({ answerMs }) => answerMs);
    const leader = times.get(name)!.map(({ leaderMs }) => leaderMs);
    return { name, answerMs: median(answer), leaderMs: median(leader), leaderP90Ms: quantile(leader, 0.9) };
  });
  return {
    title: 'Start of the agent',
    method: `\`agent -dev\`, from exec, ${total} starts each, alternating.${typeof peer === 'string' ? ` Without Consul: ${peer}` : ''}`,
    columns: ['ms', 'to the first HTTP answer', 'to a leader', 'to a leader, p90', 'limit'],
    rows: figures.map(({ name, answerMs, leaderMs, leaderP90Ms }, at) => ({
      cells: [name, show(answerMs), show(leaderMs), show(leaderP90Ms), at === 0 ? `leader < ${limitMs}` : ''],
      ...(at === 0 ? { kept: leaderMs < limitMs } : {}),
    })),
    data: Object.fromEntries(times),
  };
}
