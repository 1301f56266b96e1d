/** Mutants that no test can tell from the original, and why. */
export interface Equivalent {
  /** The lines as they are and as the mutants have them, as the script prints them. */
  readonly original: string;
  readonly mutated: readonly string[];
  readonly reason: string;
}

/** By the path of the file from the folder of the workspace. */
export const EQUIVALENTS: Readonly<Record<string, readonly Equivalent[]>> = {
  "apps/relay/src/quota/pre-auth-limiter.ts": [
    {
      original: "if (oldest === undefined) return false;",
      mutated: ["if (oldest === undefined) return true;", "if (false) return false;"],
      reason:
        "An address without any is forgotten, so the one with the most has an oldest; the check is for the types.",
    },
  ],
  "packages/auth/src/headers/headers.ts": [
    {
      original: 'lines.push([rawHeaders[index] ?? "", rawHeaders[index + 1] ?? ""]);',
      mutated: [
        'lines.push([(rawHeaders[index]), rawHeaders[index + 1] ?? ""]);',
        'lines.push([rawHeaders[index] ?? "", (rawHeaders[index + 1])]);',
      ],
      reason: "Both are within the list, by the condition of the loop; the fallback is for the types alone.",
    },
  ],
  "packages/auth/src/headers/impersonation.ts": [
    {
      original: "return namespace === undefined || name === undefined ? undefined : { namespace, name };",
      mutated: ["return namespace === undefined && name === undefined ? undefined : { namespace, name };"],
      reason: "Both groups of the pattern take part in every match, so both are there or neither is.",
    },
  ],
  "packages/base/src/concurrency.ts": [
    {
      original: "const left = (counts.get(key) ?? 1) - 1;",
      mutated: [
        "const left = ((counts.get(key))) - 1;",
        "const left = (counts.get(key) ?? 2) - 1;",
        "const left = (counts.get(key) ?? 0) - 1;",
      ],
      reason: "A key with a place that was not given back has a count; the fallback is for the types alone.",
    },
  ],
  "packages/base/src/token-bucket.ts": [
    {
      original: "return left >= wanted ? 0 : Math.ceil(((wanted - left) / perSecond) * 1_000);",
      mutated: ["return left > wanted ? 0 : Math.ceil(((wanted - left) / perSecond) * 1_000);"],
      reason: "Where exactly as much is there as is wanted, the wait comes to 0 as well.",
    },
  ],
  "packages/framing/src/resume/taker.ts": [
    {
      original: 'if (request.kind !== "open") throw new ConnectError("CC_INTERNAL", "A RESUME is not accepted");',
      mutated: ['if (false) throw new ConnectError("CC_INTERNAL", "A RESUME is not accepted");'],
      reason: "Only an OPEN comes here; the check is for the types.",
    },
  ],
  "packages/framing/src/stream/window-growth.ts": [
    {
      original: "#bytesBefore = 0;",
      mutated: ["#bytesBefore = 1;"],
      reason: "The first doubling sets it, and only a doubling is followed by a phase that reads it.",
    },
    {
      original: "#roundStart = 0;",
      mutated: ["#roundStart = 1;"],
      reason: "The first call begins a round, which sets it, before any call reads it.",
    },
    {
      original: "#rateBefore = 0;",
      mutated: ["#rateBefore = 1;"],
      reason: "The first doubling sets it, and only a doubling is compared with it.",
    },
    {
      original: "this.#rate = 0;",
      mutated: [";"],
      reason:
        "In #grow: the rate before is then at most the same, and only a rate that exceeds it by a quarter counts.",
    },
    {
      original: "#left = 0;",
      mutated: ["#left = 1;"],
      reason: "It is read in phases alone that set it when they begin.",
    },
  ],
};
