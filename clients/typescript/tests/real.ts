/** Real nodes of `WEIR_BIN`, in a folder of their own, which end with the tests. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { createInterface } from "node:readline";

export const API_TOKEN = "a-token-of-the-tests";

/** Shards of two nodes have their copies within a second or two; this is for machines that do much else. */
const SETTLED_WITHIN_MS = 30_000;

export class Cluster {
  readonly #folder = mkdtempSync(join(tmpdir(), "weir-client-"));
  readonly #cookie = randomUUID();
  readonly #nodes: { readonly process: ChildProcess; readonly url: string }[] = [];

  constructor(config: string) {
    writeFileSync(join(this.#folder, "weir.toml"), config);
  }

  get urls(): string[] {
    return this.#nodes.map(({ url }) => url);
  }

  /** Starts another node, and waits until it serves. */
  async start(...options: string[]): Promise<this> {
    const weir = process.env["WEIR_BIN"];
    if (weir === undefined) throw new Error("WEIR_BIN names the program whose nodes are asked");
    const name = `oskar${this.#nodes.length}`;
    const node = ["node", "--name", name, "--http", "127.0.0.1:0", "--config", "weir.toml", "--api-token", API_TOKEN];
    const started = spawn(weir, [...node, ...options], {
      cwd: this.#folder,
      env: { HOME: this.#folder, WEIR_COOKIE: this.#cookie },
      stdio: ["ignore", "pipe", "ignore"],
    });
    for await (const line of createInterface(started.stdout)) {
      const http = / ready http=(\S+)/.exec(line)?.[1];
      if (http === undefined) continue;
      started.stdout.resume();
      this.#nodes.push({ process: started, url: `http://${http}` });
      return this;
    }
    throw new Error(`${name} ended before it served`);
  }

  /** Waits until every shard has all its copies, so that nothing is forgotten when a node dies. */
  async settle(): Promise<void> {
    const started = performance.now();
    for (const url of this.urls) {
      for (;;) {
        const told = (await operator(`${url}/v1/cluster`)) as Record<string, unknown>;
        const members = told["members"] as { status: string }[];
        const alive = members.filter(({ status }) => status === "alive").length;
        const isSettled = told["under_replicated_shards"] === 0 && told["unsettled_shards"] === 0;
        if (alive === this.#nodes.length && isSettled) break;
        if (SETTLED_WITHIN_MS < performance.now() - started) throw new Error(`not settled: ${JSON.stringify(told)}`);
        await new Promise((wake) => setTimeout(wake, 20));
      }
    }
  }

  /** As `kill -9` does. */
  kill(place: number): void {
    this.#nodes[place]?.process.kill("SIGKILL");
  }

  async stop(): Promise<void> {
    for (const { process: node } of this.#nodes) {
      if (node.exitCode !== null || node.signalCode !== null) continue;
      node.kill("SIGKILL");
      await once(node, "exit");
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** What an operator is answered. */
export async function operator(url: string, body?: unknown, headers: Record<string, string> = {}): Promise<unknown> {
  const response = await fetch(url, {
    headers: { Authorization: `Bearer ${API_TOKEN}`, "Content-Type": "application/json", ...headers },
    ...(body !== undefined && { method: "POST", body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** A tenant with so many requests a day, and an API key of it. */
export async function tenant(url: string, requestsPerDay: number, scopes: readonly string[]): Promise<string> {
  const made = (await operator(`${url}/v1/tenants`, { name: "Acme", requests_per_day: requestsPerDay })) as { id: string };
  const key = await operator(`${url}/v1/api-keys`, { name: "backend", scopes }, { "Weir-Tenant": made.id });
  return (key as { key: string }).key;
}
