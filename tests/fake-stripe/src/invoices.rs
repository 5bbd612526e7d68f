//! What customers are asked to pay, and whether they do.

use serde_json::{Value, json};

use crate::books::Books;
use crate::clock::period_end;
use crate::objects::{is_asked_for, list as list_of, metadata, page};
use crate::problem::Problem;
use crate::products::amount_of;
use crate::routes::{Call, Route};
use crate::subscriptions::{is_metered, items, prorated};

/// How long a draft stays one, unless it is told otherwise.
const DRAFT_SECS: i64 = 3_600;

/// How long after a payment that failed it is tried again.
const RETRY_SECS: i64 = 3 * 86_400;

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/v1/invoices",
        params: &[
            "limit:int",
            "starting_after",
            "ending_before",
            "customer",
            "subscription",
            "status:draft|open|paid|uncollectible|void",
        ],
        act: list,
    },
    Route {
        method: "GET",
        path: "/v1/invoices/{id}",
        params: &[],
        act: retrieve,
    },
    Route {
        method: "POST",
        path: "/v1/invoices/{id}",
        params: &[
            "auto_advance:bool",
            "automatically_finalizes_at:int",
            "metadata[*]",
        ],
        act: update,
    },
];

fn list(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    let all = books.objects.of("in_").rev().filter(|invoice| {
        let is_of =
            form["subscription"].is_null() || form["subscription"] == *subscription_of(invoice);
        is_of && is_asked_for(invoice, form, &["customer", "status"])
    });
    page(&call.path, form, all.cloned().collect())
}

fn retrieve(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    books.named("invoice", "in_", &call.id, "id").cloned()
}

fn update(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let invoice = retrieve(books, call)?;
    let form = &call.form;
    let mut fields = json!({});
    if !form["metadata"].is_null() {
        fields["metadata"] = metadata(form);
    }
    let auto_advance = form["auto_advance"].as_bool();
    let at = form["automatically_finalizes_at"].as_i64();
    if (auto_advance.is_some() || at.is_some()) && invoice["status"] != "draft" {
        let message = "Finalized invoices can't be updated in this way.";
        return Err(Problem::parameter(
            "invoice_not_editable",
            "auto_advance",
            message,
        ));
    }
    if at.is_some_and(|at| at <= books.now) {
        return Err(Problem::parameter(
            "parameter_invalid",
            "automatically_finalizes_at",
            "automatically_finalizes_at must be in the future.",
        ));
    }
    let advances = auto_advance.unwrap_or(invoice["auto_advance"] == true);
    if at.is_some() && !advances {
        return Err(Problem::parameter(
            "parameter_invalid",
            "automatically_finalizes_at",
            "automatically_finalizes_at needs auto_advance.",
        ));
    }
    fields["auto_advance"] = advances.into();
    let planned = invoice["automatically_finalizes_at"].as_i64();
    let at = at.or(planned).unwrap_or(books.now + DRAFT_SECS);
    if invoice["status"] == "draft" {
        fields["automatically_finalizes_at"] = advances.then_some(at).into();
    }
    books.change(&call.id, "invoice.updated", fields);
    retrieve(books, call)
}

fn subscription_of(invoice: &Value) -> &Value {
    &invoice["parent"]["subscription_details"]["subscription"]
}

impl Books {
    /// The first invoice of a subscription: for what is left of the period, and paid.
    pub(crate) fn invoice_start(&mut self, id: &str) {
        let Some(subscription) = self.objects.get(id).cloned() else {
            return;
        };
        let now = self.now;
        let lines = items(&subscription).iter().map(|item| {
            let price = &item["price"];
            let quantity = item["quantity"].as_u64().unwrap_or(0);
            let end = item["current_period_end"].as_i64().unwrap_or(now);
            let whole = period_end(now, now, &price["recurring"]) - now;
            let amount = match is_metered(price) {
                true => 0,
                false => prorated(amount_of(price, quantity), end - now, whole),
            };
            self.line(&subscription, item, price, (quantity, amount), (now, end))
        });
        let lines = lines.collect();
        let invoice = self.invoice(&subscription, "subscription_create", lines, (now, now));
        self.set(id, json!({ "latest_invoice": invoice }));
        self.finalize(&invoice);
    }

