import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import type Provider from "oidc-provider";
import type { IssuerUser } from "./config.ts";

const PREFIX = "/interaction/";

/** Where the issuer sends a browser that has to sign in. */
export const loginPath = (uid: string): string => `${PREFIX}${uid}`;

function escapeHtml(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

function page(path: string, users: readonly IssuerUser[], note: string): string {
  const buttons = users.map(({ name }) => {
    const escaped = escapeHtml(name);
    return `<button type="submit" name="user" value="${escaped}">${escaped}</button>`;
  });
  return `<!doctype html><title>Sign in</title><h1>Who are you?</h1><p>${escapeHtml(note)}</p>
<form method="post" action="${escapeHtml(path)}">${buttons.join(" ")}</form>`;
}

function show(response: ServerResponse, status: number, html: string): void {
  response.writeHead(status, { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" });
  response.end(html);
}

/**
 * Answers the login page, which asks for a name and for nothing else.
 *
 * @returns false when the request is not for the login page.
 */
export async function answerLogin(
  request: IncomingMessage,
  response: ServerResponse,
  provider: Provider,
  users: readonly IssuerUser[],
): Promise<boolean> {
  const path = (request.url ?? "").split("?")[0] ?? "";
  if (!path.startsWith(PREFIX)) return false;
  const { prompt, params } = await provider.interactionDetails(request, response);
  if (prompt.name !== "login") {
    // A user who signed in agrees to everything.
    await provider.interactionFinished(request, response, { consent: {} }, { mergeWithLastSubmission: true });
    return true;
  }
  if (request.method === "GET") {
    const hint = params["login_hint"];
    if (typeof hint === "string") {
      await finish(hint, { request, response, path }, provider, users);
      return true;
    }
    show(response, 200, page(path, users, "This issuer is for trying things out: it believes you."));
    return true;
  }
  const name = new URLSearchParams(await text(request)).get("user") ?? "";
  await finish(name, { request, response, path }, provider, users);
  return true;
}

/** A browser's request for the login page, and the answer to it. */
interface Visit {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
}

async function finish(
  name: string,
  { request, response, path }: Visit,
  provider: Provider,
  users: readonly IssuerUser[],
): Promise<void> {
  if (!users.some((user) => user.name === name)) {
    show(response, 400, page(path, users, `There is no user ${name}.`));
    return;
  }
  await provider.interactionFinished(
    request,
    response,
    { login: { accountId: name } },
    { mergeWithLastSubmission: false },
  );
}
