//! What an operator of a service for many asks for: its tenants, their API keys and their usage.

use std::path::PathBuf;
use std::time::Duration;

use ::node::config::span;
use clap::{Args, Subcommand};

use super::ApiArgs;

/// How to reach a running node as an operator: with the cookie that a node of this user finds, unless told otherwise.
#[derive(Args, Debug)]
pub(crate) struct OperatorArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// Print the node's answer as it is
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand, Debug)]
#[command(
    after_help = "Examples:\n  weir tenant create Acme --plan pro\n  weir tenant create Acme --owner ada@example.com\n  weir tenant list\n  weir tenant suspend tn_0123456789abcdef"
)]
pub(crate) enum TenantCommand {
    /// Make one
    Create {
        /// What people call it: 1 to 64 printable characters
        name: String,
        /// Its plan [default: that of no subscription]
        #[arg(long)]
        plan: Option<String>,
        /// Its requests of a day, in place of the plan's
        #[arg(long, value_name = "N")]
        requests_per_day: Option<u32>,
        /// Whose it is to be. A link to set a password is alone on stdout, unless they have one
        #[arg(long, value_name = "EMAIL")]
        owner: Option<String>,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Show all
    List {
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Show one
    Get {
        /// Such as tn_0123456789abcdef
        id: String,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Change its name, its plan or its requests of a day
    Set(TenantSetArgs),
    /// Let it do nothing, and tell it so
    Suspend {
        /// Such as tn_0123456789abcdef
        id: String,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Let one that was suspended do everything again
    Resume {
        /// Such as tn_0123456789abcdef
        id: String,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// End it: its API keys are as if they had never been
    Close {
        /// Such as tn_0123456789abcdef
        id: String,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Let one that was closed do everything again
    Restore {
        /// Such as tn_0123456789abcdef
        id: String,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

#[derive(Args, Debug)]
pub(crate) struct TenantSetArgs {
    /// Such as tn_0123456789abcdef
    pub(crate) id: String,
    /// Another name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Another plan
    #[arg(long)]
    pub(crate) plan: Option<String>,
    /// Other requests of a day than the plan's, or `plan` for those again
    #[arg(long, value_name = "N|plan", value_parser = requests)]
    pub(crate) requests_per_day: Option<Requests>,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

#[derive(Subcommand, Debug)]
#[command(
    after_help = "Examples:\n  weir key create --tenant tn_0123456789abcdef --name edge --scope check > edge.key\n  weir key rotate key_3fK9mQ2bXw7L --overlap 1h"
)]
pub(crate) enum KeyCommand {
    /// Make one: it alone is printed to stdout, once
    Create {
        /// Whose it is to be
        #[arg(long, value_name = "ID")]
        tenant: String,
        /// What people call it: 1 to 64 printable characters
        #[arg(long)]
        name: String,
        /// What it may do; may be repeated [default: check]
        #[arg(long)]
        scope: Vec<String>,
        /// When it ends, from now, such as 90d [default: never]
        #[arg(long, value_name = "SPAN", value_parser = duration)]
        expires: Option<Duration>,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Show those of a tenant
    List {
        /// Whose
        #[arg(long, value_name = "ID")]
        tenant: String,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Make one in the place of another, which lives a while longer
    Rotate {
        /// Such as key_3fK9mQ2bXw7L
        id: String,
        /// Whose it is, to be refused where it is another's
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
        /// How long the old one lives beside it: 0s to 30d
        #[arg(long, value_name = "SPAN", default_value = "24h")]
        overlap: String,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// End one now, and tell where that is not known yet
    Revoke {
        /// Such as key_3fK9mQ2bXw7L
        id: String,
        /// Whose it is, to be refused where it is another's
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

/// The requests of a day of a tenant: its own, or those of its plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Requests(pub(crate) Option<u32>);

fn requests(text: &str) -> Result<Requests, String> {
    match text {
        "plan" => Ok(Requests(None)),
        _ => text
            .parse()
            .map(|requests| Requests(Some(requests)))
            .map_err(|_| "a whole number, or plan".to_owned()),
    }
}

/// A duration as the file has it.
fn duration(text: &str) -> Result<Duration, String> {
    span::parse(text).ok_or_else(|| span::ACCEPTED.to_owned())
}

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  weir usage --tenant tn_0123456789abcdef --from 2026-11-01 --to 2026-11-30 --csv"
)]
pub(crate) struct UsageArgs {
    /// Whose
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: String,
    /// The first day [default: 29 days before the last]
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<String>,
    /// The last day [default: today, UTC]
    #[arg(long, value_name = "DAY")]
    pub(crate) to: Option<String>,
    /// As CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

#[derive(Subcommand, Debug)]
#[command(
    after_help = "Examples:\n  weir billing setup --currency eur --price weir_pro_monthly=2900 > stripe-webhook\n  weir billing check\n  weir billing sync --tenant tn_0123456789abcdef\n  weir billing audit --from 2026-11-01"
)]
pub(crate) enum BillingCommand {
    /// Make at Stripe what the plans of the file need; what is there is left as it is
    ///
    /// What signs the events of a webhook that is made now is alone on stdout: it goes into a file of [billing]
    /// webhook_secret_files, and is never shown again.
    Setup {
        /// Currency of prices that have to be made: three letters, such as eur
        #[arg(long)]
        currency: Option<String>,
        /// What a price costs that has to be made, by its lookup key, in the smallest unit; may be repeated
        #[arg(long, value_name = "KEY=AMOUNT", value_parser = price)]
        price: Vec<(String, String)>,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Look whether Stripe has what the plans need; exit 1 if something is missing
    Check {
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Ask Stripe what tenants have bought and tell it what they have used, without waiting for the hour
    Sync {
        /// Whose [default: all]
        #[arg(long, value_name = "ID")]
        tenant: Option<String>,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Show days of which Stripe has counted something else than was used; exit 1 if there are any
    Audit {
        /// The first day [default: 29 days before the last]
        #[arg(long, value_name = "DAY")]
        from: Option<String>,
        /// The last day [default: today, UTC]
        #[arg(long, value_name = "DAY")]
        to: Option<String>,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

fn price(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, amount) =
        parts.ok_or("the lookup key of a price, = and an amount, such as weir_pro_monthly=2900")?;
    Ok((key.to_owned(), amount.to_owned()))
}

#[derive(Subcommand, Debug)]
#[command(
    after_help = "Examples:\n  weir service export weir.jsonl\n  weir service import weir.jsonl --url http://127.0.0.1:4001"
)]
pub(crate) enum ServiceCommand {
    /// Write all tenants, people, API keys and limits made at run time to a new file, a line each; of secrets their hashes
    Export {
        /// The file, which must not be there yet; only its owner may read it
        file: PathBuf,
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Take in what such a file has: each joins what is there. One that is older than 30 days is for a new cluster alone
    Import {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        operator: OperatorArgs,
    },
}
