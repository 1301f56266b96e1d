/** A host without the brackets that a URL puts around an IPv6 address: as sockets and certificates want it. */
export function bareHost(host: string): string {
  return host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
}

/** Whether the host of a URL is this machine itself: `localhost`, 127.0.0.0/8 or `[::1]`. */
export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || bareHost(host) === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
