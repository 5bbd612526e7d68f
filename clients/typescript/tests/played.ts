/** Nodes that fail in every way, played by servers of the tests. */
import { createServer } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import { connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";

/** What a played node does with a request, of which `name` is the hit's: an answer, or none. */
export type Plays = (name: string, request: IncomingMessage, body: string) => Promise<Answered> | Answered;

/** `"hangs"`: the connection is closed. `"silent"`: nothing comes. */
export type Answered = { readonly status: number; readonly body: unknown } | "hangs" | "silent";

function problem(status: number, kind: string, members: object = {}): Answered {
  return { status, body: { type: `/problems/${kind}`, title: "t", status, detail: "d", ...members } };
}

export const admits: Plays = () => ({
  status: 200,
  body: { allowed: true, limit: 5, remaining: 4, retry_after_ms: null, reset_after_ms: 10 },
});
export const drains: Plays = () => problem(503, "draining");
export const hangs: Plays = () => "hangs";
export const isSilent: Plays = () => "silent";
export const doubts: Plays = () => problem(503, "no-decision", { counted: "unknown" });
export const takesNoNames: Plays = (name, request, body) =>
  name === "" ? admits(name, request, body) : problem(400, "invalid-request", { field: "Weir-Hit-Id" });
export const saysStrangeThings: Plays = () => ({ status: 200, body: "<html>" });

/** A played node, and what it was sent. */
export class Played {
  readonly names: string[] = [];
  readonly connections = new Set<Socket>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(plays: Plays): Promise<Played> {
    const server = createServer((request, response) => {
      void (async () => {
        let body = "";
        for await (const part of request) body += String(part);
        const name = String(request.headers["weir-hit-id"] ?? "");
        played.names.push(name);
        const answered = await plays(name, request, body);
        if (answered === "silent") return;
        if (answered === "hangs") return request.socket.destroy();
        response.writeHead(answered.status, { "Content-Type": "application/json" }).end(JSON.stringify(answered.body));
      })();
    });
    const played = new Played(server);
    server.on("connection", (socket) => played.connections.add(socket));
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    return played;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get asked(): number {
    return this.names.length;
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.connections) socket.destroy();
  }
}

/** Hands every request on to a node, which counts it; and no answer comes back. */
export function losesAnswers(node: string): Plays {
  return async (_name, request, body): Promise<Answered> => {
    const { "weir-hit-id": name, authorization } = request.headers;
    const answer = await fetch(node + String(request.url), {
      method: request.method ?? "POST",
      body,
      headers: {
        "Content-Type": "application/json",
        ...(typeof name === "string" && { "Weir-Hit-Id": name }),
        ...(authorization !== undefined && { Authorization: authorization }),
      },
    });
    await answer.text();
    return "hangs";
  };
}

/** An address at which nobody listens. */
export async function nobody(): Promise<string> {
  const played = await Played.start(admits);
  const { url } = played;
  played.stop();
  // Closed once nobody is let in any more.
  const isOpen = () =>
    new Promise<boolean>((told) => {
      const { hostname, port } = new URL(url);
      const socket = connect(Number(port), hostname, () => told(true)).on("error", () => told(false));
      socket.unref();
    });
  while (await isOpen());
  return url;
}
