//! The API of a node as an operator asks it: with the token that the cookie of the cluster gives.

use std::net::IpAddr;

use accounts::OperatorToken;
use anyhow::Context as _;

use crate::api::Api;
use crate::cli::{ApiArgs, OperatorArgs};
use crate::config::node::SecretSource;
use crate::secret::Secret;

/// A token would be sent where others can read it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} is no loopback address and no https: others could read the token on its way; accepted: https://HOST:PORT, or \
     --insecure with it"
)]
pub(crate) struct Exposed(String);

/// The API with an operator's token, in this tenant if one is named.
///
/// # Errors
///
/// [`Exposed`], and when the cookie cannot be read.
pub(crate) fn api(args: &OperatorArgs, tenant: Option<&str>) -> anyhow::Result<Api> {
    let url = &args.api.url;
    if !args.insecure && !is_safe(url) {
        return Err(Exposed(url.clone()).into());
    }
    let token = match &args.api.api_token {
        Some(token) => token.clone(),
        None => {
            let cookie = Secret::load(&cookie(args)?).context("the cookie")?;
            let token = OperatorToken::derive(cookie.expose().as_bytes());
            token.reveal().to_owned()
        }
    };
    let args = ApiArgs {
        url: url.clone(),
        api_token: Some(token),
    };
    Ok(Api::new(&args)?.within(tenant))
}

/// Where the node of this user finds it.
fn cookie(args: &OperatorArgs) -> anyhow::Result<SecretSource> {
    if let Some(path) = &args.cookie_file {
        return Ok(SecretSource::File(path.clone()));
    }
    if let Some(cookie) = &args.cookie {
        let secret = Secret::new(cookie).context("--cookie is blank")?;
        return Ok(SecretSource::Given(secret));
    }
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let home =
        home.context("this user has no home folder with a cookie: name it with --cookie-file")?;
    // Not one that a node would make: of a cookie that nobody knows there is no cluster.
    Ok(SecretSource::File(home.join(".weir.cookie")))
}

fn is_safe(url: &str) -> bool {
    let Some(host) = url.strip_prefix("http://") else {
        return true;
    };
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let host = host.trim_matches(['[', ']']);
    let is_loopback = host.parse::<IpAddr>().map(|address| address.is_loopback());
    is_loopback.unwrap_or_else(|_| host.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::is_safe;

    #[test]
    fn a_token_goes_where_nobody_listens() {
        for (url, safe) in [
            ("http://127.0.0.1:4000", true),
            ("http://[::1]:4000", true),
            ("http://localhost", true),
            ("https://weir.example.com", true),
            ("http://weir.example.com:4000", false),
            ("http://10.0.0.1", false),
            ("http://127.0.0.1.example.com", false),
        ] {
            assert_eq!(is_safe(url), safe, "{url}");
        }
    }
}
