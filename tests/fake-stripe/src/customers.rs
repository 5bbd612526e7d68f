//! Who pays.

use serde_json::{Value, json};

use crate::books::Books;
use crate::objects::{is_asked_for, metadata, page};
use crate::problem::Problem;
use crate::routes::{Call, Route};

const FIELDS: &[&str] = &["name", "email", "description", "phone"];

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/v1/customers",
        params: &["name", "email", "description", "phone", "metadata[*]"],
        act: create,
    },
    Route {
        method: "GET",
        path: "/v1/customers",
        params: &["limit:int", "starting_after", "ending_before", "email"],
        act: list,
    },
    Route {
        method: "GET",
        path: "/v1/customers/{id}",
        params: &[],
        act: retrieve,
    },
    Route {
        method: "POST",
        path: "/v1/customers/{id}",
        params: &["name", "email", "description", "phone", "metadata[*]"],
        act: update,
    },
    Route {
        method: "DELETE",
        path: "/v1/customers/{id}",
        params: &[],
        act: delete,
    },
];

fn create(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    Ok(make(books, &call.form))
}

/// A new customer, of what a form says.
pub(crate) fn make(books: &mut Books, form: &Value) -> Value {
    let id = books.next_id("cus_");
    let customer = json!({
        "id": id,
        "object": "customer",
        "address": null,
        "balance": 0,
        "created": books.now,
        "currency": null,
        "default_source": null,
        "delinquent": false,
        "description": form["description"],
        "discount": null,
        "email": form["email"],
        "invoice_prefix": id.to_uppercase().trim_start_matches("CUS_"),
        "invoice_settings": {
            "custom_fields": null,
            "default_payment_method": null,
            "footer": null,
            "rendering_options": null,
        },
        "livemode": books.settings.livemode,
        "metadata": metadata(form),
        "name": form["name"],
        "next_invoice_sequence": 1,
        "phone": form["phone"],
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    });
    books.make(customer, "customer.created")
}

fn list(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let all = books.objects.of("cus_").rev().filter(|customer| {
        customer["deleted"] != true && is_asked_for(customer, &call.form, &["email"])
    });
    page(&call.path, &call.form, all.cloned().collect())
}

fn retrieve(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    books.named("customer", "cus_", &call.id, "id").cloned()
}

/// A customer that is there and was not deleted.
pub(crate) fn living<'a>(books: &'a Books, id: &str, param: &str) -> Result<&'a Value, Problem> {
    let customer = books.named("customer", "cus_", id, param)?;
    match customer["deleted"] == true {
        true => Err(Problem::no_such("customer", id, param)),
        false => Ok(customer),
    }
}

fn update(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let mut fields = json!({ "metadata": living(books, &call.id, "id")?["metadata"] });
    for name in FIELDS {
        if let Some(value) = call.form.get(name) {
            fields[name] = value.clone();
        }
    }
    for (name, value) in call.form["metadata"].as_object().into_iter().flatten() {
        fields["metadata"][name] = value.clone();
    }
    fields["metadata"] = metadata(&fields);
    books.change(&call.id, "customer.updated", fields);
    retrieve(books, call)
}

fn delete(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let customer = living(books, &call.id, "id")?.clone();
    let subscriptions: Vec<String> = books
        .objects
        .of("sub_")
        .filter(|subscription| subscription["customer"] == call.id)
        .filter_map(|subscription| subscription["id"].as_str().map(str::to_owned))
        .collect();
    for id in subscriptions {
        books.end(&id);
    }
    let deleted = json!({ "id": call.id, "object": "customer", "deleted": true });
    books.objects.put(deleted.clone());
    books.emit("customer.deleted", customer, None);
    Ok(deleted)
}
