//! What an operator of a service for many does with people: those who run it with him, and all others.

use clap::{Args, Subcommand};

use super::service::OperatorArgs;

#[derive(Subcommand, Debug)]
#[command(
    after_help = "Examples:\n  weir operator create you@example.com\n  weir operator list\n  weir operator remove you@example.com"
)]
pub(crate) enum OperatorCommand {
    /// Make one: a link to set a password is alone on stdout; it works once, for an hour
    Create(PersonArgs),
    /// Show all
    List {
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Let one run the service no more; who it is stays
    Remove(PersonArgs),
}

#[derive(Subcommand, Debug)]
#[command(
    after_help = "Examples:\n  weir user reset-link ada@example.com\n  weir user disable ada@example.com"
)]
pub(crate) enum UserCommand {
    /// Make a link to set a new password, alone on stdout; it works once, for an hour
    ResetLink(PersonArgs),
    /// End all sessions of one
    EndSessions(PersonArgs),
    /// Keep one out of everything
    Disable(PersonArgs),
    /// Let one that was disabled in again
    Enable(PersonArgs),
}

/// One person.
#[derive(Args, Debug)]
pub(crate) struct PersonArgs {
    /// The e-mail address that they log in with
    pub(crate) email: String,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}
