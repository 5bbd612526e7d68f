/** Questions and answers as a node's HTTP front has them. */
import type { Answer } from "./answer.js";
import {
  InvalidError,
  NeverConformsError,
  NoDecisionError,
  QuotaExceededError,
  RefusedError,
  UnauthorizedError,
  UnknownLimitError,
} from "./errors.js";
import type { Counted, Problem, WeirError } from "./errors.js";

/** The header by which a hit is named. */
export const HIT_ID = "Weir-Hit-Id";

/** When another attempt is worth making, where nobody says. */
const SOON_MS = 1_000;

/** Where no node answered. */
const SILENT_RETRY_MS = 200;

/** The header fields of an answer, by names in small letters. */
export interface Fields {
  get(name: string): string | null;
}

/** What a node is asked. */
export interface Question<T> {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  /**
   * How it may be asked again when an answer was lost: `"as-is"`, since asking twice is the same as asking once; under a
   * name, which hits on this limit have; or `"never"`.
   */
  readonly again: "as-is" | "never" | { readonly limit: string };
  /** Reads an answer. `undefined`: no node says this. */
  read(body: unknown, headers: Fields): T | undefined;
}

/** What came of asking one node. */
export type Told<T> =
  | { readonly is: "answer"; readonly answer: T }
  | { readonly is: "refused"; readonly error: WeirError }
  /** Not counted, and another node may know better. `wait`: so may this one, soon. */
  | { readonly is: "elsewhere"; readonly error: WeirError; readonly wait: boolean }
  /** It may have been counted: the node that decides did not answer this one. */
  | { readonly is: "unknown"; readonly error: WeirError }
  /** Not counted: the limit's hits can have no names. */
  | { readonly is: "nameless"; readonly error: WeirError }
  /** Nothing that a node says: it may have been counted. */
  | { readonly is: "strange" };

type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reads what a node answered. */
export function read<T>(question: Question<T>, status: number, headers: Fields, text: string): Told<T> {
  let body: unknown;
  try {
    body = text === "" ? undefined : JSON.parse(text);
  } catch {
    return { is: "strange" };
  }
  const problem = asProblem(body);
  if (problem !== undefined) return ofProblem(problem, headers);
  // A denial is 429, and has a decision as its body.
  const answer = status < 300 || status === 429 ? question.read(body, headers) : undefined;
  return answer === undefined ? { is: "strange" } : { is: "answer", answer };
}

/** A problem, if it is one. */
export function asProblem(body: unknown): Problem | undefined {
  const isProblem = isObject(body) && typeof body["type"] === "string" && body["type"].startsWith("/problems/");
  return isProblem ? (body as unknown as Problem) : undefined;
}

function ofProblem(problem: Problem, headers: Fields): Told<never> {
  const error = errorOf(problem, seconds(headers, "retry-after"));
  switch (problem.type.slice("/problems/".length)) {
    case "invalid-request":
      return { is: problem.field === HIT_ID ? "nameless" : "refused", error };
    case "tenant-rate":
    case "draining":
      return error.counted === "unknown" ? { is: "unknown", error } : { is: "elsewhere", error, wait: true };
    default:
      if (!(error instanceof NoDecisionError)) return { is: "refused", error };
      return error.counted === "unknown" ? { is: "unknown", error } : { is: "elsewhere", error, wait: false };
  }
}

/** What a program is told of a problem. */
export function errorOf(problem: Problem, retryAfterMs = SOON_MS): WeirError {
  const why = problem.detail || problem.title;
  switch (problem.type.slice("/problems/".length)) {
    case "unknown-limit":
      return new UnknownLimitError(why, { problem });
    case "invalid-request":
      return new InvalidError(problem.accepted ? `${why}; accepted: ${problem.accepted}` : why, { problem });
    case "never-conforms":
      return new NeverConformsError(why, { problem });
    case "unauthorized":
    case "forbidden":
    case "tenant-suspended":
      return new UnauthorizedError(`the node does not take this: ${why}`, { problem });
    case "quota-exceeded":
      return new QuotaExceededError(why, { problem, retryAfterMs });
    case "no-decision":
    case "no-quorum":
    case "stale-configuration":
    case "overloaded":
    case "draining":
    case "tenant-rate": {
      // Nodes without that member say it in words.
      const isUnknown = problem.counted === "unknown" || why.includes("unknown whether");
      const counted = isUnknown ? "unknown" : "no";
      return new NoDecisionError(`no decision could be had: ${why}`, { problem, counted, retryAfterMs });
    }
    default:
      return new RefusedError(why, { problem });
  }
}

/** Nobody answered. */
export function silent(why: string, counted: Counted): NoDecisionError {
  return new NoDecisionError(`no decision could be had: ${why}`, { counted, retryAfterMs: SILENT_RETRY_MS });
}

/** A decision, if it is one. */
export function decision(body: unknown, headers?: Fields): Answer | undefined {
  if (!isObject(body)) return undefined;
  const { allowed, limit, remaining, retry_after_ms, reset_after_ms, by_fail_mode } = body;
  const isDecision =
    typeof allowed === "boolean" &&
    typeof limit === "number" &&
    typeof remaining === "number" &&
    typeof reset_after_ms === "number";
  if (!isDecision) return undefined;
  const policy = headers?.get("ratelimit-policy");
  const perSeconds = parameter(policy, "w");
  const burst = parameter(policy, "weir-burst");
  const growsSeconds = parameter(headers?.get("ratelimit"), "t");
  return {
    allowed,
    limit,
    remaining,
    ...(perSeconds !== undefined && { perMs: perSeconds * 1_000 }),
    ...(burst !== undefined && { burst }),
    // Seconds are rounded up: never later than the key is full.
    growsAfterMs: Math.min(growsSeconds === undefined ? Infinity : growsSeconds * 1_000, reset_after_ms),
    resetAfterMs: reset_after_ms,
    ...(typeof retry_after_ms === "number" && { retryAfterMs: retry_after_ms }),
    byFailMode: by_fail_mode === true,
  };
}

/** What a batch was answered, if it is that: a decision or an error for each check. */
export function batch(body: unknown): (Answer | WeirError)[] | undefined {
  if (!isObject(body) || !Array.isArray(body["results"])) return undefined;
  const results: (Answer | WeirError)[] = [];
  for (const result of body["results"] as unknown[]) {
    const problem = isObject(result) ? asProblem(result["error"]) : undefined;
    const told = problem === undefined ? decision(result) : errorOf(problem);
    if (told === undefined) return undefined;
    results.push(told);
  }
  return results;
}

function seconds(headers: Fields, name: string): number | undefined {
  const value = headers.get(name);
  return value !== null && /^\d+$/.test(value) ? Number(value) * 1_000 : undefined;
}

/** The number of a parameter of the first item: the limit's. The day of a tenant stands behind it. */
function parameter(value: string | null | undefined, name: string): number | undefined {
  const first = /^\s*"(?:[^"\\]|\\.)*"([^,]*)/.exec(value ?? "")?.[1] ?? "";
  const number = first.split(";").find((part) => part.startsWith(`${name}=`));
  return number === undefined ? undefined : Number(number.slice(name.length + 1));
}
