//! Pages for people: limits, API keys and usage of their tenants, and the cluster for its operators, on every node.
//!
//! A page is made of what the HTTP API answers to its reader, asked in this process with the cookie that the browser has
//! brought: a page shows the numbers that a program is told, and lets nobody do what the API refuses. Everything works
//! without JavaScript: a form is posted, and what comes next is another page.

mod api;
mod around;
mod assets;
mod form;
mod frame;
mod pages;
mod respond;
mod told;
mod visit;
mod words;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use accounts::SessionKeys;
use axum::Router;
use axum::http::{Extensions, HeaderValue};
use axum::middleware;
use axum::routing::{get, post};

pub use assets::{Wanted, asset};

/// What pages need to know of their service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where people reach it, without a slash at the end.
    pub public_url: Arc<str>,
    /// What forms of those who have not logged in are signed with.
    pub keys: Arc<SessionKeys>,
    /// Who may sign up, as the file has it: `closed`, `invited` or `open`.
    pub signup: &'static str,
    /// Whether somebody is an operator already.
    pub has_operators: HasOperators,
    /// Where plans are paid, if that is not Stripe's own: the beginning of the addresses of its pages, such as
    /// `http://127.0.0.1:12111`.
    pub biller: Option<Arc<str>>,
    /// Who is asked for what pages of another version need.
    pub elsewhere: Elsewhere,
    /// Hands on from where a request came: what a front has noted of it, from the request for a page to what that asks.
    pub introduce: fn(&Extensions, &mut Extensions),
}

/// Whether there is an operator, as this node knows just now.
#[derive(Clone)]
pub struct HasOperators(Arc<dyn Fn() -> bool + Send + Sync>);

impl HasOperators {
    /// Looks so.
    pub fn new(look: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }
}

impl fmt::Debug for HasOperators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HasOperators(..)")
    }
}

/// What other nodes may have: a page of theirs, made by another version, may come with assets that this one lacks.
#[derive(Clone)]
pub struct Elsewhere(Arc<dyn Fn(Wanted) -> Finding + Send + Sync>);

/// The bytes of an asset, once somebody has told them. `None`: nobody has it.
type Finding = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

impl Elsewhere {
    /// Asks so.
    pub fn new<F>(find: impl Fn(Wanted) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<Vec<u8>>> + Send + 'static,
    {
        Self(Arc::new(move |wanted| Box::pin(find(wanted))))
    }

    async fn find(&self, wanted: Wanted) -> Option<Vec<u8>> {
        (self.0)(wanted).await
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Elsewhere(..)")
    }
}

/// What all pages share.
struct App {
    api: api::Api,
    settings: Settings,
    /// What browsers may do with pages.
    policy: HeaderValue,
}

impl App {
    fn is_https(&self) -> bool {
        self.settings.public_url.starts_with("https:")
    }
}

/// The pages, over what `api` answers. To be merged with it.
pub fn pages(api: Router, settings: Settings) -> Router {
    use pages::{
        account, api_keys, audit, billing, cluster, entry, limits, live, overview, team, tenants,
        usage,
    };
    let app = Arc::new(App {
        api: api::Api::new(api, settings.introduce),
        policy: around::policy(settings.biller.as_deref()),
        settings,
    });
    Router::new()
        .route("/login", get(entry::login).post(entry::log_in))
        .route("/logout", post(entry::log_out))
        .route("/sign-up", get(entry::sign_up).post(entry::signed_up))
        .route("/recover", get(entry::recover).post(entry::recovered))
        .route("/reset/{token}", get(entry::reset).post(entry::was_reset))
        .route("/invite/{token}", get(entry::invite).post(entry::accepted))
        .route("/theme", post(account::theme))
        .route("/dashboard", get(overview::first))
        .route("/dashboard/account", get(account::account))
        .route("/dashboard/account/keys", post(account::keys))
        .route("/dashboard/account/password", post(account::password))
        .route("/dashboard/account/email", post(account::email))
        .route(
            "/dashboard/account/recovery-code",
            post(account::recovery_code),
        )
        .route(
            "/dashboard/account/sessions/{id}/end",
            post(account::end_session),
        )
        .route("/dashboard/account/end-all", post(account::end_all))
        .route("/dashboard/account/delete", post(account::delete))
        .route("/dashboard/cluster", get(cluster::cluster))
        .route("/dashboard/cluster/shards", get(live::shards))
        .route("/dashboard/tenants", get(tenants::list).post(tenants::make))
        .route(
            "/dashboard/tenants/{id}",
            get(tenants::one).post(tenants::change),
        )
        .route("/dashboard/{tenant}", get(overview::overview))
        .route(
            "/dashboard/{tenant}/limits",
            get(limits::list).post(limits::make),
        )
        .route(
            "/dashboard/{tenant}/limits/{name}",
            get(limits::one).post(limits::change),
        )
        .route(
            "/dashboard/{tenant}/limits/{name}/delete",
            post(limits::delete),
        )
        .route(
            "/dashboard/{tenant}/limits/{name}/reset",
            post(limits::reset),
        )
        .route(
            "/dashboard/{tenant}/key-limits",
            get(limits::key_limits).post(limits::make_key_limit),
        )
        .route(
            "/dashboard/{tenant}/key-limits/delete",
            post(limits::delete_key_limit),
        )
        .route(
            "/dashboard/{tenant}/api-keys",
            get(api_keys::list).post(api_keys::make),
        )
        .route("/dashboard/{tenant}/api-keys/{id}", get(api_keys::one))
        .route(
            "/dashboard/{tenant}/api-keys/{id}/rotate",
            post(api_keys::rotate),
        )
        .route(
            "/dashboard/{tenant}/api-keys/{id}/revoke",
            post(api_keys::revoke),
        )
        .route("/dashboard/{tenant}/live", get(live::live))
        .route("/dashboard/{tenant}/series", get(live::series))
        .route("/dashboard/{tenant}/usage", get(usage::usage))
        .route("/dashboard/{tenant}/usage.csv", get(usage::csv))
        .route("/dashboard/{tenant}/billing", get(billing::billing))
        .route(
            "/dashboard/{tenant}/billing/checkout",
            post(billing::checkout),
        )
        .route("/dashboard/{tenant}/billing/portal", post(billing::portal))
        .route("/dashboard/{tenant}/team", get(team::team))
        .route("/dashboard/{tenant}/team/invites", post(team::invite))
        .route(
            "/dashboard/{tenant}/team/invites/{id}/withdraw",
            post(team::withdraw),
        )
        .route("/dashboard/{tenant}/team/{user}/role", post(team::role))
        .route("/dashboard/{tenant}/team/{user}/remove", post(team::remove))
        .route(
            "/dashboard/{tenant}/team/{user}/reset-link",
            post(team::reset_link),
        )
        .route("/dashboard/{tenant}/audit", get(audit::audit))
        .route("/assets/{hash}/{name}", get(assets::serve))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            around::around,
        ))
        .with_state(app)
}
