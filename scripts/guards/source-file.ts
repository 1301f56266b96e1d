/** A file of the project, as git knows it. */
export interface SourceFile {
  /** From the root, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** `apps/relay` of `apps/relay/src/http/api.ts`; undefined for a file that is no source of a workspace. */
export function workspaceOf(path: string): string | undefined {
  return /^((?:apps|packages)\/[^/]+|e2e|bench)\/src\/.*\.ts$/.exec(path)?.[1];
}
