/**
 * Every setting of a configuration with its defaults, as documents name it: `listen.port`. Lists, and maps whose keys
 * are the operator's own, are one setting.
 */
export function settingPaths(config: object, path = ""): readonly string[] {
  return Object.entries(config).flatMap(([key, value]: [string, unknown]) => {
    const own = path === "" ? key : `${path}.${key}`;
    const isGroup = typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
    return isGroup && Object.keys(value).length > 0 ? settingPaths(value, own) : [own];
  });
}
