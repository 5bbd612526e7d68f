/** What a program is told by real nodes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import {
  InvalidError,
  NeverConformsError,
  QuotaExceededError,
  RefusedError,
  Remote,
  UnauthorizedError,
  UnknownLimitError,
} from "weir-client";
import type { Outcome, WeirError } from "weir-client";
import { losesAnswers, Played } from "./played.js";
import { API_TOKEN, Cluster, tenant } from "./real.js";

const CONFIG = readFileSync(new URL("../../../tests/limits.toml", import.meta.url), "utf8");

const SERVICE = `
[service]
public_url = "http://127.0.0.1:4000"
`;

let cluster: Cluster;
let weir: Remote;

before(async () => {
  cluster = await (await new Cluster(CONFIG).start()).start();
  await cluster.settle();
  weir = new Remote(cluster.urls, { apiToken: API_TOKEN });
});

after(() => cluster.stop());

test("hits pass until the limit is spent, and a denial is a value", async () => {
  const key = weir.limit("login").key(["user", "ada"]);
  for (const remaining of [2, 1, 0]) {
    const outcome = await key.check();
    assert.equal(outcome.allowed, true);
    assert.equal(outcome.remaining, remaining);
    assert.equal(outcome.limit, 3);
  }
  const denied = await key.check();
  assert.ok(!denied.allowed);
  assert.equal(denied.remaining, 0);
  assert.ok(0 < denied.retryAfterMs && denied.retryAfterMs <= 3_600_000);
});

test("a peek counts nothing, a refund gives back, a reset makes full", async () => {
  const key = weir.limit("login").key("bob");
  await key.cost(2).check();
  const peeked = await key.peek();
  assert.deepEqual(
    [peeked.allowed, peeked.remaining, peeked.limit, peeked.perMs, peeked.byFailMode],
    [true, 1, 3, 3_600_000, false],
  );
  assert.equal((await key.peek()).remaining, 1);
  assert.equal((await key.refund()).remaining, 2);
  await key.cost(2).check();
  await key.reset();
  assert.equal((await key.peek()).remaining, 3);
});

test("a batch is answered check by check, with an error where there is no decision", async () => {
  const login = weir.limit("login");
  const results = await weir.checkAll([
    login.key("batch"),
    weir.limit("no-such-limit").key("batch"),
    login.key("batch").cost(2),
    login.key("batch"),
    login.key("batch").cost(4),
  ]);
  const [first, unknown, second, denied, never] = results as [Outcome, WeirError, Outcome, Outcome, WeirError];
  assert.deepEqual([first.allowed, first.remaining], [true, 2]);
  assert.ok(unknown instanceof UnknownLimitError);
  assert.deepEqual([second.allowed, second.remaining], [true, 0]);
  assert.ok(!denied.allowed && 0 < denied.retryAfterMs);
  assert.ok(never instanceof NeverConformsError);
});

test("what is wrong is told by the class of the error, and was not counted", async () => {
  const login = weir.limit("login");
  await assert.rejects(weir.limit("no-such-limit").key("x").check(), (error) => {
    assert.ok(error instanceof UnknownLimitError);
    assert.deepEqual([error.counted, error.name], ["no", "UnknownLimitError"]);
    assert.equal(error.problem?.type, "/problems/unknown-limit");
    return true;
  });
  await assert.rejects(login.key("").check(), InvalidError);
  await assert.rejects(login.key("x").cost(-1).check(), InvalidError);
  await assert.rejects(login.key("x").cost(4).check(), NeverConformsError);
  await assert.rejects(weir.checkAll(Array(1_001).fill(login.key("x"))), (error) => error instanceof InvalidError || error instanceof RefusedError);
  assert.equal((await login.key("x").peek()).remaining, 3);
  await assert.rejects(new Remote(cluster.urls).limit("login").key("x").check(), UnauthorizedError);
});

test("a limit can go with the question", async () => {
  assert.equal((await weir.allow(["visit", "eve"], "1h")).allowed, true);
  assert.equal((await weir.allow("visit:eve", 3_600_000)).allowed, false);
  const rates = [await weir.checkRate("rate:eve", "1d", 10, 4), await weir.checkRate("rate:eve", "1d", 10)];
  assert.deepEqual(rates.map(({ remaining }) => remaining), [6, 5]);
  const burst = weir.limitOf({ algorithm: "gcra", limit: 1, per: "1h", burst: 5 }).key("eve");
  assert.equal((await burst.cost(5).check()).allowed, true);
  assert.equal((await burst.peek()).burst, 5);
});

test("limits are made, told and removed", async () => {
  const trial = weir.limit("trial");
  const { definition, pending } = await trial.define({ algorithm: "gcra", limit: 7, per: "1m", onFailure: "allow" });
  assert.deepEqual(pending, []);
  assert.deepEqual(
    [definition.name, definition.limit, definition.per, definition.strategy, definition.onFailure],
    ["trial", 7, "1m", "owner", "allow"],
  );
  const { per } = await trial.describe();
  assert.equal(per, "1m");
  const limits = await weir.limits();
  assert.deepEqual(limits.map(({ name }) => name).sort(), ["login", "many", "told", "trial"]);
  await trial.remove();
  await assert.rejects(trial.describe(), UnknownLimitError);
  await assert.rejects(weir.limit("login").remove(), (error) => {
    assert.ok(error instanceof RefusedError);
    assert.equal(error.problem?.type, "/problems/defined-in-file");
    return true;
  });
});

test("a hit whose answer was lost is asked again under its name, and counts once", async () => {
  const relay = await Played.start(losesAnswers(cluster.urls[0]!));
  try {
    for (const turn of [0, 1]) {
      const lossy = new Remote([relay.url, cluster.urls[1]!], { apiToken: API_TOKEN });
      const key = lossy.limit("login").key(`lost${turn}`);
      assert.equal((await key.check()).remaining, 2);
      assert.equal((await weir.limit("login").key(`lost${turn}`).peek()).remaining, 2);
    }
    assert.equal(relay.asked, 2);
  } finally {
    relay.stop();
  }
});

test("a limit of a strategy without names is asked all the same", async () => {
  const told = weir.limit("told").key("ada");
  assert.equal((await told.check()).allowed, true);
  assert.equal((await told.check()).allowed, true);
});

test("an API key meets its tenant's limits, and a day that is used up is an error of its own", async () => {
  const service = await new Cluster(SERVICE).start("--ephemeral");
  try {
    const apiKey = await tenant(service.urls[0]!, 3, ["check", "limits.write"]);
    const acme = new Remote(service.urls, { apiKey });
    const login = acme.limit("login");
    await login.define({ algorithm: "sliding_log", limit: 2, per: "1h" });
    assert.equal((await login.key("ada").check()).remaining, 1);
    assert.equal((await login.key("ada").check()).remaining, 0);
    // The limit, which costs nothing of the day.
    assert.equal((await login.key("ada").check()).allowed, false);
    const last = await login.key("eve").check();
    assert.equal(last.allowed, true);
    await assert.rejects(login.key("eve").check(), (error) => {
      assert.ok(error instanceof QuotaExceededError);
      assert.deepEqual([error.counted, error.limit, error.used], ["no", 3, 3]);
      assert.ok(error.resetsAt !== undefined && 0 < error.retryAfterMs);
      return true;
    });
    assert.equal((await login.key("eve").peek()).perMs, 3_600_000);
    await assert.rejects(login.key("ada").refund(), UnauthorizedError);
    const stranger = new Remote(service.urls, { apiKey: "weir_key_nobody" });
    await assert.rejects(stranger.limit("login").key("ada").check(), UnauthorizedError);
  } finally {
    await service.stop();
  }
});

/** The last: it kills a node. */
test("a node that is killed under load fails no hit, and each counts once", async () => {
  const key = weir.limit("many").key("load");
  let passed = 0;
  const asks = async () => {
    for (let hit = 0; hit < 60; hit += 1) {
      assert.equal((await key.check()).allowed, true);
      passed += 1;
      if (passed === 100) cluster.kill(0);
    }
  };
  await Promise.all([asks(), asks(), asks(), asks()]);
  assert.equal(passed, 240);
  assert.equal((await key.peek()).remaining, 100_000 - 240);
});
