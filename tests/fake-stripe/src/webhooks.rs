//! Where events are sent, and what proves that Stripe sent them.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::books::{Books, hex};
use crate::objects::{metadata, page};
use crate::problem::Problem;
use crate::routes::{Call, PAGE, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/v1/webhook_endpoints",
        params: &[
            "!url",
            "!enabled_events[]",
            "api_version",
            "description",
            "metadata[*]",
        ],
        act: create,
    },
    Route {
        method: "GET",
        path: "/v1/webhook_endpoints",
        params: &PAGE,
        act: list,
    },
    Route {
        method: "GET",
        path: "/v1/webhook_endpoints/{id}",
        params: &[],
        act: retrieve,
    },
    Route {
        method: "POST",
        path: "/v1/webhook_endpoints/{id}",
        params: &[
            "url",
            "enabled_events[]",
            "disabled:bool",
            "description",
            "metadata[*]",
        ],
        act: update,
    },
    Route {
        method: "DELETE",
        path: "/v1/webhook_endpoints/{id}",
        params: &[],
        act: delete,
    },
];

/// The header `Stripe-Signature` of a body that is sent at `now`.
#[must_use]
pub fn signature(now: i64, secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(format!("{now}.{body}").as_bytes());
    format!("t={now},v1={}", hex(&mac.finalize().into_bytes()))
}

fn create(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let form = &call.form;
    check_url(form)?;
    let id = books.next_id("we_");
    let secret = format!("whsec_{}{}", books.run, id.trim_start_matches("we_"));
    books.events.secrets.insert(id.clone(), secret.clone());
    let mut endpoint = json!({
        "id": id,
        "object": "webhook_endpoint",
        "api_version": form["api_version"],
        "application": null,
        "created": books.now,
        "description": form["description"],
        "enabled_events": form["enabled_events"],
        "livemode": books.settings.livemode,
        "metadata": metadata(form),
        "status": "enabled",
        "url": form["url"],
    });
    books.objects.put(endpoint.clone());
    // Shown this once.
    endpoint["secret"] = secret.into();
    Ok(endpoint)
}

fn check_url(form: &Value) -> Result<(), Problem> {
    let is_url = form["url"]
        .as_str()
        .is_none_or(|url| url.starts_with("http://") || url.starts_with("https://"));
    match is_url {
        true => Ok(()),
        false => Err(Problem::parameter("url_invalid", "url", "Invalid URL")),
    }
}

fn list(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let all = books.objects.of("we_").rev().cloned().collect();
    page(&call.path, &call.form, all)
}

fn retrieve(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    let found = books.named("webhook endpoint", "we_", &call.id, "id");
    found.cloned()
}

fn update(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    retrieve(books, call)?;
    check_url(&call.form)?;
    let mut fields = json!({});
    for name in ["url", "enabled_events", "description", "metadata"] {
        if let Some(value) = call.form.get(name) {
            fields[name] = value.clone();
        }
    }
    if let Some(disabled) = call.form["disabled"].as_bool() {
        fields["status"] = if disabled { "disabled" } else { "enabled" }.into();
    }
    books.set(&call.id, fields);
    retrieve(books, call)
}

fn delete(books: &mut Books, call: &Call) -> Result<Value, Problem> {
    retrieve(books, call)?;
    books.objects.remove(&call.id);
    books.forget_endpoint(&call.id);
    Ok(json!({ "id": call.id, "object": "webhook_endpoint", "deleted": true }))
}

#[cfg(test)]
mod tests {
    use super::signature;

    /// Computed with `openssl dgst -sha256 -hmac whsec_test`.
    #[test]
    fn a_signature_is_that_of_the_time_and_the_body() {
        assert_eq!(
            signature(1_790_000_000, "whsec_test", "{}"),
            "t=1790000000,v1=1c2847ad1f8158a1da978f36627ac1f07f7fd027321ac9ad40bccc06743f8396"
        );
    }
}
