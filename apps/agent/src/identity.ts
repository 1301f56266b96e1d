import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type AgentKey, generateAgentKey, parseAgentKey } from "@cluster-connect/auth";
import { type ClusterId, ConnectError, type KeyId, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import { writeFileAtomic } from "@cluster-connect/service";
import { z } from "zod";

/** Who this agent is, for as long as its state folder lives. */
export interface Identity {
  readonly key: AgentKey;
  readonly clusterId: ClusterId;
}

const KEY_FILE = "agent-key.pem";
const ENROLLED_FILE = "enrolled.json";
const ENROLLED = z.object({ clusterId: z.string(), keyId: z.string() });

/**
 * The agent's key from its state folder, made on the first start.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` naming the file; an unreadable key is never replaced.
 */
export async function loadOrCreateKey(stateDir: string): Promise<AgentKey> {
  const file = join(stateDir, KEY_FILE);
  const found = await readIfThere(file);
  if (found !== undefined) return parseKeyFile(file, found);
  const key = generateAgentKey();
  await inStateDir(stateDir, () => writeFileAtomic(file, key.privateKeyPem, { mode: 0o600 }));
  return key;
}

/** The cluster this key was enrolled for; undefined when it was not, or when it was another key. */
export async function loadEnrollment(stateDir: string, keyId: KeyId): Promise<ClusterId | undefined> {
  const file = join(stateDir, ENROLLED_FILE);
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  const enrolled = parseEnrolled(file, text);
  return enrolled.keyId === keyId ? enrolled.clusterId : undefined;
}

/** Remembers what the relay answered. */
export async function saveEnrollment(
  stateDir: string,
  enrolled: { readonly clusterId: ClusterId; readonly keyId: KeyId; readonly relayId: string },
): Promise<void> {
  const text = `${JSON.stringify(enrolled, undefined, 2)}\n`;
  await inStateDir(stateDir, () => writeFileAtomic(join(stateDir, ENROLLED_FILE), text, { mode: 0o600 }));
}

function parseKeyFile(file: string, text: string): AgentKey {
  try {
    return parseAgentKey(text);
  } catch (cause) {
    throw new ConnectError("CC_FILE_UNREADABLE", `${file} holds no agent key`, { cause });
  }
}

function parseEnrolled(file: string, text: string): { readonly clusterId: ClusterId; readonly keyId: KeyId } {
  try {
    const { clusterId, keyId } = ENROLLED.parse(JSON.parse(text));
    return { clusterId: parseClusterId(clusterId), keyId: parseKeyId(keyId) };
  } catch (cause) {
    throw new ConnectError("CC_FILE_UNREADABLE", `${file} does not say what the agent was enrolled for`, { cause });
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT") return undefined;
    throw new ConnectError("CC_FILE_UNREADABLE", `${file} cannot be read: ${String(code)}`, { cause });
  }
}

async function inStateDir(stateDir: string, write: () => Promise<void>): Promise<void> {
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    await write();
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : cause;
    throw new ConnectError("CC_FILE_UNREADABLE", `${stateDir} cannot be written: ${String(code)}`, { cause });
  }
}
