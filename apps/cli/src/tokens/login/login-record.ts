import type { LoginSettings, ResourceParameter } from "@cluster-connect/api";
import { ConnectError } from "@cluster-connect/protocol";
import { parseJson } from "../../json.ts";
import { type EntraLogin, parseEntraLogin } from "./entra-login.ts";

/** A token as it is kept. */
export interface KeptToken {
  readonly token: string;
  readonly expiresAt: Date;
  readonly obtainedAt: Date;
  /** When its last renewal failed. */
  readonly failedAt?: Date;
}

/** One sign-in at one relay, as it is kept on disk. */
export interface LoginRecord {
  readonly relay: string;
  readonly settings: LoginSettings;
  /** The person's name as the issuer shows it; for the screen only. */
  readonly name: string;
  readonly refreshToken: string | undefined;
  /** When the tokens come from Entra by its own library. */
  readonly entra?: EntraLogin;
  /** By audience. */
  readonly tokens: Readonly<Record<string, KeptToken>>;
}

const VERSION = 1;
const RESOURCE_PARAMETERS: readonly ResourceParameter[] = ["resource", "scope", "audience"];

export function formatLoginRecord(record: LoginRecord): string {
  return `${JSON.stringify({ version: VERSION, ...record }, undefined, 1)}\n`;
}

/**
 * Reads what {@link formatLoginRecord} wrote. By hand: this runs each time kubectl starts.
 *
 * @throws ConnectError `CC_NOT_LOGGED_IN` naming the file and the first field that is wrong, never a value.
 */
export function parseLoginRecord(text: string, path: string): LoginRecord {
  const reader = createReader(path);
  const root = reader.object(parseJson(text), "the file");
  if (root["version"] !== VERSION) throw reader.wrong("version");
  const settings = reader.object(root["settings"], "settings");
  const audiences = reader.object(settings["audiences"], "settings.audiences");
  const parameter = RESOURCE_PARAMETERS.find((known) => known === settings["resourceParameter"]);
  if (parameter === undefined) throw reader.wrong("settings.resourceParameter");
  const scopes = settings["scopes"];
  if (!Array.isArray(scopes)) throw reader.wrong("settings.scopes");
  return {
    relay: reader.text(root["relay"], "relay"),
    settings: {
      issuer: reader.text(settings["issuer"], "settings.issuer"),
      clientId: reader.text(settings["clientId"], "settings.clientId"),
      ...(settings["clientSecret"] === undefined
        ? {}
        : { clientSecret: reader.text(settings["clientSecret"], "settings.clientSecret") }),
      scopes: scopes.map((scope: unknown) => reader.text(scope, "settings.scopes")),
      audiences: {
        relay: reader.text(audiences["relay"], "settings.audiences.relay"),
        cluster: reader.text(audiences["cluster"], "settings.audiences.cluster"),
      },
      resourceParameter: parameter,
    },
    name: reader.text(root["name"], "name"),
    refreshToken: root["refreshToken"] === undefined ? undefined : reader.text(root["refreshToken"], "refreshToken"),
    ...(root["entra"] === undefined
      ? {}
      : { entra: parseEntraLogin(reader.object(root["entra"], "entra"), reader.text, reader.wrong) }),
    tokens: Object.fromEntries(
      Object.entries(reader.object(root["tokens"], "tokens")).map(([audience, value]) => {
        const token = reader.object(value, "tokens");
        const kept: KeptToken = {
          token: reader.text(token["token"], "tokens.token"),
          expiresAt: reader.date(token["expiresAt"], "tokens.expiresAt"),
          obtainedAt: reader.date(token["obtainedAt"], "tokens.obtainedAt"),
          ...(token["failedAt"] === undefined ? {} : { failedAt: reader.date(token["failedAt"], "tokens.failedAt") }),
        };
        return [audience, kept];
      }),
    ),
  };
}

interface Reader {
  wrong(field: string): ConnectError;
  object(value: unknown, field: string): Readonly<Record<string, unknown>>;
  text(value: unknown, field: string): string;
  date(value: unknown, field: string): Date;
}

function createReader(path: string): Reader {
  const wrong = (field: string): ConnectError =>
    new ConnectError("CC_NOT_LOGGED_IN", `The kept login in ${path} cannot be used: ${field} is wrong`);
  const text = (value: unknown, field: string): string => {
    if (typeof value === "string") return value;
    throw wrong(field);
  };
  return {
    wrong,
    text,
    object(value, field) {
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
      throw wrong(field);
    },
    date(value, field) {
      const date = new Date(text(value, field));
      if (Number.isNaN(date.getTime())) throw wrong(field);
      return date;
    },
  };
}
