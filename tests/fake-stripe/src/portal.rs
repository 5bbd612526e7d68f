//! Where customers change what they pay.

use serde_json::{Value, json};

use crate::books::Books;
use crate::customers;
use crate::form;
use crate::objects::{is_asked_for, metadata, page};
use crate::problem::Problem;
use crate::products::amount_of;
use crate::routes::{Call, Route};
use crate::subscriptions::{cancellation, is_metered, items};

/// How many products a subscription can be changed to.
const PRODUCTS_MAX: usize = 10;

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/v1/billing_portal/configurations",
        params: &[
            "business_profile[headline]",
            "business_profile[privacy_policy_url]",
            "business_profile[terms_of_service_url]",
            "default_return_url",
            "!features[customer_update][enabled]:bool",
            "features[customer_update][allowed_updates][]:address|email|name|phone|shipping|tax_id",
            "!features[invoice_history][enabled]:bool",
            "!features[payment_method_update][enabled]:bool",
            "!features[subscription_cancel][enabled]:bool",
            "features[subscription_cancel][mode]:at_period_end|immediately",
            "features[subscription_cancel][proration_behavior]:always_invoice|create_prorations|none",
            "!features[subscription_update][enabled]:bool",
            "features[subscription_update][default_allowed_updates][]:price|promotion_code|quantity",
            "features[subscription_update][proration_behavior]:always_invoice|create_prorations|none",
            "features[subscription_update][products][][product]",
            "features[subscription_update][products][][prices][]",
            "features[subscription_update][schedule_at_period_end][conditions][][type]:decreasing_item_amount|shortening_interval",
            "login_page[enabled]:bool",
            "metadata[*]",
            "name",
        ],
        act: create_configuration,
    },
    Route {
        method: "GET",
        path: "/v1/billing_portal/configurations",
        params: &[
            "limit:int",
            "starting_after",
            "ending_before",
            "active:bool",
            "is_default:bool",
        ],
        act: list_configurations,
    },
    Route {
        method: "GET",
        path: "/v1/billing_portal/configurations/{id}",
        params: &[],
        act: retrieve_configuration,
    },
    Route {
        method: "POST",
        path: "/v1/billing_portal/sessions",
        params: &["!customer", "configuration", "locale", "return_url"],
        act: create_session,
    },
];

fn create_configuration(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    let given = &form["features"];
    if given.is_null() {
        return Err(Problem::missing_parameter("features"));
    }
    let update = &given["subscription_update"];
    let products = products(books, update)?;
    let is_on = |name: &str| given[name]["enabled"] == true;
    let or_none = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let or = |value: &Value, otherwise: &str| value.as_str().unwrap_or(otherwise).to_owned();
    let cancel = &given["subscription_cancel"];
    let configuration = json!({
        "id": books.next_id("bpc_"),
        "object": "billing_portal.configuration",
        "active": true,
        "application": null,
        "business_profile": {
            "headline": form["business_profile"]["headline"],
            "privacy_policy_url": form["business_profile"]["privacy_policy_url"],
            "terms_of_service_url": form["business_profile"]["terms_of_service_url"],
        },
        "created": books.now,
        "default_return_url": form["default_return_url"],
        "features": {
            "customer_update": {
                "allowed_updates": or_none(&given["customer_update"]["allowed_updates"]),
                "enabled": is_on("customer_update"),
            },
            "invoice_history": { "enabled": is_on("invoice_history") },
            "payment_method_update": {
                "enabled": is_on("payment_method_update"), "payment_method_configuration": null,
            },
            "subscription_cancel": {
                "cancellation_reason": { "enabled": false, "feedback_options": null, "options": [] },
                "enabled": is_on("subscription_cancel"),
                "mode": or(&cancel["mode"], "at_period_end"),
                "proration_behavior": or(&cancel["proration_behavior"], "none"),
            },
            "subscription_pause": {
                "duration": { "interval_options": [], "type": "indefinite" }, "enabled": false,
            },
            "subscription_update": {
                "billing_cycle_anchor": null,
                "default_allowed_updates": or_none(&update["default_allowed_updates"]),
                "enabled": is_on("subscription_update"),
                "products": products,
                "proration_behavior": or(&update["proration_behavior"], "none"),
                "schedule_at_period_end": {
                    "conditions": or_none(&update["schedule_at_period_end"]["conditions"]),
                },
                "trial_update_behavior": "end_trial",
            },
        },
        "is_default": false,
        "livemode": books.settings.livemode,
        "login_page": { "enabled": form["login_page"]["enabled"] == true, "url": null },
        "metadata": metadata(form),
        "name": form["name"],
        "updated": books.now,
    });
    Ok(books.make(configuration, "billing_portal.configuration.created"))
}

