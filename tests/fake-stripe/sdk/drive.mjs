// Drives the stand-in for Stripe with Stripe's official library, through every route that Weir uses, and writes the answers to
// answers.ts, for tsc to check against the library's types.
//
//   FAKE_STRIPE=target/debug/fake-stripe node --test drive.mjs
//
// The library's version of the API is left as it is: it has to be that of the fake.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import Stripe from "stripe";

const DAY = 86_400;
const PATIENCE_MS = 10_000;
const EVENTS = ["customer.created", "checkout.session.completed", "customer.subscription.updated", "invoice.paid"];

let fake;
let url;
let stripe;
let receiver;
const received = [];
const answers = [];
const made = {};

before(async () => {
  fake = spawn(process.env.FAKE_STRIPE, ["--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"] });
  url = await new Promise((resolve, reject) => {
    fake.once("exit", (code) => reject(new Error(`the fake ended with ${code}`)));
    fake.stdout.once("data", (line) => resolve(String(line).trim().split(" ").at(-1)));
  });
  const { hostname: host, port } = new URL(url);
  stripe = new Stripe("sk_test_1", { host, port, protocol: "http", maxNetworkRetries: 0, telemetry: false });
  receiver = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      received.push({ body: Buffer.concat(parts).toString(), header: request.headers["stripe-signature"] });
      response.end();
    });
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
});

after(() => {
  fake.kill();
  receiver.close();
  const lines = answers.map(([type, answer], place) => {
    const given = JSON.stringify(answer, null, 2);
    return `export const answer${place}: Given<${type}> = ${given};\n`;
  });
  const imports = 'import type Stripe from "stripe";\nimport type { Given } from "./given.js";\n\n';
  writeFileSync("answers.ts", imports + lines.join("\n"));
});

/** Keeps an answer for tsc. */
function keep(type, answer) {
  answers.push([type, answer]);
  return answer;
}

/** Tells the fake something that Stripe has no route for. */
async function tell(path, form = {}) {
  const response = await fetch(url + path, { method: "POST", body: new URLSearchParams(form), redirect: "manual" });
  assert.ok(response.status < 400, `${path}: ${response.status} ${response.status < 400 ? "" : await response.text()}`);
  return response;
}

async function now() {
  return (await (await fetch(`${url}/_clock`)).json()).now;
}

/** The error that a call ends in. */
async function refusal(call) {
  try {
    await call;
  } catch (error) {
    return error;
  }
  assert.fail("was not refused");
}