    /// The invoice at the end of a period: for what was used in it, for the items of the next, and what was prorated. A draft
    /// for a while. `None` if there is nothing to pay for.
    pub(crate) fn invoice_cycle(
        &mut self,
        id: &str,
        before: &Value,
        next: &[Value],
    ) -> Option<String> {
        let now = self.now;
        let period = |item: &Value| {
            let at = |name: &str| item[name].as_i64().unwrap_or(now);
            (at("current_period_start"), at("current_period_end"))
        };
        let mut lines = self.prorations.remove(id).unwrap_or_default();
        for item in items(before)
            .iter()
            .filter(|item| is_metered(&item["price"]))
        {
            lines.push(self.line(before, item, &item["price"], (0, 0), period(item)));
        }
        for item in next.iter().filter(|item| !is_metered(&item["price"])) {
            let quantity = item["quantity"].as_u64().unwrap_or(1);
            let amount = amount_of(&item["price"], quantity);
            lines.push(self.line(
                before,
                item,
                &item["price"],
                (quantity, amount),
                period(item),
            ));
        }
        if lines.is_empty() {
            return None;
        }
        let of_period = items(before).first().map_or((now, now), period);
        let invoice = self.invoice(before, "subscription_cycle", lines, of_period);
        // Of whoever no longer pays nothing more is taken.
        if before["status"] == "unpaid" {
            let fields = json!({ "auto_advance": false, "automatically_finalizes_at": null });
            self.set(&invoice, fields);
        }
        Some(invoice)
    }

    /// An invoice for what was prorated, now.
    pub(crate) fn invoice_update(&mut self, id: &str) {
        let lines = self.prorations.remove(id).unwrap_or_default();
        let Some(subscription) = self.objects.get(id).cloned() else {
            return;
        };
        let now = self.now;
        let invoice = self.invoice(&subscription, "subscription_update", lines, (now, now));
        self.set(id, json!({ "latest_invoice": invoice }));
        self.finalize(&invoice);
    }

    fn invoice(
        &mut self,
        subscription: &Value,
        reason: &str,
        mut lines: Vec<Value>,
        (start, end): (i64, i64),
    ) -> String {
        let id = self.next_id("in_");
        for line in &mut lines {
            line["invoice"] = id.as_str().into();
        }
        let url = format!("/v1/invoices/{id}/lines");
        let customer = subscription["customer"].as_str().unwrap_or_default();
        let payer = |name: &str| self.field(customer, name);
        let invoice = json!({
            "id": id,
            "object": "invoice",
            "account_country": "DE",
            "account_name": "Fake",
            "account_tax_ids": null,
            "amount_due": 0,
            "amount_overpaid": 0,
            "amount_paid": 0,
            "amount_remaining": 0,
            "amount_shipping": 0,
            "application": null,
            "attempt_count": 0,
            "attempted": false,
            "auto_advance": true,
            "automatic_tax": {
                "disabled_reason": null, "enabled": false, "liability": null, "provider": null, "status": null,
            },
            "automatically_finalizes_at": self.now + DRAFT_SECS,
            "billing_reason": reason,
            "collection_method": "charge_automatically",
            "created": self.now,
            "currency": subscription["currency"],
            "custom_fields": null,
            "customer": customer,
            "customer_account": null,
            "customer_address": null,
            "customer_email": payer("email"),
            "customer_name": payer("name"),
            "customer_phone": payer("phone"),
            "customer_shipping": null,
            "customer_tax_exempt": "none",
            "customer_tax_ids": [],
            "default_payment_method": null,
            "default_source": null,
            "default_tax_rates": [],
            "description": null,
            "discounts": [],
            "due_date": null,
            "effective_at": null,
            "ending_balance": null,
            "footer": null,
            "from_invoice": null,
            "hosted_invoice_url": null,
            "invoice_pdf": null,
            "issuer": { "type": "self" },
            "last_finalization_error": null,
            "latest_revision": null,
            "lines": list_of(&url, &lines, false),
            "livemode": self.settings.livemode,
            "metadata": {},
            "next_payment_attempt": null,
            "number": null,
            "on_behalf_of": null,
            "parent": {
                "quote_details": null,
                "subscription_details": {
                    "metadata": subscription["metadata"],
                    "subscription": subscription["id"],
                },
                "type": "subscription_details",
            },
            "payment_settings": {
                "default_mandate": null, "payment_method_options": null, "payment_method_types": null,
            },
            "period_end": end,
            "period_start": start,
            "post_payment_credit_notes_amount": 0,
            "pre_payment_credit_notes_amount": 0,
            "receipt_number": null,
            "rendering": null,
            "shipping_cost": null,
            "shipping_details": null,
            "starting_balance": 0,
            "statement_descriptor": null,
            "status": "draft",
            "status_transitions": {
                "finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null,
            },
            "subtotal": 0,
            "subtotal_excluding_tax": 0,
            "test_clock": null,
            "total": 0,
            "total_discount_amounts": [],
            "total_excluding_tax": 0,
            "total_pretax_credit_amounts": [],
            "total_taxes": [],
            "webhooks_delivered_at": null,
        });
        self.objects.put(invoice);
        self.count(&id);
        let invoice = self.objects.get(&id).cloned().unwrap_or_default();
        self.emit("invoice.created", invoice, None);
        id
    }

