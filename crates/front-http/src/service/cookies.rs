//! The cookies of people: their session, and that a browser has logged in before.

use std::str;

use axum::http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use axum::response::Response;
use limiter::{Service, cookies};

/// Seconds for which a browser is remembered that has logged in: as long as browsers keep any cookie, 400 days.
const DEVICE_MAX_AGE: u64 = 400 * 24 * 60 * 60;

/// How the cookies of a service are called and set.
#[derive(Clone, Copy)]
pub(crate) struct Cookies {
    /// Reached by https, where a name with `__Host-` keeps other hosts of the domain from setting them.
    is_secure: bool,
    /// Seconds that a session lives at most.
    max_age: u64,
}

impl Cookies {
    pub(crate) fn of(service: &Service) -> Self {
        Self {
            is_secure: service.public_url.starts_with("https:"),
            max_age: service.spans.max,
        }
    }

    const fn session(self) -> &'static str {
        match self.is_secure {
            true => "__Host-weir_session",
            false => "weir_session",
        }
    }

    const fn device(self) -> &'static str {
        match self.is_secure {
            true => "__Host-weir_device",
            false => "weir_device",
        }
    }

    /// Has the browser keep a session.
    pub(crate) fn set_session(self, response: &mut Response, value: &str) {
        self.set(response, self.session(), value, self.max_age);
    }

    /// Has the browser keep that it has logged in.
    pub(crate) fn set_device(self, response: &mut Response, value: &str) {
        self.set(response, self.device(), value, DEVICE_MAX_AGE);
    }

    /// Has the browser forget its session.
    pub(crate) fn clear(self, response: &mut Response) {
        self.set(response, self.session(), "", 0);
    }

    fn set(self, response: &mut Response, name: &str, value: &str, max_age: u64) {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let cookie =
            format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
        let cookie = HeaderValue::try_from(cookie).expect("what is signed is ASCII");
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// The cookies that may be that of a session.
pub(crate) fn brought<'h>(service: &Service, headers: &'h HeaderMap) -> Vec<&'h str> {
    values(headers, Cookies::of(service).session())
}

/// The cookies that may tell that the browser has logged in before.
pub(crate) fn devices<'h>(service: &Service, headers: &'h HeaderMap) -> Vec<&'h str> {
    values(headers, Cookies::of(service).device())
}

fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    let values = cookies(headers, name);
    let texts = values.filter_map(|value| str::from_utf8(value).ok());
    texts.filter(|text| !text.is_empty()).collect()
}