/// What can be changed to, by product.
fn products(books: &Books, update: &Value) -> Result<Vec<Value>, Problem> {
    let param = "features[subscription_update][products]";
    let given = update["products"].as_array().map_or(&[][..], Vec::as_slice);
    if PRODUCTS_MAX < given.len() {
        let message = format!("At most {PRODUCTS_MAX} products can be changed to.");
        return Err(Problem::parameter("parameter_invalid", param, message));
    }
    let products = given.iter().map(|entry| {
        let mut intervals = Vec::new();
        for id in form::texts(&entry["prices"]) {
            let price = books.named("price", "price_", id, param)?;
            if price["product"] != entry["product"] {
                let message = format!("The price {id} is not of the product.");
                return Err(Problem::parameter("parameter_invalid", param, message));
            }
            let recurring = &price["recurring"];
            let interval = [&recurring["interval"], &recurring["interval_count"]];
            if intervals.contains(&interval) {
                let message = "For each product, its price must have unique billing intervals.";
                return Err(Problem::parameter("parameter_invalid", param, message));
            }
            intervals.push(interval);
        }
        Ok(json!({
            "adjustable_quantity": { "enabled": false, "maximum": null, "minimum": 1 },
            "prices": entry["prices"],
            "product": entry["product"],
        }))
    });
    products.collect()
}

fn list_configurations(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let all = books.objects.of("bpc_").rev();
    let all = all.filter(|object| is_asked_for(object, &call.form, &["active", "is_default"]));
    page(&call.path, &call.form, all.cloned().collect())
}

fn retrieve_configuration(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let found = books.named("portal configuration", "bpc_", &call.id, "id");
    found.cloned()
}

fn create_session(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    let customer = form["customer"].as_str().unwrap_or_default();
    customers::living(books, customer, "customer")?;
    let configuration = form["configuration"].as_str().ok_or_else(|| {
        Problem::invalid(
            "No configuration provided and your test mode default configuration has not been created.",
        )
    })?;
    let configuration = books.named(
        "portal configuration",
        "bpc_",
        configuration,
        "configuration",
    )?;
    let return_url = match form["return_url"].is_null() {
        true => configuration["default_return_url"].clone(),
        false => form["return_url"].clone(),
    };
    let configuration = configuration["id"].clone();
    let id = books.next_id("bps_");
    let session = json!({
        "id": id,
        "object": "billing_portal.session",
        "configuration": configuration,
        "created": books.now,
        "customer": customer,
        "customer_account": null,
        "flow": null,
        "livemode": books.settings.livemode,
        "locale": form["locale"],
        "on_behalf_of": null,
        "return_url": return_url,
        "url": format!("{}/portal/{id}", books.url),
    });
    Ok(books.make(session, "billing_portal.session.created"))
}

/// What can be done to a subscription: by its customer in the portal, or by the seller in Stripe's dashboard.
pub(crate) const ACTS: &[&str] = &[
    "!act:change|cancel|resume|cancel_now",
    "by:customer|seller",
    "price",
    "session",
];

/// Whether the portal can change a subscription: not one that has more than one item, or a metered one.
pub(crate) fn is_changeable(subscription: &Value) -> bool {
    let items = items(subscription);
    items.len() == 1 && !items.iter().any(|item| is_metered(&item["price"]))
}

