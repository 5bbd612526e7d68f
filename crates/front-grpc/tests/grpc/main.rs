//! The front as Envoy meets it: a real listener, a real client, a node that counts in memory.

mod health;
mod hostile;
mod refusals;
mod server;
mod service;
mod tls;
mod wire;
