//! `[billing]`: plans that tenants buy, from Stripe.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use billing::{SecretKey, WebhookSecret};

use super::problem::{Given, Problems};
use super::service::url;
use super::span;
use super::table::Table;

/// How plans are sold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BillingConfig {
    /// What the account of Stripe is reached by.
    pub secret_key: SecretKey,
    /// What signs the events of Stripe: none takes none, two while one is taking the place of the other.
    pub webhook_secrets: Vec<WebhookSecret>,
    /// Where Stripe is, without a slash at the end. Default [`billing::API_URL`]; another is for tests.
    pub api_url: String,
    /// What the meter of requests is called at Stripe. Default `weir_requests`.
    pub meter: String,
    /// A tenant has its plan for so long after a payment has failed: longer loses more to those who never pay, shorter shuts out
    /// those whose card has expired. Default 7 days.
    pub grace: Duration,
    /// An invoice with requests stays a draft for so long after its period: longer waits for nodes that are away at its end.
    /// Default 6 h.
    pub finalize_after: Duration,
}

/// Takes the place of `secret_key_file`.
pub const VARIABLE: &str = "WEIR_STRIPE_KEY_FILE";

const KEY_ACCEPTED: &str = "a file with a key of Stripe (sk_test_…, sk_live_…, rk_test_… or rk_live_…), which others cannot read";
const WEBHOOK_ACCEPTED: &str =
    "one or two files, each with a secret of Stripe's webhook, which others cannot read";
const URL_ACCEPTED: &str = "https://HOST without a path; http only with a loopback host";
const METER_ACCEPTED: &str = "1 to 100 letters, digits, dashes, dots and underscores";

/// Longest secret taken from a file: what is longer is the wrong file.
const SECRET_BYTES_MAX: usize = 512;

/// Webhook secrets in force at once.
const WEBHOOK_SECRETS_MAX: usize = 2;

const DAY: u64 = 24 * 60 * 60;

/// Reads it. `None`: there is none, or (a problem) no key.
pub(crate) fn read(
    table: Option<Table<'_>>,
    variable: Option<String>,
    is_service: bool,
    problems: &mut Problems,
) -> Option<BillingConfig> {
    let mut table = table?;
    if !is_service {
        let what = "plans for sale, and no [service] whose tenants could buy them";
        problems.add(&table.place(), what, "[service] beside it");
    }
    let secret_key = read_key(&mut table, variable, problems);
    let webhook_secrets = read_webhook_secrets(&mut table, problems);
    let api_url = read_url(&mut table, secret_key.as_ref(), problems);
    let meter = table.string("meter", problems);
    let meter = meter.and_then(|given| problems.parse(&given, METER_ACCEPTED, meter_called));
    let mut span = |key, (min, max): (u64, u64), accepted| {
        let given = table.string(key, problems)?;
        let within = |text: &str| {
            span::parse(text).filter(|span: &Duration| (min..=max).contains(&span.as_secs()))
        };
        problems.parse(&given, accepted, within)
    };
    let grace = span("grace", (0, 30 * DAY), "0s to 30d");
    let finalize_after = span("finalize_after", (60 * 60, 3 * DAY), "1h to 72h");
    table.finish(problems);
    Some(BillingConfig {
        secret_key: secret_key?,
        webhook_secrets,
        api_url: api_url.unwrap_or_else(|| billing::API_URL.into()),
        meter: meter.unwrap_or_else(|| "weir_requests".into()),
        grace: grace.unwrap_or(Duration::from_secs(7 * DAY)),
        finalize_after: finalize_after.unwrap_or(Duration::from_secs(6 * 60 * 60)),
    })
}

fn meter_called(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_one = (1..=100).contains(&text.len()) && text.bytes().all(is_plain);
    is_one.then(|| text.to_owned())
}