async function until(what, holds) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("what a setup makes is found again", async () => {
  const product = keep("Stripe.Product", await stripe.products.create({ name: "Weir", metadata: { weir: "plans" } }));
  keep("Stripe.Product", await stripe.products.retrieve(product.id));
  keep("Stripe.ApiList<Stripe.Product>", await stripe.products.list({ active: true }));
  const meter = keep(
    "Stripe.Billing.Meter",
    await stripe.billing.meters.create({
      display_name: "Requests",
      event_name: "weir_requests",
      default_aggregation: { formula: "sum" },
      event_time_window: "day",
      customer_mapping: { type: "by_id", event_payload_key: "stripe_customer_id" },
      value_settings: { event_payload_key: "value" },
    }),
  );
  const meters = keep("Stripe.ApiList<Stripe.Billing.Meter>", await stripe.billing.meters.list({ status: "active" }));
  assert.equal(meters.data[0].id, meter.id);
  assert.equal(keep("Stripe.Billing.Meter", await stripe.billing.meters.retrieve(meter.id)).event_time_window, "day");
  const other = await stripe.products.create({ name: "Weir Pro" });
  const monthly = { product: product.id, currency: "eur" };
  for (const [lookup_key, product, unit_amount] of [
    ["weir_pro_monthly", other.id, 2_000],
    ["weir_enterprise_monthly", monthly.product, 9_000],
  ]) {
    const recurring = { interval: "month" };
    keep("Stripe.Price", await stripe.prices.create({ ...monthly, product, recurring, unit_amount, lookup_key }));
  }
  const metered = keep(
    "Stripe.Price",
    await stripe.prices.create({
      ...monthly,
      recurring: { interval: "month", usage_type: "metered", meter: meter.id },
      unit_amount_decimal: Stripe.Decimal.from("0.05"),
      lookup_key: "weir_enterprise_requests",
    }),
  );
  assert.equal(metered.unit_amount, null);
  assert.equal(String(metered.unit_amount_decimal), "0.05");
  const lookup_keys = ["weir_pro_monthly", "weir_enterprise_monthly", "weir_enterprise_requests"];
  const prices = await stripe.prices.list({ lookup_keys, active: true, expand: ["data.product"] });
  keep("Stripe.ApiList<Stripe.Price>", prices);
  assert.equal(prices.data.length, 3);
  assert.equal(prices.data[0].product.name, "Weir");
  for (const price of prices.data) made[price.lookup_key] = price.id;
  keep(
    "Stripe.Price",
    await stripe.prices.create({
      ...monthly,
      recurring: { interval: "month", usage_type: "metered", meter: meter.id },
      billing_scheme: "tiered",
      tiers_mode: "graduated",
      tiers: [{ up_to: 1_000, unit_amount: 0 }, { up_to: "inf", unit_amount: 1 }],
      expand: ["tiers"],
    }),
  );
  made.meter = meter.id;
  const refused = await refusal(stripe.prices.create({ ...monthly, unit_amount: 1, lookup_key: "weir_pro_monthly" }));
  assert.equal(refused.code, "resource_already_exists");
  const configuration = await stripe.billingPortal.configurations.create({
    business_profile: { headline: "Weir" },
    features: {
      customer_update: { enabled: true, allowed_updates: ["email", "tax_id"] },
      invoice_history: { enabled: true },
      payment_method_update: { enabled: true },
      subscription_cancel: { enabled: true, mode: "at_period_end" },
      subscription_update: {
        enabled: true,
        default_allowed_updates: ["price"],
        proration_behavior: "create_prorations",
        products: [
          { product: other.id, prices: [made.weir_pro_monthly] },
          { product: product.id, prices: [made.weir_enterprise_monthly] },
        ],
        schedule_at_period_end: { conditions: [{ type: "decreasing_item_amount" }] },
      },
    },
    metadata: { weir: "portal" },
    expand: ["features.subscription_update.products"],
  });
  made.configuration = keep("Stripe.BillingPortal.Configuration", configuration).id;
  const configurations = await stripe.billingPortal.configurations.list({ active: true });
  keep("Stripe.ApiList<Stripe.BillingPortal.Configuration>", configurations);
  assert.equal(configurations.data[0].id, configuration.id);
  keep("Stripe.BillingPortal.Configuration", await stripe.billingPortal.configurations.retrieve(configuration.id));
  const endpoint = await stripe.webhookEndpoints.create({
    url: `http://127.0.0.1:${receiver.address().port}/stripe/webhook`,
    enabled_events: EVENTS,
    api_version: "2026-10-28.endive",
  });
  made.endpoint = keep("Stripe.WebhookEndpoint", endpoint).id;
  assert.match(endpoint.secret, /^whsec_/);
  made.secret = endpoint.secret;
  const endpoints = keep("Stripe.ApiList<Stripe.WebhookEndpoint>", await stripe.webhookEndpoints.list());
  assert.equal(endpoints.data[0].secret, undefined);
  keep("Stripe.WebhookEndpoint", await stripe.webhookEndpoints.retrieve(endpoint.id));
});

test("customers are made once for one key", async () => {
  const fields = { name: "Acme", email: "owner@acme.example", metadata: { weir_tenant: "tn_1" } };
  const idempotencyKey = "weir-cluster-tn_1-customer";
  const customer = keep("Stripe.Customer", await stripe.customers.create(fields, { idempotencyKey }));
  const again = await stripe.customers.create(fields, { idempotencyKey });
  assert.equal(again.id, customer.id);
  assert.equal(again.lastResponse.headers["idempotent-replayed"], "true");
  const refused = await refusal(stripe.customers.create({ name: "Other" }, { idempotencyKey }));
  assert.ok(refused instanceof Stripe.errors.StripeIdempotencyError);
  const found = keep("Stripe.ApiList<Stripe.Customer>", await stripe.customers.list({ email: fields.email }));
  assert.deepEqual(found.data.map((found) => found.id), [customer.id]);
  keep("Stripe.Customer", await stripe.customers.retrieve(customer.id));
  made.customer = customer.id;
  const deleted = await stripe.customers.create({ name: "Gone" });
  keep("Stripe.DeletedCustomer", await stripe.customers.del(deleted.id));
  keep("Stripe.DeletedCustomer", await stripe.customers.retrieve(deleted.id));
});

