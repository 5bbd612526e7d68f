/**
 * Asks the nodes of Weir over HTTP. Read {@link Remote} first.
 *
 * ```ts
 * const weir = new Remote(["http://10.0.0.1:4000", "http://10.0.0.2:4000"]);
 * const outcome = await weir.limit("login").key("u1").check();
 * if (!outcome.allowed) console.log(`again in ${outcome.retryAfterMs} ms`);
 * ```
 *
 * @module
 */
export type { Answer, Limited, Outcome, Pass } from "./answer.js";
export {
  InvalidError,
  NeverConformsError,
  NoDecisionError,
  QuotaExceededError,
  RefusedError,
  UnauthorizedError,
  UnknownLimitError,
  WeirError,
} from "./errors.js";
export type { Counted, Problem } from "./errors.js";
export { joined } from "./key.js";
export type { Key } from "./key.js";
export { Asking, Limit } from "./limit.js";
export { Remote } from "./remote.js";
export type { RemoteOptions } from "./remote.js";
export type { Algorithm, Anchor, Defined, Definition, Given, OnFailure, Rule, Span, Strategy } from "./rule.js";
