export { SnapshotError, SnapshotRestore } from './restore.ts';
export { writeSnapshot } from './write.ts';