async function checkout(line_items) {
  return stripe.checkout.sessions.create({
    mode: "subscription",
    customer: made.customer,
    client_reference_id: "tn_1",
    line_items,
    subscription_data: {
      metadata: { weir_tenant: "tn_1" },
      billing_cycle_anchor_config: { day_of_month: 1, hour: 0, minute: 0, second: 0 },
      proration_behavior: "create_prorations",
    },
    success_url: "https://weir.example/dashboard/tn_1/billing?session={CHECKOUT_SESSION_ID}",
    cancel_url: "https://weir.example/dashboard/tn_1/billing",
    expires_at: (await now()) + 30 * 60,
  });
}

test("a checkout ends expired or paid", async () => {
  const items = [{ price: made.weir_enterprise_monthly, quantity: 1 }, { price: made.weir_enterprise_requests }];
  const first = keep("Stripe.Checkout.Session", await checkout(items));
  const open = await stripe.checkout.sessions.list({ customer: made.customer, status: "open" });
  keep("Stripe.ApiList<Stripe.Checkout.Session>", open);
  assert.deepEqual(open.data.map((session) => session.id), [first.id]);
  assert.equal(keep("Stripe.Checkout.Session", await stripe.checkout.sessions.expire(first.id)).status, "expired");
  const session = await checkout(items);
  const page = await (await fetch(session.url)).text();
  assert.match(page, new RegExp(`action="/_pay/${session.id}"`));
  const paid = await tell(`/_pay/${session.id}`, { from_page: "true" });
  assert.equal(paid.headers.get("location"), `https://weir.example/dashboard/tn_1/billing?session=${session.id}`);
  const expand = ["line_items"];
  const complete = keep("Stripe.Checkout.Session", await stripe.checkout.sessions.retrieve(session.id, { expand }));
  assert.equal(complete.status, "complete");
  assert.equal(complete.payment_status, "paid");
  assert.equal(complete.line_items.data.length, 2);
  made.subscription = complete.subscription;
});

test("a subscription has its periods on its items", async () => {
  const subscription = keep("Stripe.Subscription", await stripe.subscriptions.retrieve(made.subscription));
  assert.equal(subscription.status, "active");
  assert.equal(subscription.metadata.weir_tenant, "tn_1");
  const end = new Date(subscription.items.data[0].current_period_end * 1_000);
  assert.match(end.toISOString(), /-01T00:00:00.000Z$/);
  const expand = ["data.latest_invoice"];
  const all = await stripe.subscriptions.list({ customer: made.customer, status: "all", limit: 10, expand });
  keep("Stripe.ApiList<Stripe.Subscription>", all);
  assert.equal(all.data[0].latest_invoice.status, "paid");
  made.end = subscription.items.data[0].current_period_end;
});

test("usage is told by day, and an identifier once", async () => {
  const timestamp = await now();
  const event = {
    event_name: "weir_requests",
    identifier: "weir:tn_1:20261127:1:5",
    timestamp,
    payload: { stripe_customer_id: made.customer, value: "5" },
  };
  keep("Stripe.Billing.MeterEvent", await stripe.billing.meterEvents.create(event));
  const refused = await refusal(stripe.billing.meterEvents.create(event));
  assert.equal(refused.statusCode, 400);
  assert.match(refused.message, /^An event already exists with identifier weir:tn_1:20261127:1:5/);
  const more = { ...event, identifier: "weir:tn_1:20261127:2:9", payload: { ...event.payload, value: "9" } };
  await stripe.billing.meterEvents.create(more);
  const start_time = timestamp - (timestamp % DAY);
  const asked = { customer: made.customer, start_time, end_time: start_time + DAY, value_grouping_window: "day" };
  const days = await stripe.billing.meters.listEventSummaries(made.meter, asked);
  keep("Stripe.ApiList<Stripe.Billing.MeterEventSummary>", days);
  assert.deepEqual(days.data.map((day) => [day.start_time, day.aggregated_value]), [[start_time, 9]]);
  const early = await refusal(stripe.billing.meterEvents.create({ ...event, timestamp: timestamp - 36 * DAY }));
  assert.equal(early.param, "timestamp");
});

