import { ConnectError } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { describeFailure, errorFields, parseDaemonFlags } from "../src/index.ts";

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
