/** Longest token that is looked at; a token with 200 groups has 12 to 17 KB. */
export const MAX_TOKEN_BYTES = 65_536;
/** How far the issuer's clock and ours may differ, in either direction. */
export const CLOCK_LEEWAY_MS = 60_000;

/** Longest discovery document or key set that is read, in characters. */
export const MAX_DOCUMENT_CHARACTERS = 1_048_576;
/** Most keys of one issuer. */
export const MAX_ISSUER_KEYS = 256;
/** Time for one document, from the dial to the last byte. */
export const DOCUMENT_TIMEOUT_MS = 5_000;
/** Age from which keys are fetched again before they are used; a revoked key lives no longer than this. */
export const KEYS_FRESH_MS = 3_600_000;
/** Age up to which keys are used while the issuer cannot be reached. */
export const KEYS_KEPT_MS = 86_400_000;
/** Shortest time between two fetches of one issuer's keys. */
export const KEYS_COOLDOWN_MS = 10_000;
/** The same while no keys were fetched yet, so that an issuer that starts late is found soon. */
export const KEYS_FIRST_COOLDOWN_MS = 1_000;

/**
 * Most tokens with an unknown key that wait for one fetch of their issuer's keys; any client can invent such tokens.
 */
export const MAX_WAITING_FOR_KEYS = 64;

/** Most issuers of one configuration, as Kubernetes has it. */
export const MAX_ISSUERS = 64;
/** Longest configuration file that is read. */
export const MAX_CONFIG_BYTES = 1_048_576;

/** Longest expression. */
export const MAX_EXPRESSION_BYTES = 10_240;
/** Most nodes of one expression's syntax tree, and its greatest depth. */
export const MAX_EXPRESSION_NODES = 1_000;
export const MAX_EXPRESSION_DEPTH = 50;
/** Most steps an expression may take at worst; a bound from its loops and the token's size. Kubernetes' `PerCallLimit`. */
export const MAX_EXPRESSION_COST = 1_000_000;
/** Longest regular expression. */
export const MAX_PATTERN_CHARACTERS = 1_024;

/** Time between two looks at a configuration file. */
export const RELOAD_INTERVAL_MS = 10_000;
