import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { MetricsSnapshot } from '../../../src/http/agent-door.ts';
import { startRuntimeMetrics } from '../../../src/node/metrics-runtime.ts';
import { createMetrics, type MetricsOptions, metricsSeriesMax, prefixFilter } from '../../../src/node/metrics-sink.ts';
import { createStatsdOutlet, openStatsdSocket } from '../../../src/node/metrics-statsd.ts';
import { prometheusName } from '../../../src/node/prometheus.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';

const start = Date.UTC(2026, 10, 20, 10, 22, 20);

function open(options: Partial<MetricsOptions> = {}, wallStartMs = start) {
  const clock = new VirtualClock({ wallStartMs });
  return { clock, ...createMetrics({ clock, hostName: null, ...options }) };
}

describe('an interval', () => {
  test('is readable when it is complete, with the arithmetic of its observations', () => {
    const { clock, metrics, snapshot } = open();
    for (const value of [2, 4, 4, 4, 5, 5, 7, 9]) metrics.sample(['raft', 'commitTime'], value);
    metrics.count(['serf', 'events']);
    metrics.count(['serf', 'events'], 4);
    metrics.gauge(['memberlist', 'health', 'score'], 1);
    metrics.gauge(['memberlist', 'health', 'score'], 3);
    clock.advanceSync(10_000);
    metrics.count(['later']);
    const document: MetricsSnapshot = snapshot();
    expect(document).toEqual({
      Timestamp: '2026-11-20 10:22:20 +0000 UTC',
      Gauges: [{ Name: 'consul.memberlist.health.score', Value: 3, Labels: {} }],
      Points: [],
      Counters: [
        {
          Name: 'consul.serf.events',
          Count: 2,
          Rate: 0.5,
          Sum: 5,
          Min: 1,
          Max: 4,
          Mean: 2.5,
          Stddev: Math.sqrt(4.5),
          Labels: {},
        },
      ],
      Samples: [
        {
          Name: 'consul.raft.commitTime',
          Count: 8,
          Rate: 4,
          Sum: 40,
          Min: 2,
          Max: 9,
          Mean: 5,
          Stddev: Math.sqrt(32 / 7),
          Labels: {},
        },
      ],
    });
  });

  test('begins and ends at whole ten seconds of wall time', () => {
    const { clock, metrics, snapshot } = open({}, start + 7000);
    metrics.count(['a']);
    expect(snapshot()).toMatchObject({ Timestamp: '2026-11-20 10:22:20 +0000 UTC', Counters: [{ Sum: 1 }] });
    clock.advanceSync(3000);
    metrics.count(['b']);
    expect(snapshot().Counters.map(({ Name }) => Name)).toEqual(['consul.a']);
    clock.advanceSync(10_000);
    expect(snapshot()).toMatchObject({ Timestamp: '2026-11-20 10:22:30 +0000 UTC', Counters: [{ Name: 'consul.b' }] });
    clock.advanceSync(10_000);
    expect(snapshot().Counters).toEqual([]);
  });

  test('keeps one series per set of labels, sorted', () => {
    const { metrics, snapshot } = open();
    metrics.count(['q'], 1, [{ name: 'service', value: 'web' }]);
    metrics.count(['q'], 1, [{ name: 'service', value: 'api' }]);
    metrics.count(['q'], 1, [{ name: 'service', value: 'web' }]);
    expect(snapshot().Counters.map(({ Name, Sum, Labels }) => [Name, Sum, Labels])).toEqual([
      ['consul.q', 1, { service: 'api' }],
      ['consul.q', 2, { service: 'web' }],
    ]);
  });

  test('counts what is beyond the limit of series instead of taking it in', () => {
    const { clock, metrics, snapshot } = open();
    for (let n = 0; n < metricsSeriesMax + 3; n++) metrics.count(['q'], 1, [{ name: 'n', value: String(n) }]);
    metrics.gauge(['g'], 1);
    metrics.count(['q'], 1, [{ name: 'n', value: '0' }]);
    clock.advanceSync(10_000);
    const { Counters, Gauges } = snapshot();
    expect(Counters).toHaveLength(metricsSeriesMax + 1);
    expect(Gauges).toEqual([]);
    expect(Counters.find(({ Name }) => Name === 'consul.telemetry.series_dropped')).toMatchObject({ Sum: 4 });
    expect(Counters.find(({ Labels }) => Labels['n'] === '0')).toMatchObject({ Sum: 2 });
  });

  test('has the gauges that collect sets at its end', () => {
    let value = 0;
    const { clock, snapshot } = open({ collect: (metrics) => metrics.gauge(['runtime', 'x'], ++value) });
    expect(snapshot().Gauges).toMatchObject([{ Value: 1 }]);
    clock.advanceSync(10_000);
    expect(snapshot().Gauges).toMatchObject([{ Value: 2 }]);
    clock.advanceSync(10_000);
    expect(snapshot().Gauges).toMatchObject([{ Value: 3 }]);
  });

  test('no longer ends after stop', () => {
    let calls = 0;
    const { clock, stop } = open({ collect: () => void calls++ });
    stop();
    clock.advanceSync(60_000);
    expect(calls).toBe(1);
  });
});