fn read_key(
    table: &mut Table<'_>,
    variable: Option<String>,
    problems: &mut Problems,
) -> Option<SecretKey> {
    let path = match variable {
        Some(path) => {
            table.passed_over(&["secret_key_file"]);
            Given {
                value: path,
                place: VARIABLE.to_owned(),
            }
        }
        None => {
            table.missing("secret_key_file", KEY_ACCEPTED, problems);
            table.string("secret_key_file", problems)?
        }
    };
    let text = read_secret(&path, KEY_ACCEPTED, problems)?;
    let key = SecretKey::parse(&text).ok();
    if key.is_none() {
        // Without what stands there: it may be another secret.
        let what = format!("{} holds no key of Stripe", path.value);
        problems.add(&path.place, what, KEY_ACCEPTED);
    }
    key
}

fn read_webhook_secrets(table: &mut Table<'_>, problems: &mut Problems) -> Vec<WebhookSecret> {
    let place = table.place_of_key("webhook_secret_files");
    let paths = table.strings("webhook_secret_files", problems);
    if WEBHOOK_SECRETS_MAX < paths.len() {
        let what = format!("found {} files", paths.len());
        problems.add(&place, what, WEBHOOK_ACCEPTED);
    }
    let secrets = paths
        .iter()
        .filter_map(|path| read_secret(path, WEBHOOK_ACCEPTED, problems));
    secrets.map(WebhookSecret::new).collect()
}

/// The text of a file, without the white space around it.
fn read_secret(path: &Given<String>, accepted: &str, problems: &mut Problems) -> Option<String> {
    let shown = &path.value;
    let read = std::fs::metadata(shown).and_then(|metadata| {
        let is_open = metadata.permissions().mode() & 0o007 != 0;
        Ok((is_open, std::fs::read_to_string(shown)?))
    });
    let what = match read {
        Err(error) => format!("{shown}: {error}"),
        Ok((true, _)) => format!("{shown} can be used by others"),
        Ok((false, text)) if SECRET_BYTES_MAX < text.len() => format!("{shown} is too long"),
        Ok((false, text)) if text.trim().is_empty() => format!("{shown} is blank"),
        Ok((false, text)) => return Some(text.trim().to_owned()),
    };
    problems.add(&path.place, what, accepted);
    None
}

