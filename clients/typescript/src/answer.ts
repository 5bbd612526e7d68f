/** What a program is told of one hit. */

/** The state of a key after a question, and whether the hit passed. */
export interface Answer {
  /** Whether it passed and was counted; of a peek, whether a hit of 1 would pass. */
  readonly allowed: boolean;
  /** Units for each period. */
  readonly limit: number;
  /** The period. Absent: the node does not say. */
  readonly perMs?: number;
  /** The most units that pass at once, where that is not `limit`. */
  readonly burst?: number;
  /** Units left. */
  readonly remaining: number;
  /** How long until `remaining` grows. 0: it is all there is. */
  readonly growsAfterMs: number;
  /** How long until the key is full again. 0: it is. */
  readonly resetAfterMs: number;
  /** How long to wait until this hit passes, unless others are admitted first. Absent: it passed. */
  readonly retryAfterMs?: number;
  /** Nobody could decide, and the limit's fail mode answered. */
  readonly byFailMode: boolean;
}

/** A hit that passed. It was counted, unless it was a peek. */
export interface Pass {
  readonly allowed: true;
  /** Units for each period. */
  readonly limit: number;
  /** Units left. */
  readonly remaining: number;
  /** How long until the key is full again. */
  readonly resetAfterMs: number;
  /** Nobody could decide, and the limit fails open. Then nothing was counted. */
  readonly byFailMode: boolean;
}

/** A hit that did not pass. It was not counted. */
export interface Limited {
  readonly allowed: false;
  /** Units for each period. */
  readonly limit: number;
  /** Units left: fewer than the hit costs. */
  readonly remaining: number;
  /** The same hit passes after so long, unless others are admitted first. */
  readonly retryAfterMs: number;
  /** How long until the key is full again. */
  readonly resetAfterMs: number;
}

/** A hit that passed, or one that was limited. Neither is an error. */
export type Outcome = Pass | Limited;

/** The answer as one of two. */
export function outcome(answer: Answer): Outcome {
  const { limit, remaining, resetAfterMs, byFailMode } = answer;
  if (answer.allowed) return { allowed: true, limit, remaining, resetAfterMs, byFailMode };
  // A peek is told no wait: then it is that until there is more.
  const retryAfterMs = answer.retryAfterMs ?? answer.growsAfterMs;
  return { allowed: false, limit, remaining, retryAfterMs, resetAfterMs };
}
