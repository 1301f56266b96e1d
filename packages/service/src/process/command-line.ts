import { ConnectError } from "@cluster-connect/protocol";
import { Command, CommanderError, type Option } from "commander";

/** The flags that every daemon takes. */
export interface DaemonFlags {
  /** `--config FILE`. */
  readonly configFile: string | undefined;
  /** `--check-config`: read the settings, say whether they are right, and exit. */
  readonly checkConfig: boolean;
  readonly help: boolean;
  readonly version: boolean;
}

/** @throws ConnectError `CC_USAGE` naming the argument that is not known. */
export function parseDaemonFlags(argv: readonly string[]): DaemonFlags {
  const command = new Command()
    .option("-c, --config <value>")
    .option("--check-config", "", false)
    .helpOption(false)
    .option("-h, --help", "", false)
    .option("--version", "", false);
  const { options, words } = parseArguments<Omit<DaemonFlags, "configFile"> & { config?: string }>(command, argv);
  if (words[0] !== undefined) throw new ConnectError("CC_USAGE", `Unexpected argument '${words[0]}'`);
  const { config, checkConfig, help, version } = options;
  return { configFile: config, checkConfig, help, version };
}

/**
 * Reads the options that `command` declares, wherever they stand, and the words between them. Nothing is run or
 * written. A value that begins with a dash is taken in the same word only, so that a forgotten value is noticed.
 *
 * @throws ConnectError `CC_USAGE` naming the option that is not known, lacks its value or takes none.
 */
export function parseArguments<Options extends object>(
  command: Command,
  argv: readonly string[],
): { readonly options: Options; readonly words: readonly string[] } {
  command.exitOverride().configureOutput({ writeErr: () => {} });
  for (const option of command.options) {
    if (!option.required) continue;
    // An option that collects its values goes on doing so.
    const { parseArg } = option;
    option.argParser((value: string, former: unknown) => {
      const given = givenValue(value, option, argv);
      return parseArg === undefined ? given : parseArg(given, former);
    });
  }
  const { operands, unknown } = parseWords(command, argv);
  // Commander takes a negative number for a word; no daemon has a use for one.
  const stray = operands.find((word) => /^-[\d.]/.test(word)) ?? unknown[0];
  if (stray !== undefined) throw new ConnectError("CC_USAGE", strayOption(stray, command));
  return { options: command.opts<Options>(), words: operands };
}

function parseWords(command: Command, argv: readonly string[]): ReturnType<Command["parseOptions"]> {
  try {
    return command.parseOptions([...argv]);
  } catch (cause) {
    if (!(cause instanceof CommanderError)) throw cause;
    const sentence = cause.message.replace(/^error: o/, "O");
    throw new ConnectError("CC_USAGE", sentence, { cause });
  }
}

/** @throws ConnectError `CC_USAGE` when the next option stands where the value should be. */
function givenValue(value: string, { long, short }: Option, argv: readonly string[]): string {
  const at = argv.indexOf(value);
  if (at < 0 || value.length < 2 || !value.startsWith("-")) return value;
  const before = argv[at - 1] ?? "";
  const isLong = before.startsWith("--") || short === undefined;
  const name = isLong ? long : short;
  const ways = isLong ? `'${long}=-XYZ'` : `'${long}=-XYZ' or '${short}-XYZ'`;
  throw new ConnectError(
    "CC_USAGE",
    `Option '${name}' argument is ambiguous. Did you forget to specify the option argument for '${name}'? To specify an option argument starting with a dash use ${ways}.`,
  );
}

function strayOption(word: string, { options }: Command): string {
  const name = /^--[^=]+|^-./.exec(word)?.[0] ?? word;
  const known = options.find(({ long }) => long === name);
  return known === undefined ? `Unknown option '${name}'` : `Option '${known.flags}' does not take an argument`;
}
