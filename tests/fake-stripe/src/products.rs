//! What is sold, and for how much.

use serde_json::{Value, json};

use crate::books::Books;
use crate::form;
use crate::objects::{is_asked_for, is_listed, metadata, page};
use crate::problem::Problem;
use crate::routes::{Call, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/v1/products",
        params: &[
            "!name",
            "id",
            "active:bool",
            "description",
            "metadata[*]",
            "statement_descriptor",
            "tax_code",
            "unit_label",
            "url",
        ],
        act: create_product,
    },
    Route {
        method: "GET",
        path: "/v1/products",
        params: &[
            "limit:int",
            "starting_after",
            "ending_before",
            "active:bool",
            "ids[]",
            "url",
        ],
        act: list_products,
    },
    Route {
        method: "GET",
        path: "/v1/products/{id}",
        params: &[],
        act: retrieve_product,
    },
    Route {
        method: "POST",
        path: "/v1/prices",
        params: &[
            "!currency",
            "product",
            "active:bool",
            "billing_scheme:per_unit|tiered",
            "lookup_key",
            "transfer_lookup_key:bool",
            "metadata[*]",
            "nickname",
            "!recurring[interval]:day|week|month|year",
            "recurring[interval_count]:int",
            "recurring[meter]",
            "recurring[usage_type]:licensed|metered",
            "tax_behavior:exclusive|inclusive|unspecified",
            "tiers[][up_to]",
            "tiers[][unit_amount]:int",
            "tiers[][unit_amount_decimal]",
            "tiers[][flat_amount]:int",
            "tiers_mode:graduated|volume",
            "!transform_quantity[divide_by]:int",
            "!transform_quantity[round]:up|down",
            "unit_amount:int",
            "unit_amount_decimal",
        ],
        act: create_price,
    },
    Route {
        method: "GET",
        path: "/v1/prices",
        params: &[
            "limit:int",
            "starting_after",
            "ending_before",
            "active:bool",
            "currency",
            "lookup_keys[]",
            "product",
            "type:one_time|recurring",
        ],
        act: list_prices,
    },
    Route {
        method: "GET",
        path: "/v1/prices/{id}",
        params: &[],
        act: retrieve_price,
    },
];

fn create_product(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    let id = match form["id"].as_str() {
        Some(id) if books.objects.get(id).is_some() => {
            return Err(Problem::parameter(
                "resource_already_exists",
                "id",
                format!("Product already exists: {id}"),
            ));
        }
        Some(id) => id.to_owned(),
        None => books.next_id("prod_"),
    };
    let product = json!({
        "id": id,
        "object": "product",
        "active": form["active"].as_bool().unwrap_or(true),
        "created": books.now,
        "default_price": null,
        "description": form["description"],
        "images": [],
        "livemode": books.settings.livemode,
        "marketing_features": [],
        "metadata": metadata(form),
        "name": form["name"],
        "package_dimensions": null,
        "shippable": null,
        "statement_descriptor": form["statement_descriptor"],
        "tax_code": form["tax_code"],
        "tax_details": null,
        "type": "service",
        "unit_label": form["unit_label"],
        "updated": books.now,
        "url": form["url"],
    });
    Ok(books.make(product, "product.created"))
}

fn list_products(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let all = books
        .objects
        .of_kind("product")
        .into_iter()
        .rev()
        .filter(|product| {
            is_asked_for(product, &call.form, &["active", "url"])
                && is_listed(&product["id"], &call.form, "ids")
        });
    page(&call.path, &call.form, all.cloned().collect())
}

fn retrieve_product(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let product = books.objects.get(&call.id);
    product
        .filter(|product| product["object"] == "product")
        .cloned()
        .ok_or_else(|| Problem::no_such("product", &call.id, "id"))
}

