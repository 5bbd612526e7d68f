/** One limit, ready to be asked. */
import { outcome } from "./answer.js";
import type { Answer, Outcome } from "./answer.js";
import { joined } from "./key.js";
import type { Key } from "./key.js";
import { definition, givenJson, ruleJson } from "./rule.js";
import type { Defined, Definition, Given, Rule } from "./rule.js";
import { decision } from "./wire.js";
import type { Fields, Question } from "./wire.js";

/** Whoever puts a question to the nodes. */
export interface Asks {
  ask<T>(question: Question<T>): Promise<T>;
}

/** A limit that the nodes know, or one that goes with each question. */
export type Target = string | Rule;

/**
 * One limit, ready to be asked.
 *
 * ```ts
 * const login = weir.limit("login");
 * if (!(await login.key("u1").cost(3).check()).allowed) return;
 * // It was not needed after all.
 * await login.key("u1").cost(3).refund();
 * ```
 */
export class Limit {
  readonly #asks: Asks;
  readonly #target: Target;

  /** @internal */
  constructor(asks: Asks, target: Target) {
    this.#asks = asks;
    this.#target = target;
  }

  /** What clients see it called. */
  get name(): string {
    return typeof this.#target === "string" ? this.#target : "rule";
  }

  /** A question about `key`, of a hit that costs 1. */
  key(key: Key): Asking {
    return new Asking(this.#asks, this.#target, joined(key), 1);
  }

  /** The limit as the nodes know it. */
  describe(): Promise<Definition> {
    return this.#asks.ask({
      method: "GET",
      path: this.#path("described"),
      again: "as-is",
      read: (body) => (isNamed(body) ? definition(body) : undefined),
    });
  }

  /** Makes the limit, or changes it, on every node. Its counts stay. One that a file defines is not changed. */
  define(given: Given): Promise<Defined> {
    return this.#asks.ask({
      method: "PUT",
      path: this.#path("defined"),
      body: givenJson(given),
      again: "as-is",
      read: (body, headers) =>
        isNamed(body) ? { definition: definition(body), pending: pending(headers) } : undefined,
    });
  }

  /** Removes a limit that was made while nodes run. Told are the live nodes that have not confirmed it yet. */
  remove(): Promise<readonly string[]> {
    return this.#asks.ask({
      method: "DELETE",
      path: this.#path("removed"),
      // Asked again it may be unknown already.
      again: "never",
      read: (body, headers) => (body === undefined ? pending(headers) : undefined),
    });
  }

  #path(done: string): string {
    if (typeof this.#target !== "string") throw new TypeError(`a rule cannot be ${done}: it has no name`);
    return `/v1/limits/${encodeURIComponent(this.#target)}`;
  }
}

/** A question that is about to be asked. */
export class Asking {
  readonly #asks: Asks;
  readonly #target: Target;
  readonly #key: string;
  readonly #cost: number;

  /** @internal */
  constructor(asks: Asks, target: Target, key: string, cost: number) {
    this.#asks = asks;
    this.#target = target;
    this.#key = key;
    this.#cost = cost;
  }

  /** The same for a hit of so many units. */
  cost(units: number): Asking {
    return new Asking(this.#asks, this.#target, this.#key, units);
  }

  /** Decides the hit, and counts it if it passes. Being limited is no error. */
  async check(): Promise<Outcome> {
    return outcome(await this.#asks.ask(this.#question("/v1/check", this.#cost)));
  }

  /** Tells the state of the key, and counts nothing. */
  peek(): Promise<Answer> {
    return this.#asks.ask(this.#question("/v1/check", 0));
  }

  /** Gives the units back, never below empty, and tells the state after. */
  refund(): Promise<Answer> {
    return this.#asks.ask(this.#question("/v1/refund", this.#cost));
  }

  /** Makes the key full. */
  async reset(): Promise<void> {
    if (typeof this.#target !== "string") throw new TypeError("a rule's counters cannot be reset over HTTP");
    await this.#asks.ask({
      method: "DELETE",
      path: `/v1/keys/${encodeURIComponent(this.#target)}/${encodeURIComponent(this.#key)}`,
      again: "as-is",
      read: (body) => (body === undefined ? true : undefined),
    });
  }

  /** As a check of a batch. @internal */
  get json(): { readonly cost: number } & Record<string, unknown> {
    return this.#json(this.#cost);
  }

  #question(path: string, cost: number): Question<Answer> {
    const limit = typeof this.#target === "string" ? this.#target : "rule";
    const isPeek = path === "/v1/check" && cost === 0;
    return { method: "POST", path, body: this.#json(cost), again: isPeek ? "as-is" : { limit }, read: decision };
  }

  #json(cost: number): { readonly cost: number } & Record<string, unknown> {
    const target = this.#target;
    const which = typeof target === "string" ? { limit: target } : { rule: ruleJson(target) };
    return { ...which, key: this.#key, cost };
  }
}

export function isNamed(body: unknown): body is Record<string, unknown> {
  return typeof (body as { name?: unknown } | null | undefined)?.name === "string";
}

function pending(headers: Fields): string[] {
  const names = headers.get("weir-pending") ?? "";
  return names.split(",").map((name) => name.trim()).filter((name) => name !== "");
}
