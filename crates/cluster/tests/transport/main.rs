//! The data plane and the control plane over loopback sockets, as a node and its enemies see them.

mod control;
mod links;
mod node;
mod strangers;
