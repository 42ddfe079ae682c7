// Ports of loopback for programs that tests start. Between the look at a port and the program's start somebody else may
// take it: these lie above those that the kernel gives to outgoing connections and those that test files name, and
// processes begin to look in different places.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const first = 61_000;
const last = 65_499;
const count = last - first + 1;
let next = (process.pid * 331) % count;

const isTcpFree = (port) =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });

const isUdpFree = (port) =>
  new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => resolve(false));
    socket.bind(port, '127.0.0.1', () => socket.close(() => resolve(true)));
  });

/** A port that is free in TCP and UDP, another one each time. @throws Error when all are taken */
export async function freePort() {
  for (let tried = 0; tried < count; tried++) {
    const port = first + next;
    next = (next + 1) % count;
    if ((await isTcpFree(port)) && (await isUdpFree(port))) return port;
  }
  throw new Error(`no port from ${first} to ${last} is free`);
}

/** So many free ports. */
export async function freePorts(wanted) {
  const ports = [];
  while (ports.length < wanted) ports.push(await freePort());
  return ports;
}
