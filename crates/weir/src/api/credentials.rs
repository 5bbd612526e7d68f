//! What an operator proves himself with: a token that the cookie of the cluster gives.

use std::net::IpAddr;

use accounts::OperatorToken;

use super::ApiError;
use crate::cli::ApiArgs;
use crate::config::node::SecretSource;
use crate::secret::Secret;

/// The token of the cookie that is named, if one is.
pub(super) fn given(args: &ApiArgs) -> Result<Option<String>, ApiError> {
    let source = match (&args.cookie_file, &args.cookie) {
        (Some(path), _) => SecretSource::File(path.clone()),
        (None, Some(cookie)) => SecretSource::Given(Secret::new(cookie).ok_or(ApiError::NoCookie)?),
        (None, None) => return Ok(None),
    };
    if !args.insecure && !is_safe(&args.url) {
        return Err(ApiError::Exposed(args.url.clone()));
    }
    token(&source).map(Some)
}

/// The token of the cookie that a node of this user finds. It is not made: of a cookie that nobody knows there is no cluster.
pub(super) fn own() -> Result<String, ApiError> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let home = home.ok_or(ApiError::NoCookie)?;
    token(&SecretSource::File(home.join(".weir.cookie")))
}

fn token(source: &SecretSource) -> Result<String, ApiError> {
    let cookie = Secret::load(source)?;
    let token = OperatorToken::derive(cookie.expose().as_bytes());
    Ok(token.reveal().to_owned())
}

/// Whether what is sent there can be read by nobody else.
pub(super) fn is_safe(url: &str) -> bool {
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
