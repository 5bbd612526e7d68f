//! Stories of an account, told to the books alone.

mod account;
mod asking;
mod subscribers;
