//! What customers have agreed to pay, period by period.

use serde_json::{Value, json};

use crate::books::Books;
use crate::clock::{anchor, period_end};
use crate::objects::{list as list_of, metadata, page};
use crate::problem::Problem;
use crate::products::amount_of;
use crate::routes::{Call, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/v1/subscriptions",
        params: &[
            "limit:int",
            "starting_after",
            "ending_before",
            "customer",
            "price",
            "status:active|all|canceled|ended|incomplete|incomplete_expired|past_due|paused|trialing|unpaid",
        ],
        act: list,
    },
    Route {
        method: "GET",
        path: "/v1/subscriptions/{id}",
        params: &[],
        act: retrieve,
    },
    Route {
        method: "DELETE",
        path: "/v1/subscriptions/{id}",
        params: &["invoice_now:bool", "prorate:bool"],
        act: cancel,
    },
];

fn list(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    let has_status = |status: &Value| match form["status"].as_str() {
        None => status != "canceled",
        Some("all") => true,
        Some("ended") => status == "canceled" || status == "incomplete_expired",
        Some(wanted) => status == wanted,
    };
    let all = books.objects.of("sub_").rev().filter(|subscription| {
        let items = subscription["items"]["data"].as_array();
        let has_price = |price: &Value| {
            items
                .into_iter()
                .flatten()
                .any(|item| item["price"]["id"] == *price)
        };
        has_status(&subscription["status"])
            && (form["customer"].is_null() || form["customer"] == subscription["customer"])
            && (form["price"].is_null() || has_price(&form["price"]))
    });
    page(&call.path, form, all.cloned().collect())
}

fn retrieve(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    books.named("subscription", "sub_", &call.id, "id").cloned()
}

fn cancel(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let subscription = retrieve(books, call)?;
    if !subscription["ended_at"].is_null() {
        return Err(Problem::no_such("subscription", &call.id, "id"));
    }
    books.end(&call.id);
    retrieve(books, call)
}

/// A price, and how many of it: `None` if that is metered.
pub(crate) type Line = (Value, Option<u64>);

/// The items of a subscription.
pub(crate) fn items(subscription: &Value) -> &[Value] {
    let items = subscription["items"]["data"].as_array();
    items.map_or(&[], Vec::as_slice)
}

pub(crate) fn is_metered(price: &Value) -> bool {
    price["recurring"]["usage_type"] == "metered"
}

impl Books {
    /// A customer subscribes now, and has paid for what is left of the first period. Returns the subscription's id.
    pub(crate) fn subscribe(&mut self, customer: &str, lines: &[Line], data: &Value) -> String {
        let id = self.next_id("sub_");
        let (now, livemode) = (self.now, self.settings.livemode);
        let config = &data["billing_cycle_anchor_config"];
        let cycle_anchor = match config.is_null() {
            true => now,
            false => anchor(now, config),
        };
        let shown_config = (!config.is_null()).then(|| {
            let parts = ["day_of_month", "hour", "minute", "month", "second"];
            let parts = parts.map(|name| (name.to_owned(), config[name].clone()));
            Value::Object(parts.into_iter().collect())
        });
        let items: Vec<Value> = lines
            .iter()
            .map(|(price, quantity)| {
                let end = period_end(now, cycle_anchor, &price["recurring"]);
                let mut item = json!({
                    "id": self.next_id("si_"),
                    "object": "subscription_item",
                    "billing_thresholds": null,
                    "created": now,
                    "current_period_end": end,
                    "current_period_start": now,
                    "current_trial": null,
                    "discounts": [],
                    "metadata": {},
                    "plan": plan(price),
                    "price": price,
                    "subscription": id,
                    "tax_rates": [],
                });
                if let Some(quantity) = quantity {
                    item["quantity"] = (*quantity).into();
                }
                item
            })
            .collect();
        let url = format!("/v1/subscription_items?subscription={id}");
        let subscription = json!({
            "id": id,
            "object": "subscription",
            "application": null,
            "application_fee_percent": null,
            "automatic_tax": { "disabled_reason": null, "enabled": false, "liability": null },
            "billing_cycle_anchor": cycle_anchor,
            "billing_cycle_anchor_config": shown_config,
            "billing_mode": { "flexible": { "proration_discounts": "included" }, "type": "flexible" },
            "billing_schedules": [],
            "billing_thresholds": null,
            "cancel_at": null,
            "cancel_at_period_end": false,
            "canceled_at": null,
            "cancellation_details": cancellation(None),
            "collection_method": "charge_automatically",
            "created": now,
            "currency": lines.first().map(|(price, _)| price["currency"].clone()),
            "customer": customer,
            "customer_account": null,
            "days_until_due": null,
            "default_payment_method": null,
            "default_source": null,
            "default_tax_rates": [],
            "description": data["description"],
            "discounts": [],
            "ended_at": null,
            "invoice_settings": {
                "account_tax_ids": null, "custom_fields": null, "description": null, "footer": null,
                "issuer": { "type": "self" },
            },
            "items": list_of(&url, &items, false),
            "latest_invoice": null,
            "livemode": livemode,
            "managed_payments": null,
            "metadata": metadata(data),
            "next_pending_invoice_item_invoice": null,
            "on_behalf_of": null,
            "pause_collection": null,
            "payment_settings": {
                "payment_method_options": null,
                "payment_method_types": null,
                "save_default_payment_method": "off",
            },
            "pending_invoice_item_interval": null,
            "pending_setup_intent": null,
            "pending_update": null,
            "schedule": null,
            "start_date": now,
            "status": "active",
            "test_clock": null,
            "transfer_data": null,
            "trial_end": null,
            "trial_settings": { "end_behavior": { "billing_cycle_anchor": null, "missing_payment_method": "create_invoice" } },
            "trial_start": null,
        });
        self.objects.put(subscription.clone());
        self.emit("customer.subscription.created", subscription, None);
        self.invoice_start(&id);
        id
    }

