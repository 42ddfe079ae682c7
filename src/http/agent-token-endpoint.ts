/** `/v1/agent/token/`: exchanges the tokens with which the agent itself makes its calls (reference/http-api.md §9.1). */
import { type AgentTokenName, agentTokenNames } from './agent-acl.ts';
import { type Answer, empty, HttpError } from './answer.ts';
import type { Api } from './api.ts';
import { decodeBody, string, struct } from './decode.ts';
import type { ApiRequest } from './request.ts';

const tokenBody = struct<{ readonly Token: string }>({ Token: ['Token', string] });

/** The names of the time before `acl.tokens`. */
const olderNames: Readonly<Record<string, AgentTokenName>> = {
  acl_token: 'default',
  acl_agent_token: 'agent',
  acl_agent_master_token: 'agent_master',
  acl_replication_token: 'replication',
};

export async function setAgentToken(api: Api, request: ApiRequest): Promise<Answer> {
  const { acl } = api.agent;
  if (acl?.enabled !== true) throw new HttpError(401, 'ACL support disabled');
  const { Token = '' } = decodeBody<{ readonly Token: string }>(await request.body(), tokenBody);
  const given = request.name;
  const name =
    agentTokenNames.find((known) => known === given) ??
    (Object.hasOwn(olderNames, given) ? olderNames[given] : undefined);
  if (name === undefined) throw new HttpError(404, `Token ${JSON.stringify(given)} is unknown`);
  await acl.setToken(name, Token);
  return empty();
}
