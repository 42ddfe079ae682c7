/** `/v1/agent/host`: the machine under the agent, in the field names Consul's clients know (reference/http-api.md §9.1). */
import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import os from 'node:os';
import type { Clock } from '../ports/index.ts';

/** What can be learned without special rights; what cannot is named in `Errors`. */
export async function collectHostInfo(clock: Clock): Promise<unknown> {
  const errors: string[] = [];
  const total = os.totalmem();
  const free = os.freemem();
  const wallMs = clock.wallMs();
  return {
    Memory: {
      total,
      available: free,
      used: total - free,
      usedPercent: (100 * (total - free)) / total,
      free,
    },
    CPU: os.cpus().map((cpu, index) => ({
      cpu: index,
      vendorId: '',
      family: '',
      model: '',
      stepping: 0,
      physicalId: '',
      coreId: String(index),
      cores: 1,
      modelName: cpu.model,
      mhz: cpu.speed,
      cacheSize: 0,
      flags: [],
      microcode: '',
    })),
    Host: {
      hostname: os.hostname(),
      uptime: Math.floor(os.uptime()),
      bootTime: Math.floor(wallMs / 1000 - os.uptime()),
      procs: processCount(),
      os: os.platform(),
      platform: os.type(),
      platformFamily: '',
      platformVersion: os.version(),
      kernelVersion: os.release(),
      virtualizationSystem: '',
      virtualizationRole: '',
      hostid: '',
    },
    Disk: await diskUsage('/', errors),
    CollectionTime: BigInt(Math.floor(wallMs)) * 1_000_000n,
    Errors: errors.length === 0 ? null : errors,
  };
}

/** Linux tells the number of processes in the fourth field of /proc/loadavg; 0 elsewhere. */
function processCount(): number {
  try {
    return Number(readFileSync('/proc/loadavg', 'utf8').split(/[ /]/)[4]) || 0;
  } catch {
    return 0;
  }
}

async function diskUsage(path: string, errors: string[]): Promise<unknown> {
  try {
    const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path);
    const used = (blocks - bfree) * bsize;
    return {
      path,
      fstype: '',
      total: blocks * bsize,
      free: bavail * bsize,
      used,
      usedPercent: (100 * used) / (used + bavail * bsize),
      inodesTotal: files,
      inodesUsed: files - ffree,
      inodesFree: ffree,
      inodesUsedPercent: files === 0 ? 0 : (100 * (files - ffree)) / files,
    };
  } catch (error) {
    errors.push(`disk usage of ${path}: ${String(error)}`);
    return null;
  }
}
