/** Limits as they are given and told. */

/** A span as the file writes it (`"90s"`: a whole number and `ms`, `s`, `m`, `h` or `d`), or a number of milliseconds. */
export type Span = string | number;

export type Algorithm = "gcra" | "token_bucket" | "sliding_log" | "sliding_counter" | "fixed_window" | "leaky_bucket";

/** Where the windows of `fixed_window` begin. Calendar ones take the place of `per`. */
export type Anchor = "epoch" | "first_hit" | "day" | "week" | "month" | "year";

/** Who counts. */
export type Strategy = "owner" | "local" | "redis" | "raft";

/** What to answer when no decision can be had. */
export type OnFailure = "deny" | "allow" | "owner";

/** A limit that is given where it is asked. The same rule has the same counters on every node. */
export interface Rule {
  readonly algorithm: Algorithm;
  /** Units for each period. */
  readonly limit: number;
  /** The period: always, but with a calendar's anchor. */
  readonly per?: Span;
  /** Most units that pass at once: of `gcra`, `token_bucket` and `leaky_bucket`. `limit` if absent. */
  readonly burst?: number;
  readonly anchor?: Anchor;
  /** Whose calendar the anchor is of, such as `Europe/Vienna`. UTC if absent. */
  readonly zone?: string;
}

/** A limit to make, or what is to become of one. */
export interface Given extends Rule {
  /** `"owner"` if absent. */
  readonly strategy?: Strategy;
  /** `"deny"` if absent. */
  readonly onFailure?: OnFailure;
  /** Whether counts outlive all nodes. If absent, from a period of an hour on. */
  readonly keep?: boolean;
}

/** A limit that the nodes know. */
export interface Definition extends Rule {
  readonly name: string;
  readonly per?: string;
  readonly strategy: Strategy;
  readonly onFailure: OnFailure;
  readonly keep?: boolean;
}

/** A limit that was made or changed. */
export interface Defined {
  readonly definition: Definition;
  /** Live nodes that have not confirmed it yet. Empty: it is in force on all. */
  readonly pending: readonly string[];
}

/** As a node reads a span. Numbers are cut to whole milliseconds. */
export function span(given: Span): string {
  return typeof given === "string" ? given : `${Math.trunc(given)}ms`;
}

/** As a node reads a limit. */
export function ruleJson({ algorithm, limit, per, burst, anchor, zone }: Rule): Record<string, unknown> {
  return { algorithm, limit, per: per === undefined ? undefined : span(per), burst, anchor, zone };
}

/** As a node reads a limit that it is to know. */
export function givenJson(given: Given): Record<string, unknown> {
  return { ...ruleJson(given), strategy: given.strategy, on_failure: given.onFailure, keep: given.keep };
}

/** As a node tells a limit. */
export function definition(json: Record<string, unknown>): Definition {
  const { on_failure, ...rest } = json;
  return { ...rest, onFailure: on_failure } as unknown as Definition;
}
