/** Which nodes are asked first: those that have not just failed. */

/** How long a node is passed over after its first failure in a row. Each further one doubles it. */
const EJECTED_FIRST_MS = 250;

/** The longest. Then one question in ten seconds finds out whether the node is back. */
const EJECTED_MAX_MS = 10_000;

/** What is believed of one node. */
export class Health {
  #failures = 0;
  #ejectedUntil = -Infinity;

  /** It answered. */
  onAnswer(): void {
    this.#failures = 0;
    this.#ejectedUntil = -Infinity;
  }

  /** It could not be reached, was silent, or said something that no node says. */
  onFailure(now: number): void {
    this.#ejectedUntil = now + Math.min(EJECTED_FIRST_MS * 2 ** this.#failures, EJECTED_MAX_MS);
    this.#failures += 1;
  }

  /** Whether others are to be asked first. */
  isEjected(now: number): boolean {
    return now < this.#ejectedUntil;
  }
}

/** The order in which nodes are asked: in turn from `first`, those that are ejected last. */
export function order<N extends { readonly health: Health }>(nodes: readonly N[], first: number, now: number): N[] {
  const start = first % nodes.length;
  const inTurn = [...nodes.slice(start), ...nodes.slice(0, start)];
  const isEjected = (node: N) => node.health.isEjected(now);
  // All of them: when all are ejected, one may have come back.
  return [...inTurn.filter((node) => !isEjected(node)), ...inTurn.filter(isEjected)];
}
