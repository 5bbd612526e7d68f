//! Which paths there are.

use serde_json::Value;

use crate::books::Books;
use crate::problem::Problem;
use crate::{
    checkout, customers, events, invoices, meters, portal, products, subscriptions, webhooks,
};

/// One way to ask.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// With `{id}` for what varies.
    pub(crate) path: &'static str,
    /// What it takes, as [`crate::form::read`] reads it, besides `expand[]`.
    pub(crate) params: &'static [&'static str],
    pub(crate) act: fn(&mut Books, &Call) -> Result<Value, Problem>,
}

/// What was asked of a route.
pub(crate) struct Call {
    /// What stands for `{id}`, or nothing.
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) form: Value,
}

/// Of a list: `limit`, and where it goes on.
pub(crate) const PAGE: [&str; 3] = ["limit:int", "starting_after", "ending_before"];

fn all() -> impl Iterator<Item = &'static Route> {
    [
        products::ROUTES,
        customers::ROUTES,
        checkout::ROUTES,
        portal::ROUTES,
        subscriptions::ROUTES,
        invoices::ROUTES,
        meters::ROUTES,
        events::ROUTES,
        webhooks::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// The route of a request, and what stands for `{id}`.
pub(crate) fn find<'a>(method: &str, path: &'a str) -> Option<(&'static Route, &'a str)> {
    all()
        .filter(|route| route.method == method)
        .find_map(|route| Some((route, id_in(route.path, path)?)))
}

/// The template of a request's path.
pub(crate) fn template(method: &str, path: &str) -> Option<&'static str> {
    find(method, path).map(|(route, _)| route.path)
}

fn id_in<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, after)) = template.split_once("{id}") else {
        return (template == path).then_some("");
    };
    let id = path.strip_prefix(before)?.strip_suffix(after)?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}
