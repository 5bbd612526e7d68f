//! Where customers begin to pay.

use serde_json::{Value, json};

use crate::books::Books;
use crate::customers;
use crate::objects::{is_asked_for, list as list_of, metadata, page};
use crate::problem::Problem;
use crate::products::amount_of;
use crate::routes::{Call, Route};
use crate::subscriptions::{Line, is_metered};

/// When a session expires, at the earliest, at the latest and unless it is told.
const SHORTEST_SECS: i64 = 30 * 60;
const LONGEST_SECS: i64 = 24 * 3_600;

/// What whoever computes "in 30 minutes" may have lost on the way.
const GRACE_SECS: i64 = 60;

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/v1/checkout/sessions",
        params: &[
            "!mode:payment|setup|subscription",
            "allow_promotion_codes:bool",
            "automatic_tax[enabled]:bool",
            "billing_address_collection:auto|required",
            "cancel_url",
            "client_reference_id",
            "customer",
            "customer_email",
            "customer_update[address]:auto|never",
            "customer_update[name]:auto|never",
            "expires_at:int",
            "line_items[][price]",
            "line_items[][quantity]:int",
            "locale",
            "metadata[*]",
            "payment_method_collection:always|if_required",
            "!subscription_data[billing_cycle_anchor_config][day_of_month]:int",
            "subscription_data[billing_cycle_anchor_config][hour]:int",
            "subscription_data[billing_cycle_anchor_config][minute]:int",
            "subscription_data[billing_cycle_anchor_config][second]:int",
            "subscription_data[description]",
            "subscription_data[metadata][*]",
            "subscription_data[proration_behavior]:create_prorations|none",
            "!success_url",
            "tax_id_collection[enabled]:bool",
        ],
        act: create,
    },
    Route {
        method: "GET",
        path: "/v1/checkout/sessions",
        params: &[
            "limit:int",
            "starting_after",
            "ending_before",
            "customer",
            "status:complete|expired|open",
            "subscription",
        ],
        act: list,
    },
    Route {
        method: "GET",
        path: "/v1/checkout/sessions/{id}",
        params: &[],
        act: retrieve,
    },
    Route {
        method: "POST",
        path: "/v1/checkout/sessions/{id}/expire",
        params: &[],
        act: expire,
    },
];

fn create(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    if form["mode"] != "subscription" {
        return Err(Problem::parameter(
            "parameter_invalid",
            "mode",
            "The fake sells nothing but subscriptions.",
        ));
    }
    if let Some(customer) = form["customer"].as_str() {
        customers::living(books, customer, "customer")?;
    }
    let now = books.now;
    let expires_at = form["expires_at"].as_i64().unwrap_or(now + LONGEST_SECS);
    if expires_at < now + SHORTEST_SECS - GRACE_SECS || now + LONGEST_SECS < expires_at {
        return Err(Problem::parameter(
            "parameter_invalid",
            "expires_at",
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
        ));
    }
    let lines = lines(books, &form["line_items"])?;
    let amount: i64 = lines
        .iter()
        .map(|(price, quantity)| quantity.map_or(0, |quantity| amount_of(price, quantity)))
        .sum();
    let id = books.next_id("cs_test_");
    let shown: Vec<Value> = lines.iter().map(|line| line_item(books, line)).collect();
    let session = json!({
        "id": id,
        "object": "checkout.session",
        "adaptive_pricing": null,
        "after_expiration": null,
        "allow_promotion_codes": form["allow_promotion_codes"],
        "allowed_payment_method_types": null,
        "amount_subtotal": amount,
        "amount_total": amount,
        "automatic_tax": {
            "enabled": form["automatic_tax"]["enabled"] == true, "liability": null, "provider": null, "status": null,
        },
        "billing_address_collection": form["billing_address_collection"],
        "cancel_url": form["cancel_url"],
        "client_reference_id": form["client_reference_id"],
        "client_secret": null,
        "collected_information": null,
        "consent": null,
        "consent_collection": null,
        "created": now,
        "currency": lines.first().map(|(price, _)| price["currency"].clone()),
        "currency_conversion": null,
        "custom_fields": [],
        "custom_text": {
            "after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null,
        },
        "customer": form["customer"],
        "customer_account": null,
        "customer_creation": form["customer"].is_null().then_some("always"),
        "customer_details": null,
        "customer_email": form["customer_email"],
        "discounts": [],
        "expires_at": expires_at,
        "integration_identifier": null,
        "invoice": null,
        "invoice_creation": null,
        "line_items": list_of(&format!("/v1/checkout/sessions/{id}/line_items"), &shown, false),
        "livemode": books.settings.livemode,
        "locale": form["locale"],
        "managed_payments": null,
        "metadata": metadata(form),
        "mode": "subscription",
        "origin_context": null,
        "payment_intent": null,
        "payment_link": null,
        "payment_method_collection": form["payment_method_collection"].as_str().unwrap_or("always"),
        "payment_method_configuration_details": null,
        "payment_method_options": null,
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "permissions": null,
        "recovered_from": null,
        "saved_payment_method_options": null,
        "setup_intent": null,
        "shipping_address_collection": null,
        "shipping_cost": null,
        "shipping_options": [],
        "status": "open",
        "submit_type": null,
        "subscription": null,
        "success_url": form["success_url"],
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
        "ui_mode": "hosted_page",
        "url": format!("{}/pay/{id}", books.url),
        "wallet_options": null,
        // What the subscription gets: never shown.
        "subscription_data": form["subscription_data"],
    });
    books.objects.put(session.clone());
    Ok(session)
}

