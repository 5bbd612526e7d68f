//! The pages that customers see at Stripe.

use std::fmt::Write as _;

use serde_json::Value;

use crate::books::Books;
use crate::form;
use crate::portal::is_changeable;
use crate::problem::Problem;
use crate::subscriptions::{is_metered, items};

/// Where a customer pays.
pub(crate) fn checkout(books: &Books, id: &str) -> Result<String, Problem> {
    let session = books.named("checkout.session", "cs_", id, "id")?;
    if session["status"] != "open" {
        return Ok(page("Checkout", "<p>This session is over.</p>"));
    }
    let mut body = String::from("<ul>");
    let lines = session["line_items"]["data"].as_array();
    for line in lines.into_iter().flatten() {
        let _ = write!(body, "<li>{}</li>", price(&line["price"]));
    }
    let _ = write!(
        body,
        "</ul><form method=\"post\" action=\"/_pay/{id}\"><input type=\"hidden\" name=\"from_page\" value=\"true\">\
         <button>Pay</button></form>{}",
        link(&session["cancel_url"], "Back")
    );
    Ok(page("Checkout", &body))
}

/// Where a customer changes what it has agreed to.
pub(crate) fn portal(books: &Books, id: &str) -> Result<String, Problem> {
    let session = books.named("portal session", "bps_", id, "id")?;
    let configuration = books.field(
        session["configuration"].as_str().unwrap_or_default(),
        "features",
    );
    let update = &configuration["subscription_update"];
    let products = update["products"].as_array();
    let offered: Vec<&str> = products
        .into_iter()
        .flatten()
        .flat_map(|product| form::texts(&product["prices"]))
        .collect();
    let mut body = String::new();
    let subscriptions = books.objects.of("sub_").filter(|subscription| {
        subscription["customer"] == session["customer"] && subscription["ended_at"].is_null()
    });
    for subscription in subscriptions {
        let form = |act: &str, more: &str, label: &str| {
            format!(
                "<form method=\"post\" action=\"/_portal/{}\"><input type=\"hidden\" name=\"session\" value=\"{id}\">\
                 <input type=\"hidden\" name=\"act\" value=\"{act}\">{more}<button>{label}</button></form>",
                text(&subscription["id"])
            )
        };
        let has: Vec<&Value> = items(subscription)
            .iter()
            .map(|item| &item["price"])
            .collect();
        let names: Vec<String> = has.iter().map(|has| price(has)).collect();
        let _ = write!(
            body,
            "<h2>{}</h2><p>{}</p>",
            names.join(", "),
            text(&subscription["status"])
        );
        for other in offered.iter().filter_map(|id| books.objects.get(id)) {
            if update["enabled"] == true
                && is_changeable(subscription)
                && !is_metered(other)
                && !has.iter().any(|has| has["id"] == other["id"])
            {
                let more = format!(
                    "<input type=\"hidden\" name=\"price\" value=\"{}\">",
                    text(&other["id"])
                );
                body += &form("change", &more, &format!("Change to {}", price(other)));
            }
        }
        body += &match is_canceled(subscription) {
            true => form("resume", "", "Do not cancel"),
            false => form("cancel", "", "Cancel at the end of the period"),
        };
    }
    body += &link(&session["return_url"], "Return");
    Ok(page("Billing", &body))
}

/// What a customer is asked to pay.
pub(crate) fn invoice(books: &Books, id: &str) -> Result<String, Problem> {
    let invoice = books.named("invoice", "in_", id, "id")?;
    let body = format!(
        "<p>{} {}: {}</p>",
        invoice["total"],
        text(&invoice["currency"]),
        text(&invoice["status"])
    );
    Ok(page("Invoice", &body))
}

fn is_canceled(subscription: &Value) -> bool {
    !subscription["cancel_at"].is_null() || subscription["cancel_at_period_end"] == true
}

fn price(price: &Value) -> String {
    let name = [&price["lookup_key"], &price["nickname"], &price["id"]];
    let name = name.into_iter().find(|name| name.is_string());
    name.map(text).unwrap_or_default()
}

fn link(url: &Value, label: &str) -> String {
    match url.is_string() {
        true => format!("<p><a href=\"{}\">{label}</a></p>", text(url)),
        false => String::new(),
    }
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><body><h1>{title}</h1>{body}</body></html>"
    )
}

fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('"', "&quot;")
}