    /// One line of an invoice: so many of a price, for so much, in a period.
    pub(crate) fn line(
        &mut self,
        subscription: &Value,
        item: &Value,
        price: &Value,
        (quantity, amount): (u64, i64),
        (start, end): (i64, i64),
    ) -> Value {
        json!({
            "id": self.next_id("il_"),
            "object": "line_item",
            "amount": amount,
            "currency": price["currency"],
            "description": null,
            "discount_amounts": [],
            "discountable": true,
            "discounts": [],
            "invoice": null,
            "livemode": self.settings.livemode,
            "metadata": subscription["metadata"],
            "parent": {
                "invoice_item_details": null,
                "subscription_item_details": {
                    "invoice_item": null,
                    "proration": false,
                    "proration_details": { "credited_items": null },
                    "subscription": subscription["id"],
                    "subscription_item": item["id"],
                },
                "type": "subscription_item_details",
            },
            "period": { "end": end, "start": start },
            "pretax_credit_amounts": [],
            "pricing": {
                "price_details": { "price": price["id"], "product": price["product"] },
                "type": "price_details",
                "unit_amount_decimal": price["unit_amount_decimal"],
            },
            "quantity": quantity,
            "quantity_decimal": quantity.to_string(),
            "subscription": subscription["id"],
            "subtotal": amount,
            "taxes": [],
        })
    }

    /// Fills in what was used by now, and adds up.
    fn count(&mut self, id: &str) {
        let Some(invoice) = self.objects.get(id).cloned() else {
            return;
        };
        let customer = invoice["customer"].as_str().unwrap_or_default();
        let mut lines = invoice["lines"].clone();
        let mut total = 0;
        for line in lines["data"].as_array_mut().into_iter().flatten() {
            let price = line["pricing"]["price_details"]["price"]
                .as_str()
                .unwrap_or_default();
            let price = self.objects.get(price).cloned().unwrap_or_default();
            if invoice["billing_reason"] == "subscription_cycle"
                && let Some(meter) = price["recurring"]["meter"].as_str()
            {
                let at = |name: &str| line["period"][name].as_i64().unwrap_or_default();
                let used = self.used(meter, customer, at("start"), at("end"));
                line["quantity"] = used.into();
                line["quantity_decimal"] = used.to_string().into();
                line["amount"] = amount_of(&price, used).into();
                line["subtotal"] = line["amount"].clone();
            }
            total += line["amount"].as_i64().unwrap_or(0);
        }
        let due = total.max(0);
        let fields = json!({
            "amount_due": due,
            "amount_remaining": due,
            "lines": lines,
            "subtotal": total,
            "subtotal_excluding_tax": total,
            "total": total,
            "total_excluding_tax": total,
        });
        self.set(id, fields);
    }

