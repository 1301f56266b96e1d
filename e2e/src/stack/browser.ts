import { ConnectError } from "@cluster-connect/protocol";

/** Where a scripted browser ended up. */
export interface BrowserPage {
  readonly url: string;
  readonly status: number;
  readonly body: string;
}

const MAX_STEPS = 20;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Cookies of one origin each; attributes other than the value play no role on a machine of its own. */
class CookieJar {
  readonly #byOrigin = new Map<string, Map<string, string>>();

  store(url: URL, response: Response): void {
    const jar = this.#byOrigin.get(url.origin) ?? new Map<string, string>();
    for (const line of response.headers.getSetCookie()) {
      const pair = line.split(";")[0] ?? "";
      const at = pair.indexOf("=");
      const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
      if (value === "") jar.delete(name);
      else jar.set(name, value);
    }
    this.#byOrigin.set(url.origin, jar);
  }

  header(url: URL): string {
    return [...(this.#byOrigin.get(url.origin) ?? [])].map(([name, value]) => `${name}=${value}`).join("; ");
  }
}

interface Form {
  readonly action: URL;
  readonly fields: URLSearchParams;
}

function attribute(tag: string, name: string): string | undefined {
  return new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1]?.replaceAll("&amp;", "&");
}

/** The page's form with its hidden and preset fields, and the user's name where it asks for one. */
function findForm(page: BrowserPage, user: string): Form | undefined {
  const form = /<form\b[^>]*>[\s\S]*?<\/form>/.exec(page.body)?.[0];
  if (form === undefined) return undefined;
  const fields = new URLSearchParams();
  for (const [tag] of form.matchAll(/<input\b[^>]*>/g)) {
    const name = attribute(tag, "name");
    if (name !== undefined) fields.set(name, attribute(tag, "value") ?? "");
  }
  if (form.includes('name="user"')) fields.set("user", user);
  return { action: new URL(attribute(form, "action") ?? "", page.url), fields };
}

/**
 * Does what a person does in the browser to sign in: follows redirects and submits each form, as `user`.
 *
 * @param start an authorization request, or a device's complete verification address.
 * @returns the first page without a form: the CLI's own last page, or the issuer's "you can close this".
 * @throws ConnectError `CC_LOGIN_FAILED` when a page answers with an error or nothing ends it.
 */
export async function signIn(
  start: string,
  user: string,
  options: { readonly signal: AbortSignal },
  deps: { readonly fetch: typeof fetch },
): Promise<BrowserPage> {
  const jar = new CookieJar();
  let next: { readonly url: URL; readonly body?: URLSearchParams } = { url: new URL(start) };
  for (let step = 0; step < MAX_STEPS; step++) {
    const { url, body } = next;
    const headers = { accept: "text/html", cookie: jar.header(url) };
    const init = body === undefined ? { headers } : { headers, method: "POST", body };
    const response = await deps.fetch(url, { ...init, redirect: "manual", signal: options.signal });
    jar.store(url, response);
    const location = response.headers.get("location");
    if (REDIRECTS.has(response.status) && location !== null) {
      next = { url: new URL(location, url) };
      continue;
    }
    const page: BrowserPage = { url: url.href, status: response.status, body: await response.text() };
    if (!response.ok) throw new ConnectError("CC_LOGIN_FAILED", `the page at ${url.pathname} answers ${page.status}`);
    const form = findForm(page, user);
    if (form === undefined) return page;
    next = { url: form.action, body: form.fields };
  }
  throw new ConnectError("CC_LOGIN_FAILED", `signing in took more than ${MAX_STEPS} pages`);
}
