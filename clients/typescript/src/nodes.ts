/** Asking one node after the other. */
import type { WeirError } from "./errors.js";
import { NoDecisionError } from "./errors.js";
import { Health, order } from "./health.js";
import { Connections } from "./http.js";
import type { Lost } from "./http.js";
import { Names } from "./names.js";
import { HIT_ID, read, silent } from "./wire.js";
import type { Question, Told } from "./wire.js";

/** How long one node may take to answer what may be asked of another as well. */
const PATIENCE_MS = 1_500;

/**
 * The same for a hit that has a name. Longer than the 2 s within which another node takes over a silent one's keys: the
 * node that was asked first has the answer then.
 */
const PATIENCE_NAMED_MS = 2_500;

/**
 * How long a hit that may have been counted is asked again under its name. Nodes remember it for 8 s, and one that was
 * asked at the last moment may take 3.5 s to have it decided.
 */
const REPEATED_FOR_MS = 4_000;

/** The pause before all nodes are asked again, when none could be reached. Each further one is twice as long. */
const PAUSE_FIRST_MS = 25;
const PAUSE_MAX_MS = 400;

interface Node {
  /** `http://HOST:PORT` */
  readonly url: string;
  readonly health: Health;
}

/** The nodes that are asked: whose turn it is, and who has failed, and the connections to them. */
export class Nodes {
  readonly #nodes: readonly Node[];
  readonly #bearer: string | undefined;
  readonly #names = new Names();
  readonly #connections = new Connections();
  #turn = 0;

  constructor(urls: readonly string[], bearer: string | undefined) {
    this.#nodes = urls.map((url) => ({ url, health: new Health() }));
    this.#bearer = bearer;
  }

  /** Asks one node after the other until one answers or `withinMs` have passed. Nobody is asked who has no time to answer. */
  async ask<T>(question: Question<T>, withinMs: number): Promise<T> {
    const started = performance.now();
    let deadline = started + withinMs;
    const isNamed = typeof question.again === "object";
    const limit = isNamed ? (question.again as { limit: string }).limit : "";
    let name = isNamed ? this.#names.next(limit) : undefined;
    let pause = PAUSE_FIRST_MS;
    let last: WeirError | undefined;
    // Whether some node may have counted it: whatever others say, it is unknown then.
    let isUnknown = false;
    for (;;) {
      let again = false;
      for (const node of order(this.#nodes, this.#turn++, performance.now())) {
        const left = deadline - performance.now();
        if (left <= 0) break;
        let told = await this.#askOne(node, question, name, patience(question, name, left));
        if (told.is === "nameless" && name !== undefined) {
          name = undefined;
          this.#names.onNameless(limit);
          if (isUnknown) {
            // Under its name another node may have counted it.
            throw silent(`${node.url} takes no names of hits on this limit`, "unknown");
          }
          // A moment at least: no timer takes less.
          told = await this.#askOne(node, question, name, Math.max(deadline - performance.now(), 1));
        }
        let unknown: WeirError;
        switch (told.is) {
          case "answer":
            return told.answer;
          case "refused":
          case "nameless":
            throw asKnown(told.error, isUnknown);
          case "elsewhere":
            again ||= told.wait || isUnknown;
            last = told.error;
            continue;
          case "lost":
            if (told.counted === "no") {
              again = true;
              last = silent(told.why, "no");
              continue;
            }
            unknown = silent(told.why, "unknown");
            break;
          case "strange":
            unknown = silent(`${node.url} said something that no node says`, "unknown");
            break;
          case "unknown":
            unknown = told.error;
            break;
        }
        if (question.again !== "as-is" && name === undefined) throw unknown;
        again = true;
        if (question.again !== "as-is") {
          isUnknown = true;
          deadline = Math.min(deadline, started + REPEATED_FOR_MS);
        }
        last = unknown;
      }
      if (!again || deadline < performance.now() + pause) {
        throw asKnown(last ?? silent(`${withinMs} ms are no time to ask`, "no"), isUnknown);
      }
      await new Promise((wake) => setTimeout(wake, pause));
      pause = Math.min(pause * 2, PAUSE_MAX_MS);
    }
  }

  async #askOne<T>(
    node: Node,
    question: Question<T>,
    name: string | undefined,
    patienceMs: number,
  ): Promise<Told<T> | Lost> {
    const told = await this.#exchange(node, question, name, patienceMs);
    if (told.is === "lost" || told.is === "strange") node.health.onFailure(performance.now());
    else node.health.onAnswer();
    return told;
  }

  async #exchange<T>(
    node: Node,
    question: Question<T>,
    name: string | undefined,
    patienceMs: number,
  ): Promise<Told<T> | Lost> {
    const headers: Record<string, string> = {};
    const body = question.body === undefined ? undefined : JSON.stringify(question.body);
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      headers["Content-Length"] = String(Buffer.byteLength(body));
    }
    if (this.#bearer !== undefined) headers["Authorization"] = this.#bearer;
    if (name !== undefined) headers[HIT_ID] = name;
    const { method, path } = question;
    const told = await this.#connections.exchange(new URL(node.url + path), { method, headers, body }, patienceMs);
    if (told.is === "lost") return { ...told, why: `${node.url}: ${told.why}` };
    return read(question, told.status, told.headers, told.text);
  }

  /** Closes the connections that wait for questions. */
  close(): void {
    this.#connections.close();
  }
}

function patience<T>(question: Question<T>, name: string | undefined, left: number): number {
  if (question.again === "as-is") return Math.min(left, PATIENCE_MS);
  return name === undefined ? left : Math.min(left, PATIENCE_NAMED_MS);
}

/** What to tell of a hit of which `error` was said last. `isUnknown`: an earlier attempt may have been counted. */
function asKnown(error: WeirError, isUnknown: boolean): WeirError {
  if (error instanceof NoDecisionError) {
    const { problem, retryAfterMs } = error;
    return new NoDecisionError(error.message, { problem, retryAfterMs, counted: isUnknown ? "unknown" : "no" });
  }
  return isUnknown ? silent(error.message, "unknown") : error;
}
