//! A stand-in for Stripe, for tests: as much of its API as Weir uses, with the state behind it, a clock that can be moved,
//! webhooks that are signed and sent, and faults.
//!
//! Read [`FakeStripe`]. It was written from Stripe's documentation and the types of its official library for Node, and real
//! Stripe was never asked: in particular what `event_time_window` does is as documented. It knows nothing of Weir.
//!
//! Besides `/v1/…`, which is asked as Stripe is, it has these paths, whose answers are JSON and which take forms:
//!
//! | path | what it does |
//! | --- | --- |
//! | `GET /_clock`, `POST /_clock` | tells the clock; moves it on by `advance` seconds or `to` a time |
//! | `POST /_pay/{session}` | the customer pays: a subscription begins; `outcome=pending` at a bank that takes its time, then `paid` or `failed` |
//! | `POST /_portal/{subscription}` | `act=change` (with `price`, an id or a lookup key), `cancel`, `resume` or `cancel_now`, in the portal or, with `by=seller`, in Stripe's dashboard |
//! | `POST /_cards/{customer}` | whether its card `fails` |
//! | `POST /_retry/{invoice}`, `/_finalize/{invoice}` | collects it once more; ends its time as a draft |
//! | `POST /_subscriptions/{id}` | gives it any `status`, and tells of it |
//! | `POST /_emit` | an event of any `type` about an `object` |
//! | `POST /_deliver/{event}` | sends an event once more |
//! | `POST /_faults`, `DELETE /_faults` | `kind=delay` (`ms`), `error` (`status`, `when=before` or `after` its effect, `kept` for its key, `should_retry`), `rate_limit`, `reset` (`when`), `webhooks` (`mode=lost`, `doubled` or `shuffled`), each for requests whose path begins with `path`, `count` times; none any more |
//! | `POST /_settings` | `livemode`, `retries`, `after_retries=canceled` or `unpaid` |
//! | `GET /_sent` | deliveries with their status (0: no answer), and how many events some endpoint has not confirmed |
//! | `GET /_state` | customers, sessions, subscriptions, invoices, and what was used by meter, customer and day |
//! | `GET /_calls` | how often each route was asked |
//!
//! `GET /pay/{session}` and `GET /portal/{session}` are the pages that customers see.

// The objects of Stripe have more fields than a macro may expand to otherwise.
#![recursion_limit = "512"]

mod books;
mod checkout;
mod clock;
mod control;
mod customers;
mod delivery;
mod events;
mod faults;
mod form;
mod invoices;
mod meters;
mod objects;
mod pages;
mod portal;
mod problem;
mod products;
mod routes;
mod server;
mod subscriptions;
mod webhooks;

#[cfg(test)]
mod story;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use serde_json::Value;
use tokio::runtime;
use tokio::sync::oneshot;

pub use books::{Settings, VERSION};
pub use webhooks::signature;

use books::{Books, Request, hex};
use control::Reply;
use server::Shared;

/// A running stand-in: ends when it is stopped or dropped.
#[derive(Debug)]
pub struct FakeStripe {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeStripe {
    /// Starts one with nothing in it, on a thread of its own; port 0 is any that is free.
    ///
    /// # Panics
    ///
    /// When the address cannot be had.
    #[must_use]
    pub fn start(address: impl ToSocketAddrs) -> Self {
        let listener = TcpListener::bind(address).expect("an address for the fake");
        Self::serve(listener, Settings::new()).expect("a thread for the fake")
    }

    /// Starts one on this socket.
    ///
    /// # Errors
    ///
    /// When the system has no thread left, or no randomness.
    pub fn serve(listener: TcpListener, settings: Settings) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let url = server::url(address);
        let books = Books::new(server::unix_secs(), settings, &url, &hex(&random));
        let shared = Arc::new(Shared::new(books));
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = thread::Builder::new().name("fake-stripe".into());
        let thread = thread.spawn(move || {
            runtime.spawn(server::serve(listener, served));
            // Dropped or told, it ends; and with it the runtime and its connections.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens: `http://127.0.0.1:4242`.
    #[must_use]
    pub fn url(&self) -> String {
        server::url(self.address)
    }

    /// Asks one of its own paths, such as `/_state`, without a connection.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        self.control("GET", path, "")
    }

    /// Tells it something by one of its own paths: `post("/_clock", "advance=3600")`. Returns what it answers.
    ///
    /// # Panics
    ///
    /// When it refuses.
    pub fn post(&self, path: &str, form: &str) -> Value {
        self.control("POST", path, form)
    }

    /// Lets all faults be over.
    pub fn clear_faults(&self) {
        self.control("DELETE", "/_faults", "");
    }

    fn control(&self, method: &str, path: &str, form: &str) -> Value {
        let request = Request {
            method: method.into(),
            path: path.into(),
            body: form.into(),
            ..Request::default()
        };
        match self.shared.on_control(&request) {
            Ok(Reply::Json(answer)) => answer,
            Ok(Reply::Page(text) | Reply::SeeOther(text)) => text.into(),
            Err(problem) => panic!("{method} {path} {form}: {:#}", problem.body()),
        }
    }

    /// Ends it, and every connection to it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Waits for ever.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for FakeStripe {
    fn drop(&mut self) {
        self.end();
    }
}
