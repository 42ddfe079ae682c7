/**
 * Who a certificate of the mesh belongs to, as the URI inside it says: `spiffe://TRUST-DOMAIN/ns/NS/dc/DC/svc/SERVICE`
 * for a service, `/agent/client/dc/DC/id/NODE` for an agent, nothing behind the trust domain for an authority.
 */
export type SpiffeId =
  | {
      readonly kind: 'service';
      readonly trustDomain: string;
      readonly namespace: string;
      readonly datacenter: string;
      readonly service: string;
    }
  | { readonly kind: 'agent'; readonly trustDomain: string; readonly datacenter: string; readonly agent: string }
  | { readonly kind: 'authority'; readonly trustDomain: string };

const servicePath = /^\/ns\/([^/]+)\/dc\/([^/]+)\/svc\/([^/]+)$/;
const agentPath = /^\/agent\/client\/dc\/([^/]+)\/id\/([^/]+)$/;

/** null when `text` is no such URI. */
export function parseSpiffeId(text: string): SpiffeId | null {
  const parts = /^spiffe:\/\/([^/?#]+)(\/[^?#]*)?$/.exec(text);
  if (parts === null) return null;
  const [, trustDomain = '', path = ''] = parts;
  if (path === '' || path === '/') return { kind: 'authority', trustDomain };
  try {
    const service = servicePath.exec(path)?.map(decodeURIComponent);
    if (service !== undefined) {
      const [, namespace = '', datacenter = '', name = ''] = service;
      return { kind: 'service', trustDomain, namespace, datacenter, service: name };
    }
    const agent = agentPath.exec(path)?.map(decodeURIComponent);
    if (agent === undefined) return null;
    const [, datacenter = '', id = ''] = agent;
    return { kind: 'agent', trustDomain, datacenter, agent: id };
  } catch {
    return null;
  }
}

/** The opposite of {@link parseSpiffeId}. */
export function spiffeUri(id: SpiffeId): string {
  const part = encodeURIComponent;
  switch (id.kind) {
    case 'service':
      return `spiffe://${id.trustDomain}/ns/${part(id.namespace)}/dc/${part(id.datacenter)}/svc/${part(id.service)}`;
    case 'agent':
      return `spiffe://${id.trustDomain}/agent/client/dc/${part(id.datacenter)}/id/${part(id.agent)}`;
    case 'authority':
      return `spiffe://${id.trustDomain}`;
  }
}
