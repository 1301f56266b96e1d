import { STATUS_CODES } from "node:http";
import { type ErrorAnswer, errorAnswer } from "./error-answer.ts";

/** An error as RFC 9457 wants it, with the fields of every other answer of the relay beside. */
export interface ProblemAnswer extends Omit<ErrorAnswer, "body"> {
  readonly body: ErrorAnswer["body"] & {
    readonly type: string;
    readonly title: string;
    readonly status: number;
    readonly detail: string;
  };
}

/** The HTTP form of an error for `application/problem+json`. */
export function problemAnswer(error: unknown): ProblemAnswer {
  const { status, headers, body } = errorAnswer(error);
  const problem = { type: `urn:cluster-connect:error:${body.code}`, title: STATUS_CODES[status] ?? "Error", status };
  return {
    status,
    headers: { ...headers, "content-type": "application/problem+json" },
    body: { ...problem, detail: body.message, ...body },
  };
}
