/** The door: what is around us, and which address others shall use. */
export {
  type AdvertiseDecision,
  type AdvertiseSettings,
  decideAdvertise,
  describeAdvertise,
  isDecidedBySettings,
  type Rung,
} from './advertise.ts';
export { type ContainerFiles, identifyContainer } from './container-identity.ts';
export type * from './facts.ts';
export { relevantVariables } from './facts.ts';
export { detectNetworkMode, type NetworkModeVerdict } from './network-mode.ts';
export { type AgentPorts, checkPublishedPorts, type EnvironmentWarning, type PortCheck } from './published-ports.ts';
export { collectFacts, type CollectOptions, defaultRouteInterface, probesTotalMs } from './probes.ts';
export type { HttpRequest, ProbePorts } from './probe-ports.ts';
export { collectDoctorReport, type DoctorReport, type DoctorSettings, formatDoctor } from './doctor.ts';
export { type JoinPorts, resolveJoinAddresses } from './cloud-join.ts';
