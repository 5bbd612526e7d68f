/** The example for Express, in front of a real node. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { API_TOKEN, Cluster } from "./real.js";

const APP = new URL("../../../examples/express/app.mjs", import.meta.url);

const CONFIG = `
[[limit]]
name = "user_home"
algorithm = "sliding_log"
limit = 1
per = "1h"
`;

test("the example lets one pass, tells the next to wait, and nobody when no node is left", async () => {
  const cluster = await new Cluster(CONFIG).start();
  const app = spawn(process.execPath, [fileURLToPath(APP)], {
    env: { WEIR_URLS: cluster.urls.join(","), WEIR_API_KEY: API_TOKEN, PORT: "0" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  try {
    const [url] = (await once(createInterface(app.stdout), "line")) as [string];
    const ask = (user: string) => fetch(`${url}/user_home`, { headers: { "X-User-Id": user } });
    const first = await ask("ada");
    assert.deepEqual([first.status, await first.text()], [200, "Hello, ada"]);
    assert.equal(first.headers.get("X-RateLimit-Remaining"), "0");
    const denied = await ask("ada");
    assert.equal(denied.status, 429);
    assert.match(String(denied.headers.get("Retry-After")), /^[1-9]\d*$/);
    assert.equal((await fetch(`${url}/user_home?name=bob`)).status, 200);
    assert.equal((await fetch(`${url}/user_home`)).status, 401);
    cluster.kill(0);
    assert.equal((await ask("eve")).status, 503);
  } finally {
    app.kill();
    await cluster.stop();
  }
});
