/** What hits are called, so that each counts once however often it is asked. */
import { randomBytes } from "node:crypto";

/** Most limits of which it is noted that their hits can have no names. Of more, each hit is asked twice. */
const NAMELESS_MAX = 1_024;

/** Names hits: a number that nobody else has, and a count. */
export class Names {
  readonly #origin = randomBytes(16).toString("hex");
  readonly #nameless = new Set<string>();
  #next = 0;

  /** The name of another hit on `limit`. `undefined`: its hits can have none. */
  next(limit: string): string | undefined {
    if (this.#nameless.has(limit)) return undefined;
    return `${this.#origin}-${(this.#next++).toString(16)}`;
  }

  /** A node has said that hits on `limit` can have no names. */
  onNameless(limit: string): void {
    if (this.#nameless.size < NAMELESS_MAX) this.#nameless.add(limit);
  }
}
