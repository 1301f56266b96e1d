import { ConnectError } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { describeFailure, errorFields, parseDaemonFlags } from "../../src/index.ts";

test("the flags of a daemon are read", () => {
  expect(parseDaemonFlags(["--config", "a.yaml", "--check-config"])).toEqual({
    configFile: "a.yaml",
    checkConfig: true,
    help: false,
    version: false,
  });
});

test("an unknown flag is a usage error that names it", () => {
  expect(() => parseDaemonFlags(["--confg", "a.yaml"])).toThrow(
    expect.objectContaining({ code: "CC_USAGE", message: expect.stringContaining("--confg") }),
  );
});

test("what is wrong is one line, also where a value begins with a dash", () => {
  expect(() => parseDaemonFlags(["--config", "-a.yaml"])).toThrow(
    expect.objectContaining({ code: "CC_USAGE", message: expect.stringMatching(/^.*use '--config=-XYZ'\.$/) }),
  );
});

test.each([
  [["--confg=a"], "Unknown option '--confg'"],
  [["-xyz"], "Unknown option '-x'"],
  [["-hx"], "Unknown option '-x'"],
  [["-5"], "Unknown option '-5'"],
  [["--no-help"], "Unknown option '--no-help'"],
  [["--config"], "Option '-c, --config <value>' argument missing"],
  [["-hc"], "Option '-c, --config <value>' argument missing"],
  [["--check-config=yes"], "Option '--check-config' does not take an argument"],
  [["--help=1"], "Option '-h, --help' does not take an argument"],
  [["now"], "Unexpected argument 'now'"],
  [["--", "--config"], "Unexpected argument '--config'"],
  [["-"], "Unexpected argument '-'"],
])("%j is refused in these words: %s", (argv, message) => {
  expect(() => parseDaemonFlags(argv)).toThrow(expect.objectContaining({ code: "CC_USAGE", message }));
});

test.each([
  [["--config", "-a.yaml"], "'--config'", "'--config=-XYZ'"],
  [["-c", "--help"], "'-c'", "'--config=-XYZ' or '-c-XYZ'"],
  [["-hc", "-a"], "'-c'", "'--config=-XYZ' or '-c-XYZ'"],
  [["-c", "--"], "'-c'", "'--config=-XYZ' or '-c-XYZ'"],
])("%j asks for the value that may be forgotten", (argv, name, ways) => {
  const message = `Option ${name} argument is ambiguous. Did you forget to specify the option argument for ${name}? To specify an option argument starting with a dash use ${ways}.`;
  expect(() => parseDaemonFlags(argv)).toThrow(expect.objectContaining({ code: "CC_USAGE", message }));
});

test.each([
  [["--config=-a"], "-a"],
  [["-c-a"], "-a"],
  [["-ca"], "a"],
  [["-hca"], "a"],
  [["--config="], ""],
  [["--config", ""], ""],
  [["--config", "-"], "-"],
  [["-c", "a", "--config", "b"], "b"],
])("%j names the file %j", (argv, configFile) => {
  expect(parseDaemonFlags(argv)).toMatchObject({ configFile });
});

test("a failure is one line, a hint, and the code's own exit number", () => {
  expect(describeFailure(new ConnectError("CC_PORT_IN_USE", "127.0.0.1:80 is in use"))).toEqual({
    text: expect.stringMatching(/^error: 127\.0\.0\.1:80 is in use \(CC_PORT_IN_USE\)\nhint: .+$/),
    exitCode: 65,
  });
});

test("an expected error is logged without a stack, another one with it", () => {
  expect(errorFields(new ConnectError("CC_TIMEOUT", "too late"))).toEqual({ code: "CC_TIMEOUT", reason: "too late" });
  expect(errorFields(new Error("bug"))).toMatchObject({
    code: "CC_INTERNAL",
    reason: "bug",
    stack: expect.any(String),
  });
});