describe('names', () => {
  test('of gauges have the host name after the prefix, others do not', () => {
    const { metrics, snapshot } = open({ hostName: 'box-1', prefix: 'p' });
    metrics.gauge(['g'], 1);
    metrics.count(['c']);
    metrics.sample(['s'], 1);
    const { Gauges, Counters, Samples } = snapshot();
    expect([Gauges, Counters, Samples].map((list) => list[0]?.Name)).toEqual(['p.box-1.g', 'p.c', 'p.s']);
  });

  test.each<[string, readonly string[], boolean, string, boolean]>([
    ['no rule, pass by default', [], true, 'consul.a', true],
    ['no rule, drop by default', [], false, 'consul.a', false],
    ['dropped by a rule', ['-consul.a'], true, 'consul.a.b', false],
    ['not dropped by a rule for others', ['-consul.b'], true, 'consul.a.b', true],
    ['let pass by a rule', ['+consul.a'], false, 'consul.ab', true],
    ['the longer rule wins', ['-consul.a', '+consul.a.b'], true, 'consul.a.b.c', true],
    ['the longer rule wins in any order', ['+consul.a.b', '-consul.a'], true, 'consul.a.x', false],
    ['of equal rules the dropping one wins', ['+consul.a', '-consul.a'], true, 'consul.a', false],
  ])('%s', (_title, rules, byDefault, name, passes) => {
    expect(prefixFilter(rules, byDefault)(name)).toBe(passes);
  });

  test('a filter rule without sign is refused', () => {
    expect(() => prefixFilter(['consul.a'], true)).toThrow(`Filter rule must begin with either '+' or '-': "consul.a"`);
  });

  test('the filter holds for every kind and every receiver', () => {
    const { metrics, snapshot, prometheus } = open({ prefixFilter: ['-consul'], prometheusRetentionMs: 60_000 });
    metrics.count(['a']);
    metrics.gauge(['b'], 1);
    metrics.sample(['c'], 1);
    expect(snapshot()).toMatchObject({ Gauges: [], Counters: [], Samples: [] });
    expect(prometheus()).toBe('');
  });
});

