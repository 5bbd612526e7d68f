/** A program and nodes that fail in every way. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { joined, NoDecisionError, Remote } from "weir-client";
import type { Counted, RemoteOptions } from "weir-client";
import { admits, doubts, drains, hangs, isSilent, nobody, Played, saysStrangeThings, takesNoNames } from "./played.js";
import type { Plays } from "./played.js";

/** Runs `body` with nodes that play like this. */
async function among(plays: readonly Plays[], body: (...nodes: Played[]) => Promise<void>): Promise<void> {
  const nodes: Played[] = [];
  for (const play of plays) nodes.push(await Played.start(play));
  try {
    await body(...nodes);
  } finally {
    for (const node of nodes) node.stop();
  }
}

function asking(nodes: readonly Played[], options: RemoteOptions = {}): Remote {
  return new Remote(nodes.map(({ url }) => url), options);
}

function noDecision(counted: Counted): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof NoDecisionError);
    assert.equal(error.counted, counted);
    assert.ok(0 < error.retryAfterMs);
    return true;
  };
}

test("nodes take turns on connections that stay open", () =>
  among([admits, admits], async (...nodes) => {
    const remote = asking(nodes);
    for (let hit = 0; hit < 10; hit += 1) {
      assert.equal((await remote.limit("login").key("u1").check()).remaining, 4);
    }
    assert.deepEqual(nodes.map(({ asked }) => asked), [5, 5]);
    assert.deepEqual(nodes.map(({ connections }) => connections.size), [1, 1]);
  }));

test("what was surely not counted is asked of another node", () =>
  among([drains, admits], async (drained, well) => {
    const remote = new Remote([await nobody(), drained!.url, well!.url]);
    for (let hit = 1; hit <= 30; hit += 1) {
      assert.equal((await remote.allow("u1", "1m")).allowed, true);
      assert.equal(well!.asked, hit);
    }
  }));

test("a node that failed is passed over for a while", () =>
  among([hangs, admits], async (hung, well) => {
    const limit = asking([hung!, well!]).limit("login");
    for (let hit = 0; hit < 20; hit += 1) await limit.key("u1").peek();
    // Once, and perhaps again if this machine took more than 250 ms for 20 questions.
    assert.ok(hung!.asked < 5, String(hung!.asked));
    assert.equal(well!.asked, 20);
  }));

for (const [how, plays] of Object.entries({ hangs, doubts, isSilent, saysStrangeThings })) {
  test(`a hit whose answer is lost is asked again by its name: ${how}`, () =>
    among([plays, admits], async (fails, well) => {
      const limit = asking([fails!, well!]).limit("login");
      assert.equal((await limit.key("u1").check()).allowed, true);
      assert.deepEqual([fails!.asked, well!.asked], [1, 1]);
      assert.match(fails!.names[0]!, /^[0-9a-f]{32}-0$/);
      assert.equal(fails!.names[0], well!.names[0]);
    }));
}

test("each hit and refund has a name of its own, and a peek has none", () =>
  among([admits], async (node) => {
    const limits = [asking([node!]).limit("login"), asking([node!]).limit("login")];
    for (const limit of limits) {
      await limit.key("u1").check();
      await limit.key("u1").refund();
      await limit.key("u1").peek();
    }
    const named = node!.names.filter((name) => name !== "");
    assert.deepEqual([node!.asked, named.length, new Set(named).size], [6, 4, 4]);
  }));

test("what may have been counted stays unknown when nobody answers", async () => {
  for (const then of [drains, hangs]) {
    await among([hangs, then], async (fails, next) => {
      const limit = asking([fails!, next!], { deadlineMs: 200 }).limit("login");
      await assert.rejects(limit.key("u1").check(), noDecision("unknown"));
      assert.ok(0 < next!.asked);
    });
  }
});

test("a limit that takes no names is asked without, and never again", () =>
  among([takesNoNames, hangs], async (nameless, hung) => {
    const limit = asking([nameless!]).limit("local");
    for (let hit = 0; hit < 3; hit += 1) assert.equal((await limit.key("u1").check()).allowed, true);
    const named = nameless!.names.filter((name) => name !== "");
    assert.deepEqual([named.length, nameless!.asked], [1, 4], "told once");

    const both = asking([nameless!, hung!]).limit("local");
    assert.equal((await both.key("u1").check()).allowed, true);
    await assert.rejects(both.key("u1").check(), noDecision("unknown"));
    assert.equal(hung!.asked, 1);
  }));

test("what may have been counted is not asked without its name", () =>
  among([hangs, takesNoNames], async (hung, nameless) => {
    const limit = asking([hung!, nameless!]).limit("local");
    await assert.rejects(limit.key("u1").check(), noDecision("unknown"));
    assert.deepEqual([hung!.asked, nameless!.asked], [1, 1]);
  }));

test("a batch has no names: a lost answer is the end, unless it only peeks", () =>
  among([hangs, admits], async (hung, well) => {
    const remote = asking([hung!, well!], { deadlineMs: 200 });
    const key = remote.limit("login").key("u1");
    await assert.rejects(remote.checkAll([key, key.cost(0)]), noDecision("unknown"));
    assert.deepEqual([hung!.asked, well!.asked], [1, 0]);
  }));

test("a deadline ends what nobody answers, and whether it was counted is unknown", () =>
  among([isSilent], async (silent) => {
    const limit = asking([silent!], { deadlineMs: 150 }).limit("login");
    await assert.rejects(limit.key("u1").check(), noDecision("unknown"));
    assert.equal(silent!.asked, 1);
  }));

test("without a node the deadline ends it, and nothing was counted", async () => {
  const remote = new Remote(await nobody(), { deadlineMs: 100 });
  await assert.rejects(remote.limit("login").key("u1").check(), noDecision("no"));
});

test("parts of a key are joined so that no two lists share a counter", () => {
  const keys = [["user", "u1"], ["a:b", "c"], ["a", "b:c"], ["a\\", "b"], ["", "b"]];
  assert.deepEqual(keys.map(joined), ["user:u1", "a\\:b:c", "a:b\\:c", "a\\\\:b", ":b"]);
});

test("what is no address and no token is refused at once", () => {
  for (const url of ["", "a:4000", "ftp://a", "http://a/v1", "http://me:secret@a"]) {
    assert.throws(() => new Remote(url), (error) => error instanceof TypeError && !error.message.includes("secret"));
  }
  assert.throws(() => new Remote([]), TypeError);
  assert.throws(() => new Remote("http://a", { apiKey: "line\nbreak" }), TypeError);
  assert.throws(() => new Remote("http://a", { apiKey: "k", apiToken: "t" }), TypeError);
});
