//! The command line, as its help explains it.

mod people;
mod service;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use coordinator::{FailMode, Strategy};

pub(crate) use people::{OperatorCommand, PersonArgs, UserCommand};
pub(crate) use service::{
    BillingCommand, KeyCommand, Requests, ServiceCommand, TenantCommand, TenantSetArgs, UsageArgs,
};

/// A rate limiting service that needs no other server
///
/// Named nodes that share a cookie form a cluster. Any of them answers for any key; each hit is counted once,
/// by the node that owns the key, and copied to others, so that what was counted survives the loss of a node.
#[derive(Parser, Debug)]
#[command(name = "weir", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
A cluster in two terminals, and a hit allowed and denied:
  weir node --name oskar
  PORT=4001 weir node --name oskar2
  weir check u1 --limit user_home       allowed
  weir check u1 --limit user_home --url http://127.0.0.1:4001
                                        denied, by the other node

weir COMMAND --help tells more.";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Node(Box<NodeArgs>),
    Demo(DemoArgs),
    Compare(CompareArgs),
    /// Show the members of a running cluster, their shards and the lag of their replicas
    Status(StatusArgs),
    /// Ask for one decision: exit 0 allowed, 1 denied, 2 error
    Check(CheckArgs),
    /// Show the limits of a running node
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// Tell of one key who owns it, what is counted, and what would be decided now
    Explain(ExplainArgs),
    /// Let a key start anew, as if nothing had been counted
    Reset(KeyArgs),
    /// Have a node read its file again: all of it or nothing
    Reload(ReloadArgs),
    /// Make, change and list the tenants of a service for many
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Make, rotate, revoke and list the API keys of a tenant
    #[command(subcommand)]
    Key(KeyCommand),
    /// Tell what a tenant has used, day by day
    Usage(UsageArgs),
    /// Make, list and remove the operators of a service for many
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Let people of a service for many in again, or keep them out
    #[command(subcommand)]
    User(UserCommand),
    /// Sell plans by Stripe: make what that needs, look at it, and hold its counts against those of here
    #[command(subcommand)]
    Billing(BillingCommand),
    /// Keep all that a service for many has in a file, and take it in again
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Say that a dead member will not come back
    Forget(ForgetArgs),
    /// Exit 0 when the node says that it is ready, else 1; for containers
    Health(HealthArgs),
    /// Look at a configuration as a node would read it
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print what a shell needs to complete this command
    Completions(CompletionsArgs),
    /// Write a manual page for this command and each of its own
    Man(ManArgs),
    /// What `weir compare` starts other programs through, so that they end with it
    #[command(hide = true)]
    Become(BecomeArgs),
}

/// Start a node
///
/// It finds the other nodes of this host, user and cookie by itself, and those of other hosts through --join.
/// Once it serves, it prints one line: weir NAME ready http=ADDR:PORT cluster=ADDR:PORT members=N, and behind it
/// redis=ADDR:PORT where it serves that.
/// Ctrl-C or SIGTERM hands its shards over and stops it; a second one stops it at once. SIGHUP has it read --config again,
/// as weir reload does.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = NODE_AFTER_HELP)]
pub(crate) struct NodeArgs {
    /// Name of this node, unique in the cluster [default: the host name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Shared secret of the cluster; other users of this machine can see it here, so prefer the file
    #[arg(long)]
    pub(crate) cookie: Option<String>,
    /// File with the shared secret [default: ~/.weir.cookie, made on first start]
    #[arg(long, value_name = "FILE")]
    pub(crate) cookie_file: Option<String>,
    /// Where to serve HTTP; PORT=4001 in the environment changes just the port [default: 127.0.0.1:4000]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) http: Option<String>,
    /// Where to serve the Redis protocol, RESP2 and RESP3 [default: it is not served]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) redis: Option<String>,
    /// Where to serve Envoy's rate limit service, for the rules of the file [default: it is not served]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) grpc: Option<String>,
    /// Where to serve /metrics, /health and /ready alone, to whoever connects [default: with the rest of HTTP only]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) metrics: Option<String>,
    /// Where to serve other nodes; port 0 takes any [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) cluster: Option<String>,
    /// What other nodes dial to reach this one; also env:NAME:PORT, the address that a variable has [default: the --cluster address]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) advertise: Option<String>,
    /// A live node, any one is enough; also dns:NAME:PORT. May be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) join: Vec<String>,
    /// Nodes that found a cluster together, all started with the same number; one that exists is joined instead
    #[arg(long, value_name = "N")]
    pub(crate) expect: Option<String>,
    /// Zone of this node: replicas prefer another one
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// Told to stop, go on serving for so long: load balancers need it to hear from /ready [default: 0s]
    #[arg(long, value_name = "SPAN")]
    pub(crate) drain_wait: Option<String>,
    /// Limits, routes and settings [default: a built-in example]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Keeps counts of long limits, and limits made at run time, across a restart of all nodes; each node needs a directory of its own [default: none]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// What clients must send as `Authorization: Bearer TOKEN`, over the Redis protocol as `AUTH TOKEN`
    #[arg(long, value_name = "TOKEN")]
    pub(crate) api_token: Option<String>,
    /// File with the token
    #[arg(long, value_name = "FILE")]
    pub(crate) api_token_file: Option<String>,
    /// Run a service for many that forgets its tenants and API keys when all nodes stop: to try it out
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Serve clients of other machines without a token
    #[arg(long)]
    pub(crate) insecure: bool,
    /// How to log, to stderr: text or json [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log: Option<String>,
}

