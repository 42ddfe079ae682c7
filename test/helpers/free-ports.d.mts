export function freePort(): Promise<number>;
export function freePorts(wanted: number): Promise<number[]>;
