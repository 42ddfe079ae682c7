/**
 * `/v1/txn`: operations on keys and the catalog, together or not at all. Those that only read go another way, past the
 * log, where consistency modes count (reference/http-api.md §9.5).
 */
import { byteStringToUtf8, goQuote } from '../lib/index.ts';
import { isTxnRead, type TxnOp, type TxnReadResponse, type TxnResponse, type TxnResult } from '../model/index.ts';
import { type Answer, HttpError, json } from './answer.ts';
import type { Api } from './api.ts';
import { decodeBody } from './decode.ts';
import { metaHeaders, parseReadOptions, parseTarget } from './read-options.ts';
import { checkView, kvView, nodeView, serviceView } from './record-json.ts';
import type { ApiRequest } from './request.ts';
import type { Endpoint } from './routes.ts';
import { txnBody } from './txn-body.ts';

/** Operations in one transaction. */
const opsMax = 64;
const limitDocs = 'See https://www.consul.io/docs/agent/options.html#txn_max_req_len.';

export function txnEndpoints(api: Api): readonly Endpoint[] {
  return [{ pattern: '/v1/txn', ignoresNamespace: true, methods: { PUT: (request) => txn(api, request) } }];
}

async function txn(api: Api, request: ApiRequest): Promise<Answer> {
  const ops = await readOps(api, request);
  if (ops.every(isTxnRead)) {
    const options = parseReadOptions(request, api.options());
    const reply = await api.caller.call('Txn.Read', { ...options.query, Ops: ops });
    // It does not block: no index.
    return answer(request, reply, metaHeaders(reply, null).slice(1));
  }
  const reply = await api.caller.call('Txn.Apply', { ...parseTarget(request, api.options()), Ops: ops });
  return answer(request, reply, []);
}

/** @throws HttpError 400 or 413. */
async function readOps(api: Api, request: ApiRequest): Promise<readonly TxnOp[]> {
  const { datacenter, kvMaxValueSize, txnMaxRequestSize } = api.options();
  const bytesMax = Math.max(kvMaxValueSize, txnMaxRequestSize);
  const announced = request.contentLength ?? 0;
  if (announced > bytesMax) {
    throw new HttpError(413, `Request body(${announced} bytes) too large, max size: ${bytesMax} bytes. ${limitDocs}`, {
      close: true,
    });
  }
  const body = await request.body(bytesMax, limitDocs);
  const { Ops = [] } = decodeBody(body, txnBody, 'Failed to parse body: ');
  if (Ops.length > opsMax) {
    throw new HttpError(413, `Transaction contains too many operations (${Ops.length} > ${opsMax})`);
  }
  const ops: TxnOp[] = [];
  for (const op of Ops) {
    const { KV, Node } = op;
    const size = KV?.DirEnt.Value?.length ?? 0;
    if (KV && size > kvMaxValueSize) {
      const key = goQuote(byteStringToUtf8(KV.DirEnt.Key));
      throw new HttpError(413, `Value for key ${key} is too large (${size} > ${kvMaxValueSize} bytes)`);
    }
    if (Node) ops.push({ Node: { ...Node, Node: { ...Node.Node, Datacenter: Node.Node.Datacenter || datacenter } } });
    // An object without an operation is skipped.
    else if (KV ?? op.Service ?? op.Check) ops.push(op);
  }
  return ops;
}

function answer(
  request: ApiRequest,
  reply: TxnResponse | TxnReadResponse,
  headers: Parameters<typeof json>[2],
): Answer {
  const shown = {
    Results: reply.Results === null ? null : reply.Results.map(resultView),
    Errors: reply.Errors,
    ...('Index' in reply
      ? { Index: reply.Index, LastContact: reply.LastContact, KnownLeader: reply.KnownLeader, ConsistencyLevel: '' }
      : {}),
  };
  return json(request, shown, headers, reply.Errors === null ? 200 : 409);
}

/** Here null and [] stay what they are. */
function resultView(result: TxnResult): unknown {
  if ('KV' in result) return { KV: kvView(result.KV) };
  if ('Node' in result) return { Node: nodeView(result.Node) };
  if ('Service' in result) return { Service: { ...serviceView(result.Service), Tags: result.Service.Tags } };
  return { Check: { ...checkView(result.Check), ServiceTags: result.Check.ServiceTags } };
}