fn read_url(
    table: &mut Table<'_>,
    key: Option<&SecretKey>,
    problems: &mut Problems,
) -> Option<String> {
    let given = table.string("api_url", problems)?;
    let url = problems.parse(&given, URL_ACCEPTED, url)?;
    if url.starts_with("http:") && key.is_some_and(SecretKey::is_live) {
        let what = "found a live key that would be sent in the clear";
        problems.add(&given.place, what, "https, or a key for tests");
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Source};

    const SERVICE: &str = "[service]\npublic_url = \"https://a\"\n";

    fn parse(text: &str) -> Result<BillingConfig, String> {
        let source = Source {
            name: "weir.toml",
            text,
        };
        let config = Config::parse(source);
        config
            .map(|config| config.billing.expect("there is a section"))
            .map_err(|problems| problems.to_string())
    }

    fn file(folder: &Path, name: &str, text: &str, mode: u32) -> String {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }

    #[test]
    fn what_is_left_out_is_as_most_want_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = file(folder.path(), "key", "sk_test_1\n", 0o600);
        let billing = parse(&format!("{SERVICE}[billing]\nsecret_key_file = {key:?}")).unwrap();
        assert_eq!(billing.api_url, "https://api.stripe.com");
        assert_eq!(billing.meter, "weir_requests");
        assert_eq!(billing.grace, Duration::from_secs(7 * DAY));
        assert_eq!(billing.finalize_after, Duration::from_secs(6 * 60 * 60));
        assert_eq!(billing.webhook_secrets, []);
    }

    #[test]
    fn everything_is_read_and_nothing_secret_shown() {
        let folder = tempfile::tempdir().unwrap();
        let key = file(folder.path(), "key", "sk_test_1\n", 0o640);
        let one = file(folder.path(), "one", "whsec_1\n", 0o400);
        let other = file(folder.path(), "other", "whsec_2", 0o400);
        let text = format!(
            "{SERVICE}[billing]\nsecret_key_file = {key:?}\nwebhook_secret_files = [{one:?}, {other:?}]\n\
             api_url = \"http://127.0.0.1:1\"\nmeter = \"m\"\ngrace = \"0s\"\nfinalize_after = \"72h\""
        );
        let billing = parse(&text).unwrap();
        let secrets = ["whsec_1", "whsec_2"].map(|it| WebhookSecret::new(it.into()));
        assert_eq!(billing.webhook_secrets, secrets);
        assert_eq!(
            (&*billing.api_url, &*billing.meter),
            ("http://127.0.0.1:1", "m")
        );
        assert_eq!(
            (billing.grace, billing.finalize_after.as_secs()),
            (Duration::ZERO, 3 * DAY)
        );
        let shown = format!("{billing:?}");
        assert!(
            !shown.contains("whsec_1") && !shown.contains("sk_test_1"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_without_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let good = file(folder, "good", "sk_test_1", 0o600);
        let live = file(folder, "live", "sk_live_1", 0o600);
        let open = file(folder, "open", "sk_test_1", 0o644);
        let other = file(folder, "other", "hunter2", 0o600);
        let blank = file(folder, "blank", " \n", 0o600);
        let long = file(folder, "long", &"a".repeat(513), 0o600);
        let key = |path: &str| format!("{SERVICE}[billing]\nsecret_key_file = {path:?}\n");
        for (text, told) in [
            (
                format!("{SERVICE}[billing]"),
                "billing: no `secret_key_file`",
            ),
            (
                format!("[billing]\nsecret_key_file = {good:?}"),
                "and no [service]",
            ),
            (
                key("/nowhere"),
                "weir.toml:4: billing.secret_key_file: /nowhere: No such file",
            ),
            (key(&open), "can be used by others"),
            (key(&other), "holds no key of Stripe"),
            (key(&blank), "is blank"),
            (key(&long), "is too long"),
            (
                key(&good) + &format!("webhook_secret_files = [{other:?}, {other:?}, {other:?}]"),
                "weir.toml:5: billing.webhook_secret_files: found 3 files",
            ),
            (
                key(&good) + &format!("webhook_secret_files = [{open:?}]"),
                "can be used by others",
            ),
            (
                key(&live) + "api_url = \"http://127.0.0.1:1\"",
                "a live key",
            ),
            (
                key(&good) + "api_url = \"http://stripe.example\"",
                "only with a loopback host",
            ),
            (key(&good) + "meter = \"a b\"", "billing.meter"),
            (key(&good) + "grace = \"31d\"", "accepted: 0s to 30d"),
            (
                key(&good) + "finalize_after = \"59m\"",
                "accepted: 1h to 72h",
            ),
            (key(&good) + "unknown = 1", "billing.unknown: unknown key"),
        ] {
            let problems = parse(&text).unwrap_err();
            assert!(problems.contains(told), "{told} is not in\n{problems}");
            assert!(!problems.contains("hunter2"), "{problems}");
        }
    }

    #[test]
    fn the_variable_takes_the_place_of_the_key_file() {
        let folder = tempfile::tempdir().unwrap();
        let key = file(folder.path(), "key", "sk_test_1", 0o600);
        let text = format!("{SERVICE}[billing]\nsecret_key_file = \"/nowhere\"");
        let source = Source {
            name: "weir.toml",
            text: &text,
        };
        let mut problems = Problems::default();
        let parsed = source.parse(&mut problems);
        let mut root = Table::root(source, parsed.get_ref());
        let billing = root.table("billing", &mut problems);
        let read = read(billing, Some(key), true, &mut problems);
        assert!(read.is_some() && problems.is_empty(), "{problems}");
    }
}