test("an invoice waits as long as it is told", async () => {
  await tell("/_clock", { to: made.end });
  const { latest_invoice } = await stripe.subscriptions.retrieve(made.subscription);
  const draft = keep("Stripe.Invoice", await stripe.invoices.retrieve(latest_invoice));
  assert.equal(draft.status, "draft");
  assert.equal(draft.billing_reason, "subscription_cycle");
  assert.equal(draft.parent.subscription_details.subscription, made.subscription);
  const automatically_finalizes_at = made.end + 4 * 3_600;
  const told = await stripe.invoices.update(draft.id, { auto_advance: true, automatically_finalizes_at });
  assert.equal(keep("Stripe.Invoice", told).automatically_finalizes_at, automatically_finalizes_at);
  await tell("/_clock", { to: automatically_finalizes_at });
  const expand = ["latest_invoice"];
  const renewed = await stripe.subscriptions.retrieve(made.subscription, { expand });
  const invoice = keep("Stripe.Subscription", renewed).latest_invoice;
  assert.equal(invoice.status, "paid");
  assert.equal(invoice.status_transitions.finalized_at, automatically_finalizes_at);
  assert.equal(invoice.lines.data[0].quantity, 9);
});

test("the portal changes, cancels and takes back", async () => {
  const { id: bought } = await checkout([{ price: made.weir_enterprise_monthly, quantity: 1 }]);
  await tell(`/_pay/${bought}`);
  const { subscription } = await stripe.checkout.sessions.retrieve(bought);
  const session = await stripe.billingPortal.sessions.create({
    customer: made.customer,
    configuration: made.configuration,
    return_url: "https://weir.example/dashboard/tn_1/billing",
  });
  keep("Stripe.BillingPortal.Session", session);
  const page = await (await fetch(session.url)).text();
  assert.match(page, new RegExp(`action="/_portal/${subscription}"`));
  const portal = (form) => tell(`/_portal/${subscription}`, form);
  const now = async () => keep("Stripe.Subscription", await stripe.subscriptions.retrieve(subscription));
  // Down: at the end of the period.
  await portal({ act: "change", price: "weir_pro_monthly", session: session.id });
  assert.equal((await now()).items.data[0].price.lookup_key, "weir_enterprise_monthly");
  await tell("/_clock", { to: (await now()).items.data[0].current_period_end });
  assert.equal((await now()).items.data[0].price.lookup_key, "weir_pro_monthly");
  // Up: at once.
  await portal({ act: "change", price: "weir_enterprise_monthly" });
  assert.equal((await now()).items.data[0].price.lookup_key, "weir_enterprise_monthly");
  await portal({ act: "cancel" });
  const canceled = await now();
  assert.equal(canceled.cancel_at, canceled.items.data[0].current_period_end);
  await portal({ act: "resume" });
  assert.equal((await now()).cancel_at, null);
  await portal({ act: "cancel", by: "seller" });
  assert.equal((await now()).cancel_at_period_end, true);
  await portal({ act: "cancel_now" });
  assert.equal((await now()).status, "canceled");
});

test("a card that fails leaves a debt until it is paid", async () => {
  const subscription = () => stripe.subscriptions.retrieve(made.subscription, { expand: ["latest_invoice"] });
  // What was due is paid.
  await tell("/_clock", { advance: "3600" });
  await tell(`/_cards/${made.customer}`, { fails: "true" });
  const end = (await subscription()).items.data[0].current_period_end;
  await tell("/_clock", { to: end + 3_600 });
  const behind = keep("Stripe.Subscription", await subscription());
  assert.equal(behind.status, "past_due");
  assert.equal(behind.latest_invoice.status, "open");
  assert.match(behind.latest_invoice.hosted_invoice_url, /^http/);
  await tell(`/_cards/${made.customer}`, { fails: "false" });
  await tell(`/_retry/${behind.latest_invoice.id}`);
  assert.equal((await subscription()).status, "active");
  await tell(`/_portal/${made.subscription}`, { act: "cancel_now" });
  const ended = keep("Stripe.Subscription", await subscription());
  assert.equal(ended.status, "canceled");
  assert.equal(typeof ended.ended_at, "number");
});

