// Walks through the pages of a service for many in a real browser, as an owner and as an operator, on three nodes of which
// the one that is asked is killed in the middle. Looks at each page in both themes for what people could not read or reach.
//
//   node walk.mjs WEIR PICTURES     the program, and a folder for pictures of the pages
//
// Prints a line for each thing that is wrong, and exits with 1 if there is any.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { AxeBuilder } from "@axe-core/playwright";
import { command, nodes, onThreeNodes, PASSWORD, url } from "./nodes.mjs";

const pictures = process.argv[3];
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
const wrong = [];
mkdirSync(pictures, { recursive: true });

async function look(page, name) {
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).withTags(RULES).analyze();
    for (const { id, nodes } of violations) {
      wrong.push(`${name}, ${colorScheme}: ${id}: ${nodes[0].html.slice(0, 120)}`);
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
}

function expect(is, what) {
  if (!is) wrong.push(what);
}

// A page on which nothing may go wrong unseen.
async function watched(context) {
  const page = await context.newPage();
  page.on("dialog", (dialog) => {
    wrong.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("pageerror", (error) => wrong.push(`a script failed: ${error}`));
  page.on("request", (request) => expect(request.url().startsWith(url), `asks elsewhere: ${request.url()}`));
  page.on("response", (response) => expect(response.status() < 500, `${response.status()} ${response.url()}`));
  page.on("console", (message) => {
    // What is refused on purpose is told there as well, and hints that are none of an error.
    const isExpected = message.type() === "debug" || message.text().startsWith("Failed to load resource");
    expect(isExpected || message.type() === "verbose", `on the console: ${message.text()}`);
  });
  return page;
}

// The description of the API: to search, and to send from with an API key.
async function readTheDocs(context, key) {
  const page = await watched(context);
  const shown = () => page.locator("details:visible").count();
  await page.goto(`${url}/docs`);
  await look(page, "docs");
  const all = await shown();
  await page.keyboard.press("/");
  await page.keyboard.type("revoke key");
  const found = await shown();
  expect(0 < found && found < all / 4, `a search shows ${found} of ${all}`);
  await page.fill("#search", "no such words");
  expect((await shown()) === 0, "a search for nothing shows nothing");

  await page.goto(`${url}/docs#check`);
  const check = page.locator("#check");
  expect(await check.locator("form").isVisible(), "an entry that the address names is open, whatever was searched for");
  await page.fill("#token", key);
  const send = async (body) => {
    await check.locator("textarea").fill(body);
    await check.locator(".send").click();
    await check.locator(".send:enabled").waitFor();
    return `${await check.locator(".status").textContent()} ${await check.locator(".answer").textContent()}`;
  };
  const allowed = await send('{"limit": "login", "key": "it\'s mine"}');
  expect(/^200 OK [^]*"allowed": true/.test(allowed), `a hit from the page: ${allowed}`);
  const curl = await check.locator(".curl").textContent();
  expect(curl.includes(`Bearer ${key}`) && curl.includes("it'\\''s mine"), `as a command: ${curl}`);
  const refused = await send('{"limit":');
  expect(/^400 Bad Request [^]*invalid-request/.test(refused), `nonsense from the page: ${refused}`);
  await check.locator(".copy").click();
  expect(/^(Copied|Selected)/.test(await check.locator(".copy").textContent()), "the command is copied");
  await look(page, "docs-answered");

  await page.click("#theme");
  await page.reload();
  expect((await page.getAttribute("html", "data-theme")) === "dark", "the theme that was chosen is kept");
  await page.setViewportSize({ width: 320, height: 800 });
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth);
  expect(sideways <= 320, `/docs is ${sideways} wide at 320`);
  await page.close();
}

async function walk(browser) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await watched(context);
  const press = (text) => page.click(`main >> :is(a, button):text-is("${text}")`);
  const go = (text) => page.click(`nav >> text="${text}"`);

  await page.goto(`${url}/sign-up`);
  await look(page, "sign-up");
  await page.fill("#tenant", "Acme & <b>Söhne</b>");
  await page.fill("#email", "ada@example.com");
  await page.fill("#password", "short");
  await page.click('main button:text-is("Show")');
  expect((await page.getAttribute("#password", "type")) === "text", "a password is shown");
  await page.click("main button:not([type=button])");
  await look(page, "sign-up-refused");
  await page.fill("#password", PASSWORD);
  await page.click("main button:not([type=button])");
  await look(page, "recovery-code");
  await press("I have kept it");
  await look(page, "overview-of-a-new-tenant");
  const tenant = page.url().split("/").pop();
  const at = (path) => `${url}/dashboard/${tenant}${path}`;

  await page.locator("h1").click();
  await page.keyboard.press("?");
  expect(await page.isVisible("dialog >> text=Limits"), "the list of keys");
  await look(page, "keys");
  await page.keyboard.press("Escape");
  expect((await page.locator("dialog").count()) === 0, "Esc closes the list of keys");
  await go("Limits");
  await page.fill("#name", "login");
  await page.fill("#limit", "ten");
  await page.fill("#per", "1h");
  await page.selectOption("#algorithm", "sliding_log");
  await press("Make the limit");
  await look(page, "limit-refused");
  await page.fill("#limit", "10");
  await press("Make the limit");
  await look(page, "limit");

  await go("API keys");
  await page.fill("#name", "edge");
  await look(page, "api-keys-empty");
  await press("Make the API key");
  await look(page, "api-key-made");
  const key = await page.textContent("#secret");
  await press("I have kept it");
  await look(page, "api-key");
  await readTheDocs(context, key);

  // What people call things is shown as they wrote it, and runs nowhere.
  const hostile = `<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202eabc`;
  await page.goto(at("/api-keys"));
  await page.fill("#name", hostile);
  await press("Make the API key");
  await press("I have kept it");
  expect((await page.textContent("main")).includes(hostile), "the name of an API key is shown as it was written");
  await look(page, "hostile-name");
  await page.goto(at(`/limits/login?key=${encodeURIComponent(hostile + "k".repeat(900))}`));
  expect((await page.textContent(".big")).startsWith("10 "), "a key of 1 KiB is looked up");
  await look(page, "hostile-key");

  // The same without scripts: a limit, an API key, a key looked up.
  const still = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() });
  const plain = await still.newPage();
  await plain.goto(at("/limits"));
  await plain.fill("#name", "plain");
  await plain.fill("#limit", "3");
  await plain.fill("#per", "1m");
  await plain.click('main >> button:text-is("Make the limit")');
  expect((await plain.textContent("h1")) === "plain", "a limit is made without scripts");
  await plain.fill("#key", "bob");
  await plain.click('main >> button:text-is("Look")');
  expect((await plain.textContent(".big")).startsWith("3 "), "a key is looked up without scripts");
  await plain.goto(at("/api-keys"));
  await plain.fill("#name", "plain");
  await plain.click('main >> button:text-is("Make the API key")');
  expect((await plain.textContent("#secret")).startsWith("weir_key_"), "an API key is made without scripts");
  await plain.goto(at("/usage"));
  expect(await plain.isVisible(".bars"), "usage is drawn without scripts");
  await still.close();

  // From outside, with what the page has shown; the last node that is asked is not the one that makes the pages.
  const check = (node) =>
    fetch(`http://127.0.0.1:${node.port}/v1/check`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ limit: "login", key: "bob" }),
    });
  for (let asked = 0; asked < 4; asked++) {
    const { status } = await check(nodes[asked % nodes.length]);
    expect(status === 200, `a check is ${status}`);
  }
  // Numbers that move, and go on when the node that tells them is killed, and when the next one is stopped.
  await page.goto(at(""));
  const says = async (selector, is, what) => {
    const found = await page.waitForFunction(
      ([selector, is]) => new RegExp(is).test(document.querySelector(selector)?.textContent ?? ""),
      [selector, is],
      { timeout: 8000 },
    ).catch(() => null);
    if (!found) wrong.push(`${what}: ${await page.textContent(selector)}`);
  };
  await says("[data-state]", "^live, 3 of 3 nodes$", "the stream of three nodes");
  let isAsking = true;
  const last = nodes.at(-1);
  const asking = (async () => {
    while (isAsking) {
      for (let hit = 0; hit < 5; hit++) await check(last).catch(() => {});
      await new Promise((again) => setTimeout(again, 100));
    }
  })();
  await says("[data-now=denied]", "^[1-9]", "hits that are denied on another node");
  await says("[data-requests]", "^10$", "the requests of the day");
  await says("[data-denied]", "^[1-9]", "what limits denied on this day");
  await page.waitForTimeout(2500);
  await look(page, "overview-live");
  await page.click("[data-as-table]");
  expect((await page.locator("[data-rows] tbody tr").count()) > 0, "the chart as a table");
  await page.goto(at("/limits/login"));
  await says("[data-now=denied]", "^[1-9]", "hits that this limit denies");
  await page.click("[data-window='1h']");
  await look(page, "limit-live");
  const tabs = [];
  for (let tab = 0; tab < 7; tab++) {
    tabs.push(await context.newPage());
    const began = Date.now();
    await tabs.at(-1).goto(at(""));
    const took = Date.now() - began;
    expect(took < 3000, `tab ${tab + 2} took ${took} ms`);
  }
  await tabs[6].waitForFunction(() => document.querySelector("[data-state]").textContent.startsWith("live"), null, { timeout: 5000 })
    .catch(() => wrong.push("the eighth tab is not live"));
  for (const tab of tabs) await tab.close();
  await page.goto(at(""));
  nodes[0].process.kill("SIGKILL");
  nodes[0].isDead = true;
  await says("[data-state]", "^live, without oskar$", "the stream after a node was killed");
  await says("[data-now=denied]", "^[1-9]", "hits after a node was killed");
  await page.waitForTimeout(2500);
  await look(page, "overview-without-a-node");
  isAsking = false;
  await asking;
  await page.goto(at("/limits/login?key=bob"));
  expect((await page.textContent(".big")).startsWith("0 "), "ten of ten were counted, and outlive a node");
  await look(page, "limit-with-a-key");
  await page.goto(at(""));
  expect((await page.textContent(".big")).startsWith("10 "), "the requests of the day outlive a node");
  await look(page, "overview");

  for (const path of ["usage", "billing", "team", "audit", "key-limits"]) {
    await page.goto(at(`/${path}`));
    await look(page, path);
  }
  await page.goto(at("/team"));
  await page.fill("#email", "bob@example.com");
  await press("Make the link");
  await look(page, "invitation");
  await page.goto(`${url}/dashboard/account`);
  await look(page, "account");
  await page.goto(`${url}/dashboard/tn_none`);
  await look(page, "no-such-page");
  for (const width of [320, 768, 1920]) {
    await page.setViewportSize({ width, height: 800 });
    for (const path of ["", "/limits/login", "/api-keys", "/team", "/audit"]) {
      await page.goto(at(path));
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(sideways <= width, `${path || "/"} is ${sideways} wide at ${width}`);
    }
  }
  await page.setViewportSize({ width: 1280, height: 800 });

  // What is revoked in the browser works nowhere once the page says so.
  await page.goto(at("/api-keys"));
  await page.click(`main >> text="edge"`);
  await page.fill("#name", "edge");
  await press("Revoke");
  expect((await page.textContent("h1")) === "edge is revoked", "the page says that it is revoked");
  await look(page, "api-key-revoked");
  for (const node of nodes.filter((node) => !node.isDead)) {
    const { status } = await check(node);
    expect(status === 401, `${node.name} takes a revoked API key: ${status}`);
  }
  await page.click('header >> text="Log out"');
  expect(page.url() === `${url}/login`, `after the logout: ${page.url()}`);

  await page.goto(command("operator", "create", "root@example.com"));
  await page.fill("#password", PASSWORD);
  await page.click("main button:not([type=button])");
  await press("I have kept it");
  await look(page, "cluster");
  await go("All tenants");
  await look(page, "tenants");
  await page.fill("#name", "Beta");
  await page.fill("#owner", "beta@example.com");
  await press("Make the tenant");
  await look(page, "tenant");
  for (const path of ["login?next=//evil.example", "recover"]) {
    await page.goto(`${url}/${path}`);
    await look(page, path.split("?")[0]);
  }
}

await onThreeNodes(walk, (story) => wrong.push(story));
for (const line of wrong) console.log(line);
console.log(`${wrong.length} things are wrong; pictures are in ${pictures}`);
process.exit(wrong.length === 0 ? 0 : 1);
