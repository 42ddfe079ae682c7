/** Reads of the ACL calls: the parameters every read has, and the headers that answer them. */
import type { CallName, CallReply, CallRequest, QueryMeta } from '../model/index.ts';
import type { Header } from './answer.ts';
import type { Api } from './api.ts';
import { metaHeaders, parseReadOptions, readSignal, readWithMeta } from './read-options.ts';
import type { ApiRequest } from './request.ts';

/** Names of the calls that read, and so have meta data. */
type Reads = { [M in CallName]: CallReply<M> extends QueryMeta ? M : never }[CallName];

/** Makes a read with the request's parameters; `rest` is what the call wants besides. */
export async function read<M extends Reads>(
  api: Api,
  request: ApiRequest,
  call: M,
  rest: Omit<CallRequest<M>, keyof CallRequest<'ACL.PolicyList'>>,
): Promise<{ readonly reply: CallReply<M>; readonly headers: readonly Header[] }> {
  const options = parseReadOptions(request, api.options());
  const { reply } = await readWithMeta<CallReply<M> & QueryMeta>(options, async (query) => {
    const full = { ...query, ...rest } as CallRequest<M>;
    return (await api.caller.call(call, full, readSignal(request, options))) as CallReply<M> & QueryMeta;
  });
  return { reply, headers: metaHeaders(reply, null) };
}
