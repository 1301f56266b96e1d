import { hashEnrollmentCode, mintEnrollmentCode, parseEnrollmentCode } from "@cluster-connect/auth";
import fc from "fast-check";
import { expect, test } from "vitest";

test("a code has a prefix and six groups, and each is another", () => {
  const codes = Array.from({ length: 1_000 }, () => mintEnrollmentCode().code);
  for (const code of codes) expect(code).toMatch(/^cc1(-[0-9a-hjkmnp-tv-z]{5}){6}$/);
  expect(new Set(codes).size).toBe(1_000);
});

test("its hash is found from any spelling a person makes of it, and does not hold it", () => {
  const { code, hash } = mintEnrollmentCode();
  const plain = code.slice(4).replaceAll("-", "");
  const spellings = [code.toUpperCase(), ` ${code}\n`, `cc1-${plain}`, `CC1-${plain.match(/../g)?.join(" ")}`];
  const swapped = code.replaceAll("0", "O").replaceAll(/1/g, "l").replace(/^ccl/, "cc1");
  for (const spelling of [...spellings, swapped]) expect(hashEnrollmentCode(spelling)).toBe(hash);
  expect(parseEnrollmentCode(swapped)).toBe(code);
  expect(hash).not.toContain(plain.slice(0, 5));
});

test("most single mistakes in typing are noticed, and no code is shown", () => {
  const { code } = mintEnrollmentCode();
  let noticed = 0;
  const wrong = Array.from({ length: 27 }, (_, index) => index + 4).filter((at) => code[at] !== "-");
  for (const at of wrong) {
    const mistyped = `${code.slice(0, at)}${code[at] === "7" ? "8" : "7"}${code.slice(at + 1)}`;
    try {
      parseEnrollmentCode(mistyped);
    } catch (error) {
      noticed += 1;
      expect(error).toMatchObject({ code: "CC_ENROLLMENT_CODE_INVALID", message: "The enrollment code was mistyped" });
    }
  }
  expect(noticed).toBeGreaterThanOrEqual(wrong.length - 2);
});

test("any other text is refused with a named error", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `cc1-${text}`),
      ),
      (text) => {
        expect(() => parseEnrollmentCode(text)).toThrow(
          expect.objectContaining({ code: "CC_ENROLLMENT_CODE_INVALID" }),
        );
      },
    ),
  );
});