/// The prices of a form, each with how many of it.
fn lines(books: &Books, given: &Value) -> Result<Vec<Line>, Problem> {
    let given = given.as_array().map_or(&[][..], Vec::as_slice);
    if given.is_empty() {
        return Err(Problem::missing_parameter("line_items"));
    }
    let lines = given.iter().enumerate().map(|(place, line)| {
        let param = format!("line_items[{place}][price]");
        let id = line["price"]
            .as_str()
            .ok_or_else(|| Problem::missing_parameter(&param))?;
        let price = books.named("price", "price_", id, &param)?;
        if price["active"] != true || price["recurring"].is_null() {
            let message = format!("The price specified is inactive or does not recur: {id}.");
            return Err(Problem::parameter("parameter_invalid", &param, message));
        }
        let quantity = line["quantity"].as_u64();
        let param = format!("line_items[{place}][quantity]");
        match (is_metered(price), quantity) {
            (true, Some(_)) => Err(Problem::parameter(
                "parameter_invalid",
                &param,
                "Quantity should not be specified where usage_type is `metered`.",
            )),
            (false, None) => Err(Problem::missing_parameter(&param)),
            _ => Ok((price.clone(), quantity)),
        }
    });
    lines.collect()
}

fn line_item(books: &mut Books, (price, quantity): &Line) -> Value {
    let amount = quantity.map_or(0, |quantity| amount_of(price, quantity));
    json!({
        "id": books.next_id("li_"),
        "object": "item",
        "adjustable_quantity": null,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": price["nickname"],
        "metadata": {},
        "price": price,
        "quantity": quantity,
    })
}

fn list(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let all = books.objects.of("cs_").rev();
    let all = all.filter(|session| {
        is_asked_for(session, &call.form, &["customer", "status", "subscription"])
    });
    page(&call.path, &call.form, all.cloned().collect())
}

fn retrieve(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let session = books.named("checkout.session", "cs_", &call.id, "id");
    session.cloned()
}

fn expire(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let session = retrieve(books, call)?;
    is_open(&session, "expired")?;
    books.expire(&call.id);
    retrieve(books, call)
}

fn is_open(session: &Value, what: &str) -> Result<(), Problem> {
    let status = session["status"].as_str().unwrap_or_default();
    match status {
        "open" => Ok(()),
        status => Err(Problem::invalid(format!(
            "Only Checkout Sessions with a status in [\"open\"] can be {what}. This Checkout Session has a status of \
             {status}."
        ))),
    }
}

impl Books {
    /// An open session ends unpaid.
    pub(crate) fn expire(&mut self, id: &str) {
        let fields = json!({ "status": "expired", "url": null });
        self.change(id, "checkout.session.expired", fields);
    }

    /// The customer pays: a subscription begins. With `pending` the bank takes its time, and what comes of it is told later, by
    /// `paid` or `failed`. Returns the session.
    ///
    /// # Errors
    ///
    /// When the session is not open or pending, or the card is declined: nothing has changed.
    pub(crate) fn pay(&mut self, id: &str, outcome: &str) -> Result<Value, Problem> {
        let session = self.named("checkout.session", "cs_", id, "id")?.clone();
        if session["status"] == "complete" && session["payment_status"] == "unpaid" {
            self.settle(&session, outcome);
            return Ok(self.objects.get(id).cloned().unwrap_or_default());
        }
        is_open(&session, "paid")?;
        let customer = match session["customer"].as_str() {
            Some(customer) => customers::living(self, customer, "customer")?["id"].clone(),
            None => {
                let form = json!({ "email": session["customer_email"] });
                customers::make(self, &form)["id"].clone()
            }
        };
        let customer = customer.as_str().unwrap_or_default().to_owned();
        if outcome == "failed" || self.cards_failing.contains(&customer) {
            return Err(Problem::declined());
        }
        let items = session["line_items"]["data"].as_array();
        let lines: Vec<Line> = items
            .into_iter()
            .flatten()
            .map(|item| (item["price"].clone(), item["quantity"].as_u64()))
            .collect();
        let is_pending = outcome == "pending";
        if is_pending {
            self.banks_slow.insert(customer.clone());
        }
        let subscription = self.subscribe(&customer, &lines, &session["subscription_data"]);
        let email = self.field(&customer, "email");
        let name = self.field(&customer, "name");
        let fields = json!({
            "customer": customer,
            "customer_details": {
                "address": null, "business_name": null, "email": email, "individual_name": null, "name": name,
                "phone": null, "tax_exempt": "none", "tax_ids": [],
            },
            "invoice": self.field(&subscription, "latest_invoice"),
            "payment_status": if is_pending { "unpaid" } else { "paid" },
            "status": "complete",
            "subscription": subscription,
            "url": null,
        });
        self.change(id, "checkout.session.completed", fields);
        Ok(self.objects.get(id).cloned().unwrap_or_default())
    }

    /// The bank of a pending payment has made up its mind, unless it has not.
    fn settle(&mut self, session: &Value, outcome: &str) {
        if outcome == "pending" {
            return;
        }
        let text = |name: &str| session[name].as_str().unwrap_or_default();
        let (id, customer, invoice) = (text("id"), text("customer"), text("invoice"));
        self.banks_slow.remove(customer);
        if outcome == "failed" {
            self.cards_failing.insert(customer.to_owned());
            self.collect(invoice);
            self.emit(
                "checkout.session.async_payment_failed",
                session.clone(),
                None,
            );
            return;
        }
        self.collect(invoice);
        let fields = json!({ "payment_status": "paid" });
        self.change(id, "checkout.session.async_payment_succeeded", fields);
    }
}
