//! `[[rule]]` and `[grpc]`: what Envoy's rate limit service holds descriptors to, and how it is served.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use front_grpc::{Bound, Match, Rule, Rules, Tls, ratelimit_config};

use super::problem::{Given, Problems};
use super::span;
use super::table::Table;

/// What Envoy's rate limit service is told.
#[derive(Clone, Debug)]
pub struct GrpcConfig {
    /// Those of `[[rule]]` and of the files of envoyproxy/ratelimit.
    pub rules: Arc<Rules>,
    /// `None`: plain text.
    pub tls: Option<Tls>,
    /// How long a connection may be silent before it is asked whether it lives; zero never asks.
    ///
    /// Shorter finds a host sooner that went away without a word, and costs a packet each time. Default 30 s: a proxy that is
    /// gone holds nothing but a connection.
    pub keepalive: Duration,
}

const KEEPALIVE_DEFAULT: Duration = Duration::from_secs(30);
const MATCH_ACCEPTED: &str =
    "[{ key = \"path\", value = \"/login\" }, { key = \"remote_address\" }], 1 to 8 of them";

/// Reads every `[[rule]]`, then `[grpc]` with the files that it names. `names` are those of all limits, also of those with
/// problems.
pub(crate) fn read(
    rules: Vec<Table<'_>>,
    grpc: Option<Table<'_>>,
    names: &[String],
    problems: &mut Problems,
) -> GrpcConfig {
    let mut known = Rules::default();
    for table in rules {
        read_rule(table, names, &mut known, problems);
    }
    let mut config = GrpcConfig {
        rules: Arc::default(),
        tls: None,
        keepalive: KEEPALIVE_DEFAULT,
    };
    if let Some(mut table) = grpc {
        read_files(&mut table, &mut known, problems);
        config.tls = read_tls(&mut table, problems);
        if let Some(given) = table.string("keepalive", problems) {
            let keepalive = problems.parse(&given, span::ACCEPTED, span::parse);
            config.keepalive = keepalive.unwrap_or(KEEPALIVE_DEFAULT);
        }
        table.finish(problems);
    }
    config.rules = Arc::new(known);
    config
}

fn read_rule(mut table: Table<'_>, names: &[String], rules: &mut Rules, problems: &mut Problems) {
    const DOMAIN_ACCEPTED: &str = "the domain that Envoy asks for, not empty";
    table.missing("domain", DOMAIN_ACCEPTED, problems);
    let domain = table.string("domain", problems).and_then(|given| {
        problems.parse(&given, DOMAIN_ACCEPTED, |text| {
            (!text.is_empty()).then(|| text.to_owned())
        })
    });
    table.missing("match", MATCH_ACCEPTED, problems);
    let entries = read_match(&mut table, problems);
    table.missing("limit", "the name of a limit", problems);
    let limit = table.string("limit", problems).and_then(|given| {
        let mut sorted = names.to_vec();
        sorted.sort();
        let accepted = format!("the name of a limit: {}", sorted.join(", "));
        problems.parse(&given, &accepted, |name| {
            names
                .iter()
                .any(|known| known == name)
                .then(|| name.to_owned())
        })
    });
    let place = table.place_of_key("match");
    table.finish(problems);
    let (Some(domain), Some(entries), Some(limit)) = (domain, entries, limit) else {
        return;
    };
    let rule = Rule {
        name: limit.clone(),
        bound: Bound::Named(limit),
        is_shadow: false,
        replaces: Vec::new(),
        replaced_as: String::new(),
    };
    if let Err(error) = rules.add(&domain, &entries, rule) {
        problems.add(&place, error.to_string(), error.accepted());
    }
}

/// The entries of a rule. `None`: one of them has a problem.
fn read_match(table: &mut Table<'_>, problems: &mut Problems) -> Option<Vec<Match>> {
    let before = problems.count();
    let mut entries = Vec::new();
    for mut entry in table.tables("match", problems) {
        entry.missing("key", "the key of an entry, exactly", problems);
        let key = entry.string("key", problems);
        let value = entry.string("value", problems).map(|given| given.value);
        entry.finish(problems);
        if let Some(Given { value: key, .. }) = key {
            entries.push(Match { key, value });
        }
    }
    (table.has("match") && problems.count() == before).then_some(entries)
}

/// The files of envoyproxy/ratelimit.
fn read_files(table: &mut Table<'_>, rules: &mut Rules, problems: &mut Problems) {
    let files = table.strings("ratelimit_config", problems);
    let files: Vec<PathBuf> = files.into_iter().map(|file| file.value.into()).collect();
    if let Err(refused) = ratelimit_config::load(&files, rules) {
        for problem in refused {
            problems.add(&problem.place, problem.what, problem.accepted);
        }
    }
}

fn read_tls(table: &mut Table<'_>, problems: &mut Problems) -> Option<Tls> {
    let [certificate, key, client_ca] =
        ["cert_file", "key_file", "client_ca_file"].map(|name| table.string(name, problems));
    let (certificate, key) = match (certificate, key, &client_ca) {
        (Some(certificate), Some(key), _) => (certificate, key),
        (None, None, None) => return None,
        (given, other, client_ca) => {
            let given = given.or(other).or(client_ca.clone());
            let place = given.map_or_else(|| table.place(), |given| given.place);
            let accepted = "cert_file and key_file, and perhaps client_ca_file";
            problems.add(&place, "not enough for TLS", accepted);
            return None;
        }
    };
    let client_ca = client_ca.map(|given| given.value);
    let client_ca = client_ca.as_deref().map(Path::new);
    match Tls::load(certificate.value.as_ref(), key.value.as_ref(), client_ca) {
        Ok(tls) => Some(tls),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let what = format!("{error}: {}", cause.unwrap_or_default());
            problems.add(&certificate.place, what, "certificates and keys in PEM");
            None
        }
    }
}
