// Takes the pictures of README's front page: a tenant's overview while three nodes decide, and `weir demo` as its terminal shows it.
//
//   node pictures.mjs WEIR FOLDER     the program, and a folder for the pictures
//
// Asks for six minutes, so that the chart has something to show. Fails where a page does not say what it should.

import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { command, home, nodes, onThreeNodes, PASSWORD, url, weir } from "./nodes.mjs";

const folder = process.argv[3];
const MINUTES = 6;
const TICK = 250;
const LIMITS = [
  { name: "api", limit: "1500", per: "1m", hits: (share) => 5 + 9 * share },
  { name: "login", limit: "10", per: "1m", hits: () => (Math.random() < 0.2 ? 1 : 0) },
  { name: "search", limit: "200", per: "1m", hits: (share) => 4 * share },
];
mkdirSync(folder, { recursive: true });

async function overview(browser) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 }, colorScheme: "light" });
  await page.goto(`${url}/sign-up`);
  await page.fill("#tenant", "Acme");
  await page.fill("#email", "ada@example.com");
  await page.fill("#password", PASSWORD);
  await page.click("main button:not([type=button])");
  await page.click('main >> :is(a, button):text-is("I have kept it")');
  const start = page.url();
  command("tenant", "set", start.split("/").pop(), "--plan", "pro");
  for (const { name, limit, per } of LIMITS) {
    await page.goto(`${start}/limits`);
    await page.fill("#name", name);
    await page.fill("#limit", limit);
    await page.fill("#per", per);
    await page.click('main >> button:text-is("Make the limit")');
  }
  await page.goto(`${start}/api-keys`);
  await page.fill("#name", "edge");
  await page.click('main >> button:text-is("Make the API key")');
  const key = await page.textContent("#secret");
  await page.goto(start);
  const asking = ask(key);
  await page.waitForTimeout(MINUTES * 60_000);
  const said = await page.textContent("[data-state]");
  if (said !== "live, 3 of 3 nodes") throw new Error(`the page says: ${said}`);
  await page.screenshot({ path: join(folder, "dashboard.png") });
  await page.close();
  await asking;
}

/** Hits that come and go like a tide, at all nodes in turn. */
async function ask(key) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const ticks = ((MINUTES + 0.1) * 60_000) / TICK;
  for (let tick = 0; tick < ticks; tick++) {
    const share = (1 + Math.sin((tick / ticks) * 9 - 1)) / 2;
    for (const { name, hits } of LIMITS) {
      for (let hit = 0; hit < hits(share); hit++) {
        const { port } = nodes[(tick + hit) % nodes.length];
        const body = JSON.stringify({ limit: name, key: `user${hit % 2}` });
        fetch(`http://127.0.0.1:${port}/v1/check`, { method: "POST", headers, body }).then((answer) => answer.arrayBuffer());
      }
    }
    await new Promise((again) => setTimeout(again, TICK));
  }
}

async function demo(browser) {
  const { stdout } = spawnSync(weir, ["demo"], { env: { ...process.env, HOME: home }, encoding: "utf8" });
  if (!stdout.includes("AS PROMISED")) throw new Error(`weir demo says: ${stdout}`);
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.setContent("<pre style='margin:0;padding:20px;background:#15181e;color:#d7dbe2;font:13px/1.45 monospace'></pre>");
  // What each node says of the others is for its log.
  const lines = `$ weir demo\n${stdout}`.split("\n").filter((line) => !line.includes("view changed"));
  await page.locator("pre").evaluate((pre, text) => (pre.textContent = text), lines.join("\n").trim());
  await page.locator("pre").screenshot({ path: join(folder, "demo.png") });
  await page.close();
}

let story;
await onThreeNodes(async (browser) => {
  await demo(browser);
  await overview(browser);
}, (failed) => (story = failed));
console.log(story ?? `pictures are in ${folder}`);
process.exit(story ? 1 : 0);
