// Three nodes and what stands before them, for whoever looks at their pages.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

export const weir = process.argv[2];
export const home = mkdtempSync(join(tmpdir(), "weir-pages-"));
export const PASSWORD = "correct horse battery";
export const nodes = [];

// What people put before several nodes: a connection goes to the first that takes it.
const front = createServer((client) => {
  client.on("error", () => {});
  const alive = nodes.filter((node) => !node.isDead);
  const attempt = (place) => {
    if (client.destroyed || place === alive.length) return client.destroy();
    const node = connect(alive[place].port, "127.0.0.1");
    let isThrough = false;
    node.once("connect", () => {
      isThrough = true;
      client.pipe(node).pipe(client);
    });
    node.on("error", () => {});
    node.on("close", () => (isThrough ? client.destroy() : attempt(place + 1)));
    client.on("close", () => node.destroy());
  };
  attempt(0);
});
await new Promise((ready) => front.listen(0, "127.0.0.1", ready));
export const url = `http://127.0.0.1:${front.address().port}`;

function run(...args) {
  const node = nodes.find((node) => !node.isDead);
  const common = ["--url", `http://127.0.0.1:${node.port}`, "--cookie", "wojtyra"];
  return spawnSync(weir, [...args, ...common], { env: { ...process.env, HOME: home }, encoding: "utf8" });
}

export function command(...args) {
  const { status, stdout, stderr } = run(...args);
  if (status !== 0) throw new Error(`weir ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}

// Until every shard has the copies that a death is not to cost.
async function settle() {
  for (let looked = 0; looked < 100; looked++) {
    if (/under-replicated shards +0\n/.test(run("status").stdout)) return;
    await new Promise((again) => setTimeout(again, 100));
  }
  throw new Error("the cluster does not settle");
}

async function startNode(name) {
  const args = ["node", "--name", name, "--cookie", "wojtyra", "--ephemeral", "--http", "127.0.0.1:0"];
  args.push("--config", join(home, "weir.toml"));
  const env = { ...process.env, HOME: home, XDG_RUNTIME_DIR: home };
  const process_ = spawn(weir, args, { env, stdio: ["ignore", "pipe", "ignore"] });
  const line = await new Promise((told, failed) => {
    process_.stdout.once("data", (data) => told(String(data)));
    process_.once("exit", () => failed(new Error(`${name} has ended`)));
  });
  const port = Number(/http=127\.0\.0\.1:(\d+)/.exec(line)[1]);
  nodes.push({ name, port, process: process_, isDead: false });
}

/** Starts three nodes and a browser, does `work` with it, and leaves nothing of them behind. Whatever it throws, `failed` is told. */
export async function onThreeNodes(work, failed) {
  let browser;
  try {
    writeFileSync(join(home, "weir.toml"), `[cluster]\nack = "replicated"\n[service]\npublic_url = "${url}"\nsignup = "open"\n`);
    for (const name of ["oskar", "oskar2", "oskar3"]) await startNode(name);
    await settle();
    browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"] });
    await work(browser);
  } catch (error) {
    failed(String(error));
  } finally {
    await browser?.close();
    for (const node of nodes) node.process.kill("SIGKILL");
    front.close();
    rmSync(home, { recursive: true, force: true });
  }
}