const NODE_AFTER_HELP: &str = "\
Each option has a variable, WEIR_HTTP for --http (WEIR_JOIN takes several, between commas), and most a key of
the same name under [node] in the file. An option wins over its variable, that over the file.

Examples:
  weir node                                         the built-in example on http://127.0.0.1:4000
  PORT=4001 weir node --name oskar2                 a second node on the same machine finds the first
  weir node --name b --cluster 10.0.0.2:4100 --join 10.0.0.1:4100 --cookie-file /etc/weir/cookie
                                                    a node on another machine
  weir node --name b --cluster 10.0.0.2:4100 --join 10.0.0.1:4100 --join 10.0.0.3:4100 --expect 3
                                                    one of three that are all started alike
  weir node --config weir.toml --http 0.0.0.0:4000 --api-token-file /etc/weir/token
                                                    limits of one's own, for clients of other machines
  WEIR_LOG_FILTER=debug weir node                   tell more; or cluster=trace, for one part of it";

impl NodeArgs {
    /// What the flag of that name says, in the file's spelling.
    pub(crate) fn value_of(&self, key: &str) -> Option<&str> {
        let value = match key {
            "name" => &self.name,
            "cookie" => &self.cookie,
            "cookie_file" => &self.cookie_file,
            "http" => &self.http,
            "redis" => &self.redis,
            "grpc" => &self.grpc,
            "metrics" => &self.metrics,
            "cluster" => &self.cluster,
            "advertise" => &self.advertise,
            "expect" => &self.expect,
            "zone" => &self.zone,
            "drain_wait" => &self.drain_wait,
            "data_dir" => &self.data_dir,
            "api_token" => &self.api_token,
            "api_token_file" => &self.api_token_file,
            "log" => &self.log,
            _ => unreachable!("no flag is called {key}"),
        };
        value.as_deref()
    }
}

/// Watch three nodes lose one, and forget nothing
///
/// Starts three nodes on this machine, sends hits through all of them, kills the owner of most keys with kill -9,
/// compares what was admitted with what the others remember, starts it again and watches it come back. Takes half a
/// minute, and touches nothing outside a temporary directory. Exit 0: nothing was forgotten or over-admitted, and
/// the node came back; 1 otherwise.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  weir demo              live, in this terminal; q quits
  weir demo --plain      the same as lines, and ends by itself")]
pub(crate) struct DemoArgs {
    /// Print lines; without a terminal this is so by itself
    #[arg(long)]
    pub(crate) plain: bool,
}