fn create_price(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    let product = form["product"]
        .as_str()
        .ok_or_else(|| Problem::missing_parameter("product"))?;
    if books.field(product, "object") != "product" {
        return Err(Problem::no_such("product", product, "product"));
    }
    let recurring = recurring(books, form)?;
    let amounts = amounts(form)?;
    if let Some(key) = form["lookup_key"].as_str() {
        let holder = books
            .objects
            .of("price_")
            .find(|price| price["lookup_key"] == key);
        if let Some(holder) = holder.and_then(|holder| holder["id"].as_str()) {
            if form["transfer_lookup_key"] != true {
                let message = format!("A price (`{holder}`) already uses that lookup key.");
                return Err(Problem::parameter(
                    "resource_already_exists",
                    "lookup_key",
                    message,
                ));
            }
            let holder = holder.to_owned();
            books.change(&holder, "price.updated", json!({ "lookup_key": null }));
        }
    }
    let mut price = json!({
        "id": books.next_id("price_"),
        "object": "price",
        "active": form["active"].as_bool().unwrap_or(true),
        "billing_scheme": form["billing_scheme"].as_str().unwrap_or("per_unit"),
        "created": books.now,
        "currency": form["currency"],
        "custom_unit_amount": null,
        "livemode": books.settings.livemode,
        "lookup_key": form["lookup_key"],
        "metadata": metadata(form),
        "nickname": form["nickname"],
        "product": product,
        "recurring": recurring,
        "tax_behavior": form["tax_behavior"].as_str().unwrap_or("unspecified"),
        "tiers_mode": form["tiers_mode"],
        "transform_quantity": form["transform_quantity"],
        "type": if recurring.is_null() { "one_time" } else { "recurring" },
    });
    for (name, value) in amounts {
        price[name] = value;
    }
    Ok(books.make(price, "price.created"))
}

fn recurring(books: &Books, form: &Value) -> Result<Value, Problem> {
    let given = &form["recurring"];
    if given.is_null() {
        return Ok(Value::Null);
    }
    let usage_type = given["usage_type"].as_str().unwrap_or("licensed");
    match (usage_type, given["meter"].as_str()) {
        ("metered", Some(meter)) => {
            books.named("meter", "mtr_", meter, "recurring[meter]")?;
        }
        ("metered", None) => return Err(Problem::missing_parameter("recurring[meter]")),
        (_, Some(_)) => {
            return Err(Problem::invalid(
                "A meter is only for prices whose usage type is metered.",
            ));
        }
        (_, None) => {}
    }
    Ok(json!({
        "interval": given["interval"],
        "interval_count": given["interval_count"].as_i64().unwrap_or(1),
        "meter": given["meter"],
        "trial_period_days": null,
        "usage_type": usage_type,
    }))
}

/// The fields of a price that say how much it is.
fn amounts(form: &Value) -> Result<Vec<(&'static str, Value)>, Problem> {
    if form["billing_scheme"] == "tiered" {
        if form["tiers_mode"].is_null() || form["tiers"].is_null() {
            return Err(Problem::missing_parameter("tiers"));
        }
        let tiers = form["tiers"].as_array().cloned().unwrap_or_default();
        let tiers = tiers.iter().map(|tier| {
            let (unit_amount, decimal) = both_amounts(tier)?;
            let up_to = tier["up_to"].as_str().unwrap_or("inf");
            Ok(json!({
                "flat_amount": tier["flat_amount"],
                "flat_amount_decimal": tier["flat_amount"].as_i64().map(|amount| amount.to_string()),
                "unit_amount": unit_amount,
                "unit_amount_decimal": decimal,
                "up_to": up_to.parse::<i64>().ok(),
            }))
        });
        let tiers = tiers.collect::<Result<Vec<Value>, Problem>>()?;
        return Ok(vec![
            ("tiers", tiers.into()),
            ("unit_amount", Value::Null),
            ("unit_amount_decimal", Value::Null),
        ]);
    }
    let (unit_amount, decimal) = both_amounts(form)?;
    if decimal.is_null() {
        return Err(Problem::missing_parameter("unit_amount"));
    }
    Ok(vec![
        ("unit_amount", unit_amount),
        ("unit_amount_decimal", decimal),
    ])
}

/// An amount in whole cents, if it is, and with its fraction.
fn both_amounts(form: &Value) -> Result<(Value, Value), Problem> {
    if let Some(amount) = form["unit_amount"].as_i64() {
        return Ok((amount.into(), amount.to_string().into()));
    }
    let Some(text) = form["unit_amount_decimal"].as_str() else {
        return Ok((Value::Null, Value::Null));
    };
    let decimal = decimal(text).ok_or_else(|| {
        let message = format!("Invalid decimal: {text}");
        Problem::parameter("parameter_invalid", "unit_amount_decimal", message)
    })?;
    let whole = (decimal % UNIT == 0).then_some(decimal / UNIT);
    let whole = whole.and_then(|whole| i64::try_from(whole).ok());
    Ok((whole.into(), text.into()))
}

