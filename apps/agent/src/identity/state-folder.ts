import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type AgentKey, generateAgentKey, parseAgentKey } from "@cluster-connect/auth";
import { systemCode } from "@cluster-connect/base";
import { type ClusterId, ConnectError, type KeyId, parseClusterId, parseKeyId } from "@cluster-connect/protocol";
import { writeFileAtomic } from "@cluster-connect/service";
import { z } from "zod";

/** The identity of this agent, for as long as its state folder lives. */
export interface Identity {
  readonly key: AgentKey;
  readonly clusterId: ClusterId;
}

const KEY_FILE = "agent-key.pem";
/** A key that the relay is asked to take; its answer may be lost, and the same key may ask again. */
const NEXT_KEY_FILE = "agent-key.next.pem";
const ENROLLED_FILE = "enrolled.json";
const ENROLLED = z.object({ clusterId: z.string(), keyId: z.string(), formerKeyId: z.string().optional() });

/**
 * The agent's key from its state folder, made on the first start.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` naming the file; an unreadable key is never replaced.
 */
export function loadOrCreateKey(stateDir: string): Promise<AgentKey> {
  return loadOrCreate(stateDir, KEY_FILE);
}

/** The key that is to replace the one in use; made once, and kept beside it. @throws as {@link loadOrCreateKey}. */
export function loadOrCreateNextKey(stateDir: string): Promise<AgentKey> {
  return loadOrCreate(stateDir, NEXT_KEY_FILE);
}

/** The next key is in use now. */
export async function dropNextKey(stateDir: string): Promise<void> {
  await inStateDir(stateDir, () => rm(join(stateDir, NEXT_KEY_FILE), { force: true }));
}

async function loadOrCreate(stateDir: string, name: string): Promise<AgentKey> {
  const file = join(stateDir, name);
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
  // The former key is there for a moment in which the new one is about to be written.
  return enrolled.keyId === keyId || enrolled.formerKeyId === keyId ? enrolled.clusterId : undefined;
}

/**
 * Key and cluster as the folder has them now; undefined when one is missing or they do not belong together.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` naming the file.
 */
export async function readIdentity(stateDir: string): Promise<Identity | undefined> {
  const file = join(stateDir, KEY_FILE);
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  const key = parseKeyFile(file, text);
  const clusterId = await loadEnrollment(stateDir, key.keyId);
  return clusterId === undefined ? undefined : { key, clusterId };
}

/** Puts an enrolled key in the place of the former one. Whenever this ends, the folder holds one of the two, whole. */
export async function replaceKey(
  stateDir: string,
  next: {
    readonly key: AgentKey;
    readonly former: KeyId;
    readonly clusterId: ClusterId;
    readonly relayId: string;
  },
): Promise<void> {
  const { key, former, clusterId, relayId } = next;
  await saveEnrollment(stateDir, { clusterId, keyId: key.keyId, relayId, formerKeyId: former });
  await inStateDir(stateDir, () => writeFileAtomic(join(stateDir, KEY_FILE), key.privateKeyPem, { mode: 0o600 }));
}

/** Remembers what the relay answered. */
export async function saveEnrollment(
  stateDir: string,
  enrolled: {
    readonly clusterId: ClusterId;
    readonly keyId: KeyId;
    readonly relayId: string;
    /** The key that this one is about to replace. */
    readonly formerKeyId?: KeyId;
  },
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

interface EnrolledKeys {
  readonly clusterId: ClusterId;
  readonly keyId: KeyId;
  readonly formerKeyId: KeyId | undefined;
}

function parseEnrolled(file: string, text: string): EnrolledKeys {
  try {
    const { clusterId, keyId, formerKeyId } = ENROLLED.parse(JSON.parse(text));
    return {
      clusterId: parseClusterId(clusterId),
      keyId: parseKeyId(keyId),
      formerKeyId: formerKeyId === undefined ? undefined : parseKeyId(formerKeyId),
    };
  } catch (cause) {
    throw new ConnectError("CC_FILE_UNREADABLE", `${file} does not say what the agent was enrolled for`, { cause });
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "ENOENT") return undefined;
    throw new ConnectError("CC_FILE_UNREADABLE", `${file} cannot be read: ${code}`, { cause });
  }
}

async function inStateDir(stateDir: string, write: () => Promise<void>): Promise<void> {
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    await write();
  } catch (cause) {
    const code = systemCode(cause) || String(cause);
    throw new ConnectError("CC_FILE_UNREADABLE", `${stateDir} cannot be written: ${code}`, { cause });
  }
}