/// Put the ways to count side by side, each with a fault
///
/// For each strategy in turn it starts three nodes on this machine, sends them the same hits, kills with -9 what would
/// be missed most (owner, local: the node with most keys; redis: the Redis server; raft: the leader) after two fifths
/// of the time, starts it again after three, and asks every node what it knows in the end. Then it prints one table.
/// Takes --seconds and a few more for each strategy, and touches nothing outside a temporary directory.
///
/// Exit 0: all strategies asked for were compared; 1: not all, as when redis-server is not installed.
#[derive(Args, Debug)]
#[command(after_help = COMPARE_AFTER_HELP)]
pub(crate) struct CompareArgs {
    /// What to compare, and in which order
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "owner,local,redis,raft"
    )]
    pub(crate) strategies: Vec<Strategy>,
    /// Hits a second over all clients; 0: as many as are answered, each client sending its next when it has an answer
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(crate) rate: u32,
    /// Clients, each with a connection; a third of them at each node
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) clients: u32,
    /// How long hits are sent, of each strategy
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub(crate) seconds: u32,
    /// Different keys
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) keys: u32,
    /// How much hotter some keys are: the key of rank k gets k^-SKEW (Zipf); 0: all the same
    #[arg(long, default_value_t = 1.0, value_parser = skew)]
    pub(crate) skew: f64,
    /// Units of each key; none come back meanwhile, so that what should be admitted is known exactly
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// What is answered when nobody can count: deny, allow, or (redis only, elsewhere deny) owner
    #[arg(long, value_name = "MODE", default_value = "deny", value_parser = fail_mode)]
    pub(crate) on_failure: FailMode,
    /// Print JSON in place of the table, with a timeline
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw answers and waits over time, too
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

const COMPARE_AFTER_HELP: &str = "\
The rate decides what can be learned: without one, how much each strategy can do, and how long the clients wait for
one another; with one that all can carry, how long a single hit takes. --limit and --keys decide how much is denied.

Examples:
  weir compare                                      all four, 10 s each
  weir compare --rate 2000 --svg compare.svg        waits at a pace that all can keep, drawn
  weir compare --strategies owner,local --seconds 30 --keys 100000
  weir compare --strategies redis --on-failure owner
                                                    Redis dies, and the cluster counts meanwhile
  weir compare --json | jq '.strategies[] | {strategy, over_admitted}'";

fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse().ok().filter(|skew| (0.0..=10.0).contains(skew));
    skew.ok_or_else(|| "not a number from 0 to 10".to_owned())
}

fn fail_mode(text: &str) -> Result<FailMode, String> {
    FailMode::named(text).ok_or_else(|| "none of deny, allow, owner".to_owned())
}

