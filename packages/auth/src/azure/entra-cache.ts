import { useIdentityPlugin } from "@azure/identity";
import { isObject, parseJsonObject } from "../json.ts";

/** The library's cache of one person, kept by the caller. */
export interface EntraCache {
  /** The cache to keep after the last request. */
  readonly text: string;
  /** For the credential's options. */
  readonly options: { readonly enabled: true };
}

/** The part of the library's plugin context that sets where caches are kept; it hands it over untyped. */
interface CacheControl {
  setPersistence(factory: () => Promise<CachePlugin>): void;
}

interface CachePlugin {
  beforeCacheAccess(context: CacheAccess): Promise<void>;
  afterCacheAccess(context: CacheAccess): Promise<void>;
}

interface CacheAccess {
  readonly tokenCache: { deserialize(cache: string): void; serialize(): string };
  readonly cacheHasChanged: boolean;
}

/**
 * Lets the next credential that is made use this cache. The library asks for it in the credential's constructor, so
 * two sign-ins in one process do not get each other's.
 *
 * @param text from an earlier process; empty at the first sign-in.
 */
export function useEntraCache(text: string): EntraCache {
  let kept = text;
  const plugin: CachePlugin = {
    async beforeCacheAccess({ tokenCache }) {
      if (kept !== "") tokenCache.deserialize(kept);
    },
    async afterCacheAccess({ tokenCache, cacheHasChanged }) {
      if (cacheHasChanged) kept = tokenCache.serialize();
    },
  };
  useIdentityPlugin((context) => {
    if (!isPluginContext(context)) throw new Error("@azure/identity has no control for cache plugins");
    context.cachePluginControl.setPersistence(async () => plugin);
  });
  return {
    get text() {
      return withoutAccessTokens(kept);
    },
    options: { enabled: true },
  };
}

/** Access tokens are kept elsewhere; with them here, a renewal before their end would only give them back. */
function withoutAccessTokens(cache: string): string {
  const { AccessToken: _dropped, ...rest } = parseJsonObject(cache) ?? {};
  return JSON.stringify({ ...rest, AccessToken: {} });
}

function isPluginContext(context: unknown): context is { readonly cachePluginControl: CacheControl } {
  return (
    isObject(context) && isObject(context["cachePluginControl"]) && "setPersistence" in context["cachePluginControl"]
  );
}
