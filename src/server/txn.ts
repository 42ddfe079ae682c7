/** `Txn.*`: several operations together or not at all (reference/server-rpc.md §4.8). */
import { byteStringToUtf8, goQuote } from '../lib/index.ts';
import { CallError, isTxnRead, type TxnError, type TxnOp } from '../model/index.ts';
import { type Endpoint, type Handlers, queryMeta, requireDatacenter, timed } from './endpoint.ts';
import { requireNode, requireService } from './register-validation.ts';

const applySample: readonly string[] = ['txn', 'apply'];
const readSample: readonly string[] = ['txn', 'read'];

export function txnHandlers(endpoint: Endpoint): Handlers<'Txn.Apply' | 'Txn.Read'> {
  const { store, log } = endpoint;
  return {
    'Txn.Apply': async (request) => {
      requireDatacenter(endpoint, request);
      return await timed(endpoint, applySample, async () => {
        const { ops, errors } = checked(endpoint, request.Ops ?? []);
        if (errors.length > 0) return { Results: null, Errors: errors };
        return await log.propose({ type: 'Txn', request: { ...request, Ops: ops } });
      });
    },
    'Txn.Read': async (request) => {
      requireDatacenter(endpoint, request);
      return await timed(endpoint, readSample, async () => {
        // It does not block, so its answer has no index.
        const meta = queryMeta(endpoint, 0);
        const { ops, errors } = checked(endpoint, request.Ops ?? []);
        if (!ops.every(isTxnRead)) throw new CallError('Txn.Read takes operations that read; send writes to Txn.Apply');
        if (errors.length > 0) return { ...meta, Results: null, Errors: errors };
        return { ...meta, ...store.readTxn(ops) };
      });
    },
  };
}

/** The operations as they go to the log, and what is wrong with them before they do. */
function checked(
  endpoint: Endpoint,
  given: readonly TxnOp[],
): { readonly ops: readonly TxnOp[]; readonly errors: readonly TxnError[] } {
  const errors: TxnError[] = [];
  const ops = given.map((op, OpIndex) => {
    try {
      return checkedOp(endpoint, op);
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      errors.push({ OpIndex, What: error.message });
      return op;
    }
  });
  return { ops, errors };
}

function checkedOp({ lockDelays }: Endpoint, op: TxnOp): TxnOp {
  if (op.KV) {
    const { Verb, DirEnt } = op.KV;
    if (DirEnt.Key === '' && Verb !== 'delete-tree') throw new CallError('Must provide key');
    if (Verb === 'lock' && lockDelays.isDelayed(DirEnt.Key)) {
      throw new CallError(`failed to lock key ${goQuote(byteStringToUtf8(DirEnt.Key))} due to lock delay`);
    }
    return op;
  }
  if (isTxnRead(op)) return op;
  if (op.Node) {
    requireNode(op.Node.Node);
    return op;
  }
  if (op.Service) {
    const Service = requireService(op.Service.Service);
    return { Service: { ...op.Service, Service: { ...op.Service.Service, ...Service } } };
  }
  if (op.Check) {
    const { Check } = op.Check;
    return { Check: { ...op.Check, Check: { ...Check, CheckID: Check.CheckID || Check.Name } } };
  }
  return op;
}
