/** Why a program was given no decision. Being limited is none of these: it is a value. */

/** What became of a hit that has no decision. `"unknown"`: it may or may not have been counted. */
export type Counted = "no" | "unknown";

/** What a node says is wrong (RFC 9457). */
export interface Problem {
  /** `/problems/` and a name. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** The field or parameter that is wrong. */
  readonly field?: string;
  /** What it held. */
  readonly given?: unknown;
  /** What it may hold. */
  readonly accepted?: string;
  /** Absent: nothing was counted. */
  readonly counted?: "unknown";
  /** What goes with its type besides. */
  readonly [member: string]: unknown;
}

/** What is known of an error besides its message. */
export interface Told {
  readonly problem?: Problem | undefined;
  readonly counted?: Counted;
  readonly retryAfterMs?: number;
}

/** Why there is no decision. Each kind is a class of its own. */
export class WeirError extends Error {
  /** What became of the hit. */
  readonly counted: Counted;
  /** When another attempt is worth making. Absent: never, as it is. */
  readonly retryAfterMs?: number;
  /** What the node said, if one did. */
  readonly problem?: Problem;

  constructor(message: string, told: Told = {}) {
    super(message);
    this.name = new.target.name;
    this.counted = told.counted ?? "no";
    if (told.retryAfterMs !== undefined) this.retryAfterMs = told.retryAfterMs;
    if (told.problem !== undefined) this.problem = told.problem;
  }
}

/** Not counted: no limit has this name. */
export class UnknownLimitError extends WeirError {}

/** Not counted: what was asked makes no sense. `problem` says which field, and what would do. */
export class InvalidError extends WeirError {}

/** Not counted: the cost is above the burst, and no wait helps. */
export class NeverConformsError extends WeirError {}

/** Nobody decided, and the limit fails closed. `counted` says what became of the hit. */
export class NoDecisionError extends WeirError {
  declare readonly retryAfterMs: number;
}

/** Not counted: the node wants another API key or token, or one that may do this. */
export class UnauthorizedError extends WeirError {}

/** Not counted: the requests of the day that the tenant's plan has are used up. No limit has denied this. */
export class QuotaExceededError extends WeirError {
  declare readonly retryAfterMs: number;

  /** Requests that the day has. Absent: the node does not say. */
  get limit(): number | undefined {
    return numberOf(this.problem?.["limit"]);
  }

  /** Requests that are used. */
  get used(): number | undefined {
    return numberOf(this.problem?.["used"]);
  }

  /** When the next day begins. */
  get resetsAt(): Date | undefined {
    const at = this.problem?.["resets_at"];
    return typeof at === "string" ? new Date(at) : undefined;
  }
}

/** Not counted: refused for another reason, which `problem.type` names. */
export class RefusedError extends WeirError {}

function numberOf(member: unknown): number | undefined {
  return typeof member === "number" ? member : undefined;
}
