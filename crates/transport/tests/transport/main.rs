//! Links over loopback sockets, as a node and its enemies see them.

mod links;
mod node;
mod rough;
mod strangers;