impl Books {
    /// Somebody acts on a subscription. Returns it.
    ///
    /// # Errors
    ///
    /// When there is no such subscription or price, or it cannot be done: nothing has changed.
    pub(crate) fn act(&mut self, id: &str, form: &Value) -> Result<Value, Problem> {
        let subscription = self.named("subscription", "sub_", id, "id")?.clone();
        if !subscription["ended_at"].is_null() {
            return Err(Problem::invalid("This subscription has ended."));
        }
        let is_seller = form["by"] == "seller";
        match form["act"].as_str().unwrap_or_default() {
            "change" if !is_seller && !is_changeable(&subscription) => {
                return Err(Problem::invalid(
                    "The portal cannot change a subscription that has more than one item or a metered one; with by=seller it \
                     is changed as in the dashboard.",
                ));
            }
            "change" => self.change_plan(&subscription, form)?,
            "cancel" => self.cancel_later(&subscription, is_seller),
            "resume" => {
                let fields = json!({
                    "cancel_at": null,
                    "cancel_at_period_end": false,
                    "canceled_at": null,
                    "cancellation_details": cancellation(None),
                });
                self.change(id, "customer.subscription.updated", fields);
            }
            _ => self.end(id),
        }
        Ok(self.objects.get(id).cloned().unwrap_or_default())
    }

    /// A subscription is to end with its period. In the billing mode that is usual since 2025 the portal says so by a time, and
    /// the dashboard by `cancel_at_period_end`.
    fn cancel_later(&mut self, subscription: &Value, is_seller: bool) {
        let ends = items(subscription).iter();
        let end = ends
            .filter_map(|item| item["current_period_end"].as_i64())
            .max();
        let fields = json!({
            "cancel_at": end.filter(|_| !is_seller),
            "cancel_at_period_end": is_seller,
            "canceled_at": self.now,
            "cancellation_details": cancellation(Some("cancellation_requested")),
        });
        let id = subscription["id"].as_str().unwrap_or_default();
        self.change(id, "customer.subscription.updated", fields);
    }

    /// By the newest configuration: what costs less may have to wait for the end of the period.
    fn change_plan(&mut self, subscription: &Value, form: &Value) -> Result<(), Problem> {
        let wanted = form["price"]
            .as_str()
            .ok_or_else(|| Problem::missing_parameter("price"))?;
        let price = self
            .objects
            .of("price_")
            .find(|price| price["id"] == wanted || price["lookup_key"] == wanted)
            .cloned()
            .ok_or_else(|| Problem::no_such("price", wanted, "price"))?;
        if is_metered(&price) {
            return Err(Problem::invalid("A plan is not a metered price."));
        }
        let id = subscription["id"].as_str().unwrap_or_default();
        let session = form["session"].as_str().unwrap_or_default();
        let configuration = self.field(session, "configuration");
        let configuration = match configuration.as_str() {
            Some(id) => self.objects.get(id),
            None => self.objects.of("bpc_").next_back(),
        };
        let update = configuration.map_or(
            &Value::Null,
            |object| &object["features"]["subscription_update"],
        );
        let conditions = update["schedule_at_period_end"]["conditions"].as_array();
        let waits = conditions.is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition["type"] == "decreasing_item_amount")
        });
        let is_invoiced = update["proration_behavior"] == "always_invoice";
        let is_prorated = is_invoiced || update["proration_behavior"] != "none";
        let now = items(subscription)
            .iter()
            .find(|item| !is_metered(&item["price"]));
        let is_less = now.is_some_and(|item| amount_of(&price, 1) < amount_of(&item["price"], 1));
        if waits && is_less {
            let wanted = price["id"].as_str().unwrap_or_default().to_owned();
            self.scheduled.insert(id.to_owned(), wanted);
            let schedule = self.next_id("sub_sched_");
            let fields = json!({ "schedule": schedule });
            self.change(id, "customer.subscription.updated", fields);
            return Ok(());
        }
        self.change_price(id, &price, is_invoiced);
        if !is_prorated {
            self.prorations.remove(id);
        }
        Ok(())
    }
}