test("webhooks are signed as the library signs and reads", async () => {
  const wanted = ["customer.created", "checkout.session.completed", "invoice.paid"];
  const kinds = () => received.map(({ body }) => JSON.parse(body).type);
  await until("webhooks", () => wanted.every((kind) => kinds().includes(kind)));
  for (const { body, header } of received) {
    const event = stripe.webhooks.constructEvent(body, header, made.secret);
    assert.ok(EVENTS.includes(event.type));
    const timestamp = Number(/^t=(\d+),/.exec(header)[1]);
    const expected = stripe.webhooks.generateTestHeaderString({ payload: body, secret: made.secret, timestamp });
    assert.equal(header, expected);
    assert.throws(() => stripe.webhooks.constructEvent(body.replace("evt_", "evt-"), header, made.secret));
    assert.throws(() => stripe.webhooks.constructEvent(body, header, "whsec_other"));
  }
  for (const kind of wanted) {
    const event = received.map(({ body }) => JSON.parse(body)).find((event) => event.type === kind);
    keep(`Extract<Stripe.Event, { type: ${JSON.stringify(kind)} }>`, event);
  }
});

test("events are found by type, place and delivery", async () => {
  const types = ["customer.subscription.updated", "invoice.paid"];
  const list = keep("Stripe.ApiList<Stripe.Event>", await stripe.events.list({ types, limit: 100 }));
  assert.ok(list.data.every((event) => types.includes(event.type)));
  const oldest = list.data.at(-1);
  const newer = await stripe.events.list({ types, ending_before: oldest.id, limit: 100 });
  assert.deepEqual(newer.data.map((event) => event.id), list.data.slice(0, -1).map((event) => event.id));
  const created = { gte: list.data[0].created };
  assert.ok((await stripe.events.list({ types, created })).data.length < list.data.length);
  keep("Stripe.Event", await stripe.events.retrieve(oldest.id));
  await until("every delivery", async () => {
    const failed = await stripe.events.list({ types, delivery_success: false });
    return failed.data.length === 0;
  });
  const paged = async (form) => {
    const ids = [];
    for await (const event of stripe.events.list({ types, limit: 2, ...form })) ids.push(event.id);
    return ids;
  };
  const ids = list.data.map((event) => event.id);
  assert.deepEqual(await paged({}), ids);
  // Back, the library begins with what is nearest.
  assert.deepEqual(await paged({ ending_before: oldest.id }), ids.slice(0, -1).reverse());
});

test("what Stripe refuses is refused", async () => {
  const { hostname: host, port } = new URL(url);
  const stranger = new Stripe("nothing", { host, port, protocol: "http", maxNetworkRetries: 0 });
  assert.ok((await refusal(stranger.customers.list())) instanceof Stripe.errors.StripeAuthenticationError);
  const old = new Stripe("sk_test_1", { host, port, protocol: "http", apiVersion: "2025-03-31.basil", maxNetworkRetries: 0 });
  assert.match((await refusal(old.customers.list())).message, /API version/);
  const missing = await refusal(stripe.subscriptions.retrieve("sub_none"));
  assert.deepEqual([missing.statusCode, missing.code], [404, "resource_missing"]);
  const unknown = await refusal(stripe.customers.create({ nmae: "Acme" }));
  assert.deepEqual([unknown.code, unknown.param], ["parameter_unknown", "nmae"]);
  const incomplete = await refusal(stripe.checkout.sessions.create({ mode: "subscription", success_url: "https://weir.example" }));
  assert.deepEqual([incomplete.code, incomplete.param], ["parameter_missing", "line_items"]);
});

test("faults are what the library takes them for", async () => {
  const { hostname: host, port } = new URL(url);
  const patient = new Stripe("sk_test_1", { host, port, protocol: "http", maxNetworkRetries: 2 });
  await tell("/_faults", { kind: "rate_limit", count: "1" });
  assert.ok((await refusal(stripe.customers.list())) instanceof Stripe.errors.StripeRateLimitError);
  // The library asks once more by itself where a connection ends.
  await tell("/_faults", { kind: "reset", count: "2" });
  assert.ok((await refusal(stripe.customers.list())) instanceof Stripe.errors.StripeConnectionError);
  await tell("/_faults", { kind: "error", status: "503", when: "after", path: "/v1/customers", count: "1" });
  await patient.customers.create({ name: "Once", email: "once@example.com" });
  assert.equal((await stripe.customers.list({ email: "once@example.com" })).data.length, 1);
});
