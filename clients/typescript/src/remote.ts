/** Nodes elsewhere, asked over HTTP. */
import { outcome } from "./answer.js";
import type { Outcome } from "./answer.js";
import { WeirError } from "./errors.js";
import type { Key } from "./key.js";
import { isNamed, Limit } from "./limit.js";
import type { Asking } from "./limit.js";
import { Nodes } from "./nodes.js";
import { definition } from "./rule.js";
import type { Definition, Rule, Span } from "./rule.js";
import { batch } from "./wire.js";
import type { Question } from "./wire.js";

/**
 * How long a question may take altogether. Longer than the 2 s within which another node takes over a silent one's keys,
 * so that an answer given then still arrives.
 */
const DEADLINE_MS = 5_000;

/** Limits of a page: as many as a node gives. */
const PAGE = 1_000;

export interface RemoteOptions {
  /** The API key of a tenant. */
  readonly apiKey?: string;
  /** The nodes' API token, or an operator's. One of the two at most. */
  readonly apiToken?: string;
  /** How long a question may take altogether. Default 5 000: within 2 s another node takes over the keys of one that is gone. */
  readonly deadlineMs?: number;
}

/**
 * Nodes elsewhere, asked over HTTP: any of them decides for any key. Make one and share it.
 *
 * A question goes to one node, each in its turn. What surely was not counted is asked of the next at once, and a node that
 * fails is passed over for a while. What may have been counted, since its answer was lost on the way, is asked again for up
 * to 4 s, too: each hit has a name, by which the nodes know that they have counted it. Only where hits can have no names,
 * in a batch and where the limit's strategy is not `owner`, a lost answer is the end, and the error says that it is unknown
 * whether the hit was counted.
 *
 * Whatever is no decision rejects with a {@link WeirError}.
 */
export class Remote {
  readonly #nodes: Nodes;
  readonly #deadlineMs: number;

  /** Asks the nodes at these addresses, such as `http://10.0.0.1:4000`. Nobody is asked yet. */
  constructor(urls: string | readonly string[], options: RemoteOptions = {}) {
    const addresses = (typeof urls === "string" ? [urls] : urls).map(address);
    if (addresses.length === 0) throw new TypeError("no node is named; accepted: one or more of http://HOST:PORT");
    this.#nodes = new Nodes(addresses, bearer(options));
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
    if (!(0 < this.#deadlineMs)) throw new TypeError(`a deadline of ${this.#deadlineMs} ms; accepted: more than 0`);
  }

  /** The limit called `name`, ready to be asked. No node is asked whether there is one. */
  limit(name: string): Limit {
    return new Limit(this.#asks, name);
  }

  /** A limit that is given here, ready to be asked. */
  limitOf(rule: Rule): Limit {
    return new Limit(this.#asks, rule);
  }

  /** One hit in every `per` passes: a sliding log of one. */
  allow(key: Key, per: Span): Promise<Outcome> {
    return this.limitOf({ algorithm: "sliding_log", limit: 1, per }).key(key).check();
  }

  /** Up to `limit` units pass in every window of `scale`, of which this hit costs `increment`: a window that begins at the epoch. */
  checkRate(key: Key, scale: Span, limit: number, increment = 1): Promise<Outcome> {
    return this.limitOf({ algorithm: "fixed_window", limit, per: scale }).key(key).cost(increment).check();
  }

  /**
   * Asks up to 1 000 at once, each for itself: `weir.checkAll([login.key("u1"), api.key("u1").cost(3)])`. What became of each
   * comes in the order of the questions; one that has no decision has the error in its place.
   */
  async checkAll(questions: readonly Asking[]): Promise<(Outcome | WeirError)[]> {
    const checks = questions.map((question) => question.json);
    const results = await this.#asks.ask({
      method: "POST",
      path: "/v1/check/batch",
      body: { checks },
      // A batch takes no names.
      again: checks.every((check) => check.cost === 0) ? "as-is" : "never",
      read: (body) => {
        const results = batch(body);
        return results?.length === checks.length ? results : undefined;
      },
    });
    return results.map((result) => (result instanceof WeirError ? result : outcome(result)));
  }

  /** All limits that the nodes know. */
  async limits(): Promise<Definition[]> {
    const limits: Definition[] = [];
    let after = "";
    for (;;) {
      const page = await this.#asks.ask({
        method: "GET",
        path: `/v1/limits?count=${PAGE}${after}`,
        again: "as-is",
        read: limitsPage,
      });
      limits.push(...page.limits);
      if (page.next === undefined) return limits;
      after = `&after=${encodeURIComponent(page.next)}`;
    }
  }

  /** Closes the connections that wait for questions. They keep no program from ending. */
  close(): void {
    this.#nodes.close();
  }

  get #asks(): { ask<T>(question: Question<T>): Promise<T> } {
    return { ask: (question) => this.#nodes.ask(question, this.#deadlineMs) };
  }
}

function limitsPage(body: unknown): { limits: Definition[]; next?: string } | undefined {
  const { limits, next } = (body ?? {}) as { limits?: unknown; next?: unknown };
  if (!Array.isArray(limits) || !limits.every(isNamed)) return undefined;
  return { limits: limits.map(definition), ...(typeof next === "string" && { next }) };
}

function address(given: string): string {
  let url: URL | undefined;
  try {
    url = new URL(given);
  } catch {
    // Told below.
  }
  const isPlain =
    url !== undefined &&
    (url.protocol === "http:" || url.protocol === "https:") &&
    url.username === "" &&
    url.password === "" &&
    url.pathname === "/" &&
    url.search === "" &&
    url.hash === "";
  // Not told whole: it may have a password.
  if (!isPlain) throw new TypeError(`${given.replace(/\/\/.*@/, "//…@")} is no address of a node; accepted: http://HOST:PORT`);
  return (url as URL).origin;
}

function bearer({ apiKey, apiToken }: RemoteOptions): string | undefined {
  if (apiKey !== undefined && apiToken !== undefined) throw new TypeError("give either apiKey or apiToken");
  const token = (apiKey ?? apiToken)?.trim();
  if (token === undefined) return undefined;
  // Never told: it is a secret.
  if (!/^[!-~]+$/.test(token)) throw new TypeError("the token is empty, or holds what no header can; accepted: printable ASCII");
  return `Bearer ${token}`;
}