fn list_prices(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    if form::texts(&call.form["lookup_keys"]).len() > 10 {
        return Err(Problem::invalid("At most 10 lookup keys at once."));
    }
    let all = books.objects.of("price_").rev().filter(|price| {
        is_asked_for(
            price,
            &call.form,
            &["active", "currency", "product", "type"],
        ) && is_listed(&price["lookup_key"], &call.form, "lookup_keys")
    });
    page(&call.path, &call.form, all.cloned().collect())
}

fn retrieve_price(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    books.named("price", "price_", &call.id, "id").cloned()
}

/// A cent, of the smallest part that Stripe takes.
const UNIT: i128 = 1_000_000_000_000;

/// A decimal number of at most 12 places.
fn decimal(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<12}");
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !whole.is_empty() && fraction.len() <= 12)
        .then(|| digits.parse().ok())
        .flatten()
}

/// What so many units cost, in cents, rounded to the nearest.
pub(crate) fn amount_of(price: &Value, quantity: u64) -> i64 {
    let cents = |node: &Value| {
        node["unit_amount_decimal"]
            .as_str()
            .and_then(decimal)
            .unwrap_or(0)
    };
    let quantity = i128::from(divided(price, quantity));
    let exact = match price["tiers"].as_array() {
        Some(tiers) => tiered(price["tiers_mode"] == "volume", tiers, quantity, cents),
        None => cents(price) * quantity,
    };
    i64::try_from((exact + UNIT / 2) / UNIT).unwrap_or(i64::MAX)
}

fn divided(price: &Value, quantity: u64) -> u64 {
    let transform = &price["transform_quantity"];
    match transform["divide_by"].as_u64() {
        Some(by) if transform["round"] == "up" => quantity.div_ceil(by.max(1)),
        Some(by) => quantity / by.max(1),
        None => quantity,
    }
}

fn tiered(
    is_volume: bool,
    tiers: &[Value],
    quantity: i128,
    cents: impl Fn(&Value) -> i128,
) -> i128 {
    let flat = |tier: &Value| i128::from(tier["flat_amount"].as_i64().unwrap_or(0)) * UNIT;
    let end = |tier: &Value| tier["up_to"].as_i64().map_or(i128::MAX, i128::from);
    if is_volume {
        let tier = tiers.iter().find(|tier| quantity <= end(tier));
        return tier.map_or(0, |tier| cents(tier) * quantity + flat(tier));
    }
    let (mut sum, mut start) = (0, 0);
    for tier in tiers {
        if start < quantity || start == 0 {
            let within = quantity.min(end(tier)) - start;
            sum += cents(tier) * within + flat(tier);
        }
        start = end(tier);
    }
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::amount_of;

    fn check(price: Value, amounts: &[(u64, i64)]) {
        for (quantity, amount) in amounts {
            assert_eq!(
                amount_of(&price, *quantity),
                *amount,
                "{quantity} of {price}"
            );
        }
    }

    #[test]
    fn prices_are_counted_out_as_they_say() {
        check(
            json!({ "unit_amount_decimal": "900" }),
            &[(0, 0), (3, 2_700)],
        );
        check(
            json!({ "unit_amount_decimal": "0.00125" }),
            &[(399, 0), (400, 1), (1_000_000, 1_250)],
        );
        check(
            json!({ "unit_amount_decimal": "5", "transform_quantity": { "divide_by": 1_000, "round": "up" } }),
            &[(0, 0), (1, 5), (1_000, 5), (1_001, 10)],
        );
        let tiers = json!([
            { "up_to": 100, "unit_amount_decimal": "0", "flat_amount": 7 },
            { "up_to": null, "unit_amount_decimal": "2" },
        ]);
        check(
            json!({ "tiers": tiers, "tiers_mode": "graduated" }),
            &[(0, 7), (100, 7), (101, 9)],
        );
        check(
            json!({ "tiers": tiers, "tiers_mode": "volume" }),
            &[(100, 7), (101, 202)],
        );
    }
}