    /// A draft becomes an invoice, and is collected.
    pub(crate) fn finalize(&mut self, id: &str) {
        if self.field(id, "status") != "draft" {
            return;
        }
        self.count(id);
        let now = self.now;
        let mut transitions = self.field(id, "status_transitions");
        transitions["finalized_at"] = now.into();
        let fields = json!({
            "automatically_finalizes_at": null,
            "effective_at": now,
            "hosted_invoice_url": format!("{}/invoices/{id}", self.url),
            "invoice_pdf": format!("{}/invoices/{id}?pdf", self.url),
            "number": id.trim_start_matches("in_").to_uppercase(),
            "status": "open",
            "status_transitions": transitions,
        });
        self.change(id, "invoice.finalized", fields);
        self.collect(id);
    }

    /// Takes the money, if the card gives it.
    pub(crate) fn collect(&mut self, id: &str) {
        let Some(invoice) = self.objects.get(id).cloned() else {
            return;
        };
        if invoice["status"] != "open" && invoice["status"] != "uncollectible" {
            return;
        }
        let due = invoice["amount_due"].as_i64().unwrap_or(0);
        let customer = invoice["customer"].as_str().unwrap_or_default();
        if self.banks_slow.contains(customer) {
            return;
        }
        let subscription = subscription_of(&invoice).as_str().unwrap_or_default();
        let attempts = invoice["attempt_count"].as_u64().unwrap_or(0) + 1;
        match 0 < due && self.cards_failing.contains(customer) {
            true => self.on_declined(id, subscription, attempts),
            false => self.on_paid(id, subscription, due, attempts),
        }
    }

    fn on_paid(&mut self, id: &str, subscription: &str, due: i64, attempts: u64) {
        let mut transitions = self.field(id, "status_transitions");
        transitions["paid_at"] = self.now.into();
        let fields = json!({
            "amount_paid": due,
            "amount_remaining": 0,
            "attempt_count": attempts,
            "attempted": true,
            "auto_advance": false,
            "next_payment_attempt": null,
            "status": "paid",
            "status_transitions": transitions,
        });
        self.change(id, "invoice.paid", fields);
        let invoice = self.objects.get(id).cloned().unwrap_or_default();
        self.emit("invoice.payment_succeeded", invoice, None);
        let owes_more = self
            .objects
            .of("in_")
            .any(|other| *subscription_of(other) == subscription && other["status"] == "open");
        let status = self.field(subscription, "status");
        if (status == "past_due" || status == "unpaid") && !owes_more {
            let fields = json!({ "status": "active" });
            self.change(subscription, "customer.subscription.updated", fields);
        }
    }

    fn on_declined(&mut self, id: &str, subscription: &str, attempts: u64) {
        let is_last = self.settings.retries < attempts;
        let next = (!is_last).then_some(self.now + RETRY_SECS);
        let fields = json!({
            "attempt_count": attempts,
            "attempted": true,
            "next_payment_attempt": next,
        });
        self.change(id, "invoice.payment_failed", fields);
        let status = self.field(subscription, "status");
        if status == "active" || status == "past_due" {
            let fields = json!({ "status": "past_due" });
            self.change(subscription, "customer.subscription.updated", fields);
        }
        if !is_last || status == "canceled" {
            return;
        }
        if self.settings.after_retries == "unpaid" {
            let fields = json!({ "status": "unpaid" });
            self.change(subscription, "customer.subscription.updated", fields);
            return;
        }
        let mut transitions = self.field(id, "status_transitions");
        transitions["marked_uncollectible_at"] = self.now.into();
        let fields = json!({ "status": "uncollectible", "status_transitions": transitions });
        self.change(id, "invoice.marked_uncollectible", fields);
        self.end(subscription);
    }
}