describe('Prometheus text', () => {
  test('is off without a retention time', () => {
    expect(open({ prometheusRetentionMs: 0 }).prometheus()).toBeNull();
  });

  test('has counters that grow, gauges, and summaries with quantiles, sum and count', () => {
    const { clock, metrics, prometheus } = open({ prometheusRetentionMs: 60_000 });
    metrics.count(['rpc', 'request'], 2);
    clock.advanceSync(20_000);
    metrics.count(['rpc', 'request'], 3);
    metrics.gauge(['runtime', 'alloc_bytes'], 1234567);
    for (let n = 1; n <= 100; n++) metrics.sample(['http', 'GET', 'v1', 'agent', 'self'], n);
    expect(prometheus()).toBe(
      [
        '# HELP consul_http_GET_v1_agent_self consul_http_GET_v1_agent_self',
        '# TYPE consul_http_GET_v1_agent_self summary',
        'consul_http_GET_v1_agent_self{quantile="0.5"} 50',
        'consul_http_GET_v1_agent_self{quantile="0.9"} 90',
        'consul_http_GET_v1_agent_self{quantile="0.99"} 99',
        'consul_http_GET_v1_agent_self_sum 5050',
        'consul_http_GET_v1_agent_self_count 100',
        '# HELP consul_rpc_request consul_rpc_request',
        '# TYPE consul_rpc_request counter',
        'consul_rpc_request 5',
        '# HELP consul_runtime_alloc_bytes consul_runtime_alloc_bytes',
        '# TYPE consul_runtime_alloc_bytes gauge',
        'consul_runtime_alloc_bytes 1234567',
        '',
      ].join('\n'),
    );
  });

  test('quantiles of an idle summary are NaN', () => {
    const { clock, metrics, prometheus } = open({ prometheusRetentionMs: 60_000 });
    metrics.sample(['s'], 5);
    clock.advanceSync(10_001);
    expect(prometheus()).toContain('consul_s{quantile="0.99"} NaN\nconsul_s_sum 5\nconsul_s_count 1\n');
  });

  test('quantiles are of the newest 512 observations', () => {
    const { metrics, prometheus } = open({ prometheusRetentionMs: 60_000 });
    for (let n = 0; n < 512; n++) metrics.sample(['s'], 1000);
    for (let n = 0; n < 512; n++) metrics.sample(['s'], 1);
    expect(prometheus()).toContain('consul_s{quantile="0.99"} 1\n');
  });

  test('a series vanishes after the retention time, and others of its name stay', () => {
    const { clock, metrics, prometheus } = open({ prometheusRetentionMs: 60_000 });
    metrics.count(['q'], 1, [{ name: 'service', value: 'gone' }]);
    metrics.gauge(['g'], 1);
    clock.advanceSync(60_000);
    metrics.count(['q'], 1, [{ name: 'service', value: 'here' }]);
    expect(prometheus()).toContain('service="gone"');
    clock.advanceSync(1);
    expect(prometheus()).toBe('# HELP consul_q consul_q\n# TYPE consul_q counter\nconsul_q{service="here"} 1\n');
  });

  test('escapes label values and cleans names', () => {
    const { metrics, prometheus } = open({ prometheusRetentionMs: 60_000 });
    metrics.count(['q'], 1, [{ name: 'a-b', value: 'x"y\\z\nw' }]);
    expect(prometheus()).toContain('consul_q{a_b="x\\"y\\\\z\\nw"} 1\n');
    expect(prometheusName(['consul', 'box-1.local', 'a b', 'c:d', 'e/f=g'])).toBe('consul_box_1_local_a_b_c:d_e_f_g');
    expect(prometheusName(['9lives'])).toBe('_9lives');
  });

  test('writes infinities as Prometheus reads them', () => {
    const { metrics, prometheus } = open({ prometheusRetentionMs: 60_000 });
    metrics.gauge(['up'], Number.POSITIVE_INFINITY);
    metrics.gauge(['down'], Number.NEGATIVE_INFINITY);
    expect(prometheus()).toContain('consul_up +Inf\n');
    expect(prometheus()).toContain('consul_down -Inf\n');
  });

  test('never gives one name two types', () => {
    const { metrics, prometheus } = open({ prometheusRetentionMs: 60_000 });
    metrics.count(['x']);
    metrics.gauge(['x'], 7);
    expect(prometheus()!.match(/# TYPE consul_x /g)).toHaveLength(1);
  });

  test('takes no more series than the limit until others vanish', () => {
    const { clock, metrics, prometheus } = open({ prometheusRetentionMs: 60_000 });
    const count = (value: string): void => metrics.count(['q'], 1, [{ name: 'n', value }]);
    for (let n = 0; n < metricsSeriesMax; n++) count(String(n));
    count('late');
    expect(prometheus()).not.toContain('"late"');
    clock.advanceSync(60_001);
    count('late');
    expect(prometheus()).toContain('"late"');
  });
});

describe('statsd', () => {
  const observe = (dogTags?: readonly string[]) => {
    const clock = new VirtualClock();
    const sent: string[] = [];
    const outlet = createStatsdOutlet({ clock, send: (text) => sent.push(text), ...(dogTags && { dogTags }) });
    const { metrics } = createMetrics({ clock, hostName: 'box', outlets: [outlet] });
    return { clock, sent, metrics };
  };

  test('lines leave together after 100 ms', () => {
    const { clock, sent, metrics } = observe();
    metrics.count(['c'], 2, [{ name: 'service', value: 'web:1' }]);
    metrics.gauge(['g'], 1.5);
    metrics.sample(['s'], 3);
    clock.advanceSync(99);
    expect(sent).toEqual([]);
    clock.advanceSync(1);
    expect(sent).toEqual(['consul.c.web_1:2.000000|c\nconsul.box.g:1.500000|g\nconsul.s:3.000000|ms\n']);
  });

  test('DogStatsD has tags', () => {
    const { clock, sent, metrics } = observe(['env:test']);
    metrics.count(['c'], 1, [{ name: 'service', value: 'a,b' }]);
    clock.advanceSync(100);
    expect(sent).toEqual(['consul.c:1.000000|c|#env:test,service:a_b\n']);
  });

  test('a datagram stays below 1400 bytes', () => {
    const { clock, sent, metrics } = observe();
    for (let n = 0; n < 200; n++) metrics.count([`counter-${n}`]);
    clock.advanceSync(100);
    expect(sent.length).toBeGreaterThan(3);
    expect(Math.max(...sent.map((text) => text.length))).toBeLessThanOrEqual(1400);
    expect(sent.join('').split('\n')).toHaveLength(201);
  });

  test('reaches a real socket', async () => {
    const server = createSocket('udp4').bind(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = openStatsdSocket(`127.0.0.1:${server.address().port}`);
    socket.send('x:1|c\n');
    const [message] = (await once(server, 'message')) as [Buffer];
    expect(message.toString()).toBe('x:1|c\n');
    socket.close();
    server.close();
  });
});

describe('the process', () => {
  test('reports heap, system bytes and open handles under the known names', () => {
    const runtime = startRuntimeMetrics();
    const { snapshot, prometheus } = open({ ...runtime, prometheusRetentionMs: 60_000 });
    const gauges = new Map(snapshot().Gauges.map(({ Name, Value }) => [Name, Value]));
    expect(gauges.get('consul.runtime.alloc_bytes')).toBeGreaterThan(1e6);
    expect(gauges.get('consul.runtime.sys_bytes')).toBeGreaterThan(gauges.get('consul.runtime.alloc_bytes')!);
    expect(gauges.has('consul.runtime.num_goroutines')).toBe(true);
    expect([...gauges.values()].filter((value) => !Number.isFinite(value))).toEqual([]);
    // The expression of golden/http/metrics-prometheus.json.
    expect(prometheus()).toMatch(/# TYPE consul_runtime_alloc_bytes gauge\nconsul_runtime_alloc_bytes [0-9.e+]+\n/);
    expect(prometheus()).toMatch(/\nprocess_resident_memory_bytes \d+\n/);
    runtime.stop();
  });
});
