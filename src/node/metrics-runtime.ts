/**
 * What the process says about itself, under the names dashboards already have (`runtime.*`, reference/agent.md §6) as
 * far as Node has an equivalent: heap bytes in use, bytes from the system, garbage collections, and open handles and
 * requests in place of goroutines. Object and allocation counts have none and are not invented. Added: how late the
 * event loop runs, the first thing to look at when gossip or DNS answers slowly.
 */
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
import type { Metrics } from '../ports/index.ts';

/** How often the loop's lateness is measured, ms. */
const loopDelayResolutionMs = 20;

export interface RuntimeMetrics {
  /** Sets the gauges; give it to `createMetrics` as `collect`. */
  readonly collect: (metrics: Metrics) => void;
  /** `process_*` lines for the Prometheus page. */
  readonly prometheusProcess: () => string;
  readonly stop: () => void;
}

export function startRuntimeMetrics(): RuntimeMetrics {
  let collections = 0;
  let pauseNs = 0;
  let recentPausesNs: number[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      collections++;
      pauseNs += duration * 1e6;
      recentPausesNs.push(duration * 1e6);
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  const loopDelay = monitorEventLoopDelay({ resolution: loopDelayResolutionMs });
  loopDelay.enable();

  return {
    collect(metrics) {
      const { heapUsed, rss } = process.memoryUsage();
      metrics.gauge(['runtime', 'alloc_bytes'], heapUsed);
      metrics.gauge(['runtime', 'sys_bytes'], rss);
      metrics.gauge(['runtime', 'num_goroutines'], process.getActiveResourcesInfo().length);
      metrics.gauge(['runtime', 'total_gc_runs'], collections);
      metrics.gauge(['runtime', 'total_gc_pause_ns'], Math.round(pauseNs));
      for (const pause of recentPausesNs) metrics.sample(['runtime', 'gc_pause_ns'], Math.round(pause));
      recentPausesNs = [];
      // The histogram counts the measuring period itself; what is above it is lateness. NaN before the first measure.
      const lateMs = (ns: number): number => Math.max(0, (Number.isFinite(ns) ? ns : 0) / 1e6 - loopDelayResolutionMs);
      metrics.gauge(['runtime', 'event_loop_late_p99_ms'], lateMs(loopDelay.percentile(99)));
      metrics.gauge(['runtime', 'event_loop_late_max_ms'], lateMs(loopDelay.max));
      loopDelay.reset();
    },
    prometheusProcess() {
      const { user, system } = process.cpuUsage();
      const lines: [string, 'counter' | 'gauge', string, number | undefined][] = [
        ['process_cpu_seconds_total', 'counter', 'User and system CPU time in seconds.', (user + system) / 1e6],
        ['process_open_fds', 'gauge', 'Number of open file descriptors.', openFileDescriptors()],
        ['process_resident_memory_bytes', 'gauge', 'Resident memory size in bytes.', process.memoryUsage.rss()],
        [
          'process_start_time_seconds',
          'gauge',
          'Start time of the process since unix epoch in seconds.',
          performance.timeOrigin / 1000,
        ],
      ];
      return lines
        .filter(([, , , value]) => value !== undefined)
        .map(([name, kind, help, value]) => `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${name} ${value}\n`)
        .join('');
    },
    stop() {
      observer.disconnect();
      loopDelay.disable();
    },
  };
}

/** Undefined where `/proc` is missing. */
function openFileDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}
