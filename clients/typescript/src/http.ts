/** One request and its answer, on connections that stay open. */
import type { ClientRequest, IncomingMessage } from "node:http";
import * as http from "node:http";
import * as https from "node:https";
import type { Counted } from "./errors.js";
import type { Fields } from "./wire.js";

/**
 * How long a node may take to accept a connection. Within a region that takes a millisecond; a lost packet is sent again
 * after a second. `fetch` knows no such span, and does not tell whether a request has left: hence `node:http`.
 */
const CONNECT_MS = 1_200;

/** Connections that wait for a question are closed before the 60 s after which a node closes them. */
const IDLE_MS = 30_000;

/** Connections that wait for questions, for each node: as many as are in flight at once in a busy program. */
const IDLE_MAX = 64;

/** Bytes of an answer. A decision has 160; a batch, or a page of limits, a thousand of them. */
const ANSWER_MAX = 4 * 1024 * 1024;

export interface Sent {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
}

export interface Answered {
  readonly is: "answered";
  readonly status: number;
  readonly headers: Fields;
  readonly text: string;
}

/** An answer that was lost on its way, or never given. `counted` `"no"`: the node was not reached. */
export interface Lost {
  readonly is: "lost";
  readonly why: string;
  readonly counted: Counted;
}

/** The connections to nodes. */
export class Connections {
  readonly #http = new http.Agent({ keepAlive: true, maxFreeSockets: IDLE_MAX, timeout: IDLE_MS });
  readonly #https = new https.Agent({ keepAlive: true, maxFreeSockets: IDLE_MAX, timeout: IDLE_MS });

  /** Sends, and waits so long for the whole answer. */
  exchange(url: URL, sent: Sent, patienceMs: number): Promise<Answered | Lost> {
    return new Promise((told) => {
      // Whether the request may have left.
      let hasLeft = false;
      const isTls = url.protocol === "https:";
      const { method, headers } = sent;
      const request = isTls
        ? https.request(url, { method, headers, agent: this.#https })
        : http.request(url, { method, headers, agent: this.#http });
      const lose = (why: string) => {
        told({ is: "lost", why, counted: hasLeft ? "unknown" : "no" });
        clearTimeout(connecting);
        clearTimeout(answering);
        request.destroy();
      };
      const connecting = setTimeout(() => lose("no connection in time"), Math.min(CONNECT_MS, patienceMs));
      const answering = setTimeout(() => lose(`no answer within ${Math.ceil(patienceMs)} ms`), patienceMs);
      onConnected(request, isTls, () => {
        hasLeft = true;
        clearTimeout(connecting);
      });
      request.on("error", (error) => lose(error.message || String((error as { code?: unknown }).code)));
      request.on("response", (response) => {
        read(response).then(
          (text) => {
            clearTimeout(answering);
            told({ is: "answered", status: response.statusCode ?? 0, headers: fields(response), text });
          },
          (error: Error) => lose(error.message),
        );
      });
      request.end(sent.body);
    });
  }

  /** Closes those that wait for a question. */
  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}

/** Calls when there is a connection, before anything is sent on it. */
function onConnected(request: ClientRequest, isTls: boolean, connected: () => void): void {
  request.on("socket", (socket) => {
    if (request.reusedSocket) connected();
    else socket.once(isTls ? "secureConnect" : "connect", connected);
  });
}

async function read(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    length += part.length;
    if (ANSWER_MAX < length) throw new Error("an answer without end");
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function fields({ headers }: IncomingMessage): Fields {
  return {
    get(name) {
      const value = headers[name];
      return value === undefined ? null : String(value);
    },
  };
}
