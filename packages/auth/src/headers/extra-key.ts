const DOMAIN = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const PATH = /^[a-z0-9/\-._~%!$&'()*+,;=:]+$/;
const RESERVED = /(^|\.)(kubernetes|k8s)\.io$/;

/** The fault of the key of an extra, by Kubernetes' rules; undefined when there is none. */
export function extraKeyFault(key: string): string | undefined {
  const slash = key.indexOf("/");
  if (slash < 0) return "must be a domain and a path, as in example.org/role";
  if (key !== key.toLowerCase()) return "must be lower-case";
  const domain = key.slice(0, slash);
  if (domain.length > 253 || !DOMAIN.test(domain)) return "must begin with a domain name";
  if (RESERVED.test(domain)) return "must not lie in kubernetes.io or k8s.io, which are reserved";
  return PATH.test(key.slice(slash + 1)) ? undefined : "must have a path of URL characters after the domain";
}
