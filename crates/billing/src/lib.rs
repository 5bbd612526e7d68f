//! Stripe, as far as plans are sold by it: the calls, the events that it sends, and what its answers say of a tenant.
//!
//! A [`Stripe`] asks, with the retries and the names of calls that Stripe wants. [`signature`] tells which events are Stripe's own.
//! An event is a hint at what to ask for and no more, so that neither its order, nor its repeats, nor its loss matter: what a
//! tenant has bought is what [`Stripe::bought`] answers.
//!
//! Written from Stripe's documentation, API version [`VERSION`], and tried with a stand-in of the project's own that Stripe's
//! client for node agrees with. Real Stripe was never reached.

mod calls;
mod catalog;
mod form;
mod objects;
pub mod signature;
mod stripe;

pub use calls::{Checkout, NewCheckout, Standing};
pub use catalog::{EVENTS, Finding, Offer};
pub use objects::{DaySum, Event, Invoice, read_event};
pub use signature::WebhookSecret;
pub use stripe::{NoSecretKey, SecretKey, Stripe, StripeError};

/// Where Stripe is.
pub const API_URL: &str = "https://api.stripe.com";

/// The version of the API in which Stripe is asked and sends its events.
pub const VERSION: &str = "2026-10-28.endive";