    /// The period of a subscription is over: it ends or goes on, with an invoice either way.
    pub(crate) fn end_period(&mut self, id: &str) {
        let Some(subscription) = self.objects.get(id).cloned() else {
            return;
        };
        let now = self.now;
        let is_canceled = subscription["cancel_at"]
            .as_i64()
            .is_some_and(|at| at <= now);
        let ends = is_canceled || subscription["cancel_at_period_end"] == true;
        if ends {
            self.end(id);
            self.invoice_cycle(id, &subscription, &[]);
            return;
        }
        let scheduled = self.scheduled.remove(id);
        let scheduled = scheduled.and_then(|price| self.objects.get(&price).cloned());
        let cycle_anchor = subscription["billing_cycle_anchor"].as_i64().unwrap_or(now);
        let mut renewed = subscription["items"].clone();
        for item in renewed["data"].as_array_mut().into_iter().flatten() {
            if let Some(price) = &scheduled
                && !is_metered(&item["price"])
            {
                item["price"] = price.clone();
                item["plan"] = plan(price);
            }
            let start = item["current_period_end"].as_i64().unwrap_or(now);
            if start <= now {
                let end = period_end(start, cycle_anchor, &item["price"]["recurring"]);
                item["current_period_start"] = start.into();
                item["current_period_end"] = end.into();
            }
        }
        let next = items(&json!({ "items": renewed })).to_vec();
        let mut fields = json!({ "items": renewed });
        if scheduled.is_some() {
            fields["schedule"] = Value::Null;
        }
        let invoice = self.invoice_cycle(id, &subscription, &next);
        if let Some(invoice) = invoice {
            fields["latest_invoice"] = invoice.into();
        }
        self.change(id, "customer.subscription.updated", fields);
    }

    /// A subscription ends now.
    pub(crate) fn end(&mut self, id: &str) {
        let now = self.now;
        let Some(subscription) = self.objects.get(id) else {
            return;
        };
        if !subscription["ended_at"].is_null() {
            return;
        }
        let reason = if subscription["status"] == "active" {
            "cancellation_requested"
        } else {
            "payment_failed"
        };
        let canceled_at = match subscription["canceled_at"].is_null() {
            true => now.into(),
            false => subscription["canceled_at"].clone(),
        };
        self.scheduled.remove(id);
        self.prorations.remove(id);
        let fields = json!({
            "status": "canceled",
            "canceled_at": canceled_at,
            "cancellation_details": cancellation(Some(reason)),
            "ended_at": now,
        });
        self.change(id, "customer.subscription.deleted", fields);
    }

    /// A subscription gets another price now, and what is left of the period is prorated.
    pub(crate) fn change_price(&mut self, id: &str, price: &Value, is_invoiced: bool) {
        let Some(subscription) = self.objects.get(id).cloned() else {
            return;
        };
        let now = self.now;
        let mut changed = subscription["items"].clone();
        let mut prorations = Vec::new();
        for item in changed["data"].as_array_mut().into_iter().flatten() {
            if is_metered(&item["price"]) {
                continue;
            }
            let start = item["current_period_start"].as_i64().unwrap_or(now);
            let end = item["current_period_end"].as_i64().unwrap_or(now);
            let whole = period_end(start, start, &item["price"]["recurring"]) - start;
            let quantity = item["quantity"].as_u64().unwrap_or(1);
            let part = |price: &Value| prorated(amount_of(price, quantity), end - now, whole);
            let (unused, remaining) = (-part(&item["price"]), part(price));
            for (price, amount) in [(&item["price"], unused), (price, remaining)] {
                prorations.push(self.line(
                    &subscription,
                    item,
                    price,
                    (quantity, amount),
                    (now, end),
                ));
            }
            item["price"] = price.clone();
            item["plan"] = plan(price);
        }
        self.prorations
            .entry(id.to_owned())
            .or_default()
            .extend(prorations);
        self.scheduled.remove(id);
        let fields = json!({ "items": changed, "schedule": null });
        self.change(id, "customer.subscription.updated", fields);
        if is_invoiced {
            self.invoice_update(id);
        }
    }
}

/// Why a subscription ends, if it does.
pub(crate) fn cancellation(reason: Option<&str>) -> Value {
    json!({ "comment": null, "feedback": null, "feedback_option": null, "reason": reason })
}

/// The part of an amount that falls to so much of a period, rounded to the nearest cent.
pub(crate) fn prorated(amount: i64, left: i64, whole: i64) -> i64 {
    let exact = i128::from(amount) * i128::from(left);
    let whole = i128::from(whole.max(1));
    i64::try_from((exact + whole / 2) / whole).unwrap_or(amount)
}

/// A price in the shape that was before prices.
fn plan(price: &Value) -> Value {
    let recurring = &price["recurring"];
    json!({
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": price["livemode"],
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": null,
        "trial_period_days": null,
        "usage_type": recurring["usage_type"],
    })
}