/// How to reach a running node.
#[derive(Args, Debug)]
pub(crate) struct ApiArgs {
    /// Any node of the cluster, or what stands before it: http:// or https://
    #[arg(long, env = "WEIR_URL", default_value = "http://127.0.0.1:4000")]
    pub(crate) url: String,
    /// The token that the node wants, if it wants one
    #[arg(
        long,
        env = "WEIR_API_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) api_token: Option<String>,
    /// File with the cluster's cookie, by which an operator proves himself to a service for many
    #[arg(long, value_name = "FILE")]
    pub(crate) cookie_file: Option<PathBuf>,
    /// The cookie itself; other users of this machine can see it here, so prefer the file
    #[arg(long, conflicts_with = "cookie_file")]
    pub(crate) cookie: Option<String>,
    /// Send a token although others could read it on its way
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// In which tenant an operator acts.
#[derive(Args, Debug)]
pub(crate) struct WithinArgs {
    /// The tenant of a service for many in which an operator acts
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<String>,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Exit 1 if anything is wrong: a member that is not alive, a shard without all its copies, no majority where one\nis needed, nobody at the addresses to join by, files that differ in a limit, a node that is not ready.\n\nExamples:\n  weir status\n  weir status --watch\n  weir status --json | jq .under_replicated_shards"
)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// Print the node's answer as it is
    #[arg(long, conflicts_with = "watch")]
    pub(crate) json: bool,
    /// Show it anew every second, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  weir check u1 --limit user_home              count one hit of u1
  weir check u1 --limit user_home --cost 0     count nothing, ask whether a hit would pass
  weir check u1 --limit user_home && deploy    the exit code is the answer")]
pub(crate) struct CheckArgs {
    /// Who or what is counted
    pub(crate) key: String,
    /// Name of the limit
    #[arg(long, value_name = "NAME")]
    pub(crate) limit: String,
    /// Units to take; 0 takes none and asks whether 1 would pass
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) cost: u32,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    #[command(flatten)]
    pub(crate) within: WithinArgs,
    /// Print the node's answer as it is
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum LimitsCommand {
    /// All limits
    List {
        #[command(flatten)]
        api: ApiArgs,
        #[command(flatten)]
        within: WithinArgs,
        /// Print the node's answer as it is
        #[arg(long)]
        json: bool,
    },
    /// One limit
    Get {
        /// Name of the limit
        name: String,
        #[command(flatten)]
        api: ApiArgs,
        #[command(flatten)]
        within: WithinArgs,
        /// Print the node's answer as it is
        #[arg(long)]
        json: bool,
    },
    /// Make a limit on all nodes, or change one that was made so
    Set(SetArgs),
    /// Remove a limit that was made with set
    Delete {
        /// Name of the limit
        name: String,
        #[command(flatten)]
        api: ApiArgs,
        #[command(flatten)]
        within: WithinArgs,
    },
}

/// Make a limit on all nodes, or change one that was made so
///
/// It is in force on every live node when this returns; a node that has not confirmed it within a second is named. Limits
/// of the file are changed there.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  weir limits set login --algorithm sliding_log --limit 5 --per 1m
  weir limits set quota --algorithm fixed_window --limit 1000 --anchor month --zone Europe/Vienna")]
pub(crate) struct SetArgs {
    /// Name of the limit
    pub(crate) name: String,
    /// gcra, token_bucket, sliding_log, sliding_counter, fixed_window or leaky_bucket
    #[arg(long)]
    pub(crate) algorithm: String,
    /// Units per period
    #[arg(long, value_name = "N")]
    pub(crate) limit: u32,
    /// A whole number and ms, s, m, h or d; not with the anchors day, week, month and year
    #[arg(long, value_name = "SPAN")]
    pub(crate) per: Option<String>,
    /// Most units that pass at once; gcra and leaky_bucket [default: the limit]
    #[arg(long, value_name = "N")]
    pub(crate) burst: Option<u32>,
    /// Where windows of fixed_window begin: epoch, first_hit, or the day, week, month or year of a zone [default: epoch]
    #[arg(long)]
    pub(crate) anchor: Option<String>,
    /// Whose days, weeks, months or years they are, such as Europe/Vienna [default: UTC]
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// owner, local, redis or raft; redis takes a section [redis] in the file of each node [default: owner]
    #[arg(long)]
    pub(crate) strategy: Option<String>,
    /// deny or allow, when no decision can be had; with redis also owner [default: deny]
    #[arg(long)]
    pub(crate) on_failure: Option<String>,
    /// Whether counts outlive all nodes, where these have a --data-dir [default: true from a period of an hour]
    #[arg(long, value_name = "BOOL")]
    pub(crate) keep: Option<bool>,
    /// Whether GET /v1/top tells which keys it denies most; of limits of a tenant [default: false]
    #[arg(long, value_name = "BOOL")]
    pub(crate) top_keys: Option<bool>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    #[command(flatten)]
    pub(crate) within: WithinArgs,
    /// Print the node's answer as it is
    #[arg(long)]
    pub(crate) json: bool,
}

/// A key of a limit.
#[derive(Args, Debug)]
pub(crate) struct KeyArgs {
    /// Name of the limit
    pub(crate) limit: String,
    /// Who or what is counted
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "\
It counts nothing.

Example:
  weir explain user_home u1")]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) of: KeyArgs,
    /// Print the node's answers as one object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Example, in a container:
  HEALTHCHECK CMD [\"weir\", \"health\"]")]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ConfigCommand {
    /// Read a file and tell everything that is wrong with it: exit 0 or 2
    Check {
        /// What --config would name
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  weir completions bash > /etc/bash_completion.d/weir
  weir completions fish > ~/.config/fish/completions/weir.fish")]
pub(crate) struct CompletionsArgs {
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  weir man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Made if it does not exist
    pub(crate) dir: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = RELOAD_AFTER_HELP)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// Print the node's answer as it is
    #[arg(long)]
    pub(crate) json: bool,
}

const RELOAD_AFTER_HELP: &str = "\
It is the file that the node was started with, where the node is; SIGHUP does the same. Limits, routes, rules, trusted
proxies and the caps on memory change while requests are answered, and what was counted stays counted. What has changed is
printed. With a mistake in the file, or a change of something that takes a restart, nothing changes: each is printed with its
place, and the exit code is 2. Other nodes are told by themselves; until then weir status says in what files differ.

Example:
  weir config check weir.toml && weir reload";

#[derive(Args, Debug)]
#[command(after_help = "\
With partition = \"quorum\" the dead count towards the majority until they are forgotten. A live member is not
forgotten; stop it first.

Example:
  weir forget oskar2")]
pub(crate) struct ForgetArgs {
    /// Name of the member
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// A program to become.
#[derive(Args, Debug)]
pub(crate) struct BecomeArgs {
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) program: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_in_the_reference_and_no_other() {
        let reference = include_str!("../../../docs/command.md");
        let rows = reference
            .lines()
            .filter_map(|line| line.strip_prefix("| `weir "));
        let documented = rows.filter_map(|row| row.split('`').next());
        let mut documented: Vec<_> = documented.collect();
        documented.sort_unstable();
        let all = Cli::command();
        let shown = all.get_subcommands().filter(|it| !it.is_hide_set());
        let mut shown: Vec<_> = shown.map(clap::Command::get_name).collect();
        shown.sort_unstable();
        assert_eq!(documented, shown);
    }

    #[test]
    fn a_check_names_key_limit_and_cost() {
        let Ok(Command::Check(args)) =
            parse("weir check u1 --limit user_home --cost 0 --url http://h:1 --json")
        else {
            panic!("is a check");
        };
        assert_eq!(
            (args.key.as_str(), args.limit.as_str(), args.cost),
            ("u1", "user_home", 0)
        );
        assert_eq!((args.api.url.as_str(), args.json), ("http://h:1", true));
    }

    #[test]
    fn a_comparison_has_defaults_and_takes_a_list_of_strategies() {
        let Ok(Command::Compare(args)) = parse("weir compare") else {
            panic!("compares");
        };
        assert_eq!(args.strategies, Strategy::ALL);
        assert_eq!((args.rate, args.seconds, args.limit), (0, 10, 100));
        let line = "weir compare --strategies raft,owner --skew 0 --on-failure allow --svg a.svg";
        let Ok(Command::Compare(args)) = parse(line) else {
            panic!("compares");
        };
        assert_eq!(args.strategies, [Strategy::Raft, Strategy::Owner]);
        assert_eq!((args.skew, args.on_failure), (0.0, FailMode::Allow));
    }

    #[test]
    fn a_comparison_that_cannot_be_is_refused() {
        for option in [
            "--strategies gossip",
            "--strategies",
            "--clients 0",
            "--seconds 0",
            "--keys 0",
            "--skew -1",
            "--skew NaN",
            "--limit 100001",
            "--on-failure maybe",
        ] {
            let line = format!("weir compare {option}");
            assert_eq!(parse(&line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn join_may_be_repeated() {
        let Ok(Command::Node(args)) = parse("weir node --join 10.0.0.1:1 --join dns:weir:2") else {
            panic!("starts a node");
        };
        assert_eq!(args.join, ["10.0.0.1:1", "dns:weir:2"]);
    }

    #[test]
    fn what_is_missing_or_unknown_exits_with_2() {
        for line in [
            "weir",
            "weir check u1",
            "weir check --limit a",
            "weir check u1 --limit a --cost -1",
            "weir nodes",
            "weir node x",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn every_flag_of_a_node_can_be_asked_for_by_its_key() {
        let node = Cli::command().find_subcommand("node").unwrap().clone();
        let elsewhere = ["join", "config", "ephemeral", "insecure", "help", "version"];
        for flag in node
            .get_arguments()
            .map(|arg| arg.get_id().as_str())
            .filter(|id| !elsewhere.contains(id))
        {
            assert_eq!(NodeArgs::default().value_of(flag), None, "{flag}");
        }
    }
}
