//! `[[route]]`: HTTP routes that a limit protects.

use super::problem::Problems;
use super::table::Table;

/// A protected HTTP route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Begins with `/`; matched exactly.
    pub path: String,
    /// Name of the limit that counts its requests.
    pub limit: String,
    /// Who is counted: the first that a request brings. Not empty.
    pub identify: Vec<Identify>,
    /// What an admitted request is answered with.
    pub answer: Answer,
}

/// What tells one client from another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identify {
    /// The value of a request header, named in any case.
    Header(String),
    /// The value of a query parameter.
    Query(String),
    /// The value of a cookie.
    Cookie(String),
    /// A browser, by a signed cookie that it is given.
    Browser,
    /// The address of the client.
    Peer,
}

/// What an admitted request is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A small HTML page.
    Page,
    /// A line of text that greets whom it counts; without anybody to count, 401 `User ID Required`.
    Greeting,
    /// JSON.
    Json,
    /// JSON with what is left of the limit. Counts nothing.
    Peek,
}

/// Paths that the API serves itself: a route there would shadow it, or be shadowed.
const OWN_PATHS: [&str; 8] = [
    "/health",
    "/ready",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/api/limits",
    "/api/check",
    "/throttle",
];
const OWN_PREFIXES: [&str; 5] = ["/v1/", "/rate/", "/auth/", "/api/limits/", "/problems/"];

/// Where a service for many has its pages, and below.
const PAGES: [&str; 10] = [
    "/dashboard",
    "/login",
    "/logout",
    "/sign-up",
    "/invite",
    "/recover",
    "/reset",
    "/theme",
    "/assets",
    "/stripe",
];

/// Bytes of a header's name. More than any has, and less than the 64 KiB that the HTTP library takes.
const HEADER_NAME_MAX: usize = 1_024;

/// Reads every `[[route]]`. `limits` are the names that a route may give. A service for many has pages beside.
pub(crate) fn read(
    tables: Vec<Table<'_>>,
    limits: &[String],
    has_pages: bool,
    problems: &mut Problems,
) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for mut table in tables {
        let accepted = match has_pages {
            false => "a path that begins with / and is not one of the API's own",
            true => "a path that begins with / and is not one of the API's own or of a page",
        };
        table.missing("path", accepted, problems);
        let path = table.string("path", problems).and_then(|given| {
            if routes.iter().any(|route| route.path == given.value) {
                problems.bad_value(&given, "a path of its own; an earlier route has this one");
            }
            problems.parse(&given, accepted, |path| {
                is_free(path, has_pages).then(|| path.to_owned())
            })
        });
        table.missing("limit", "the name of a limit", problems);
        let limit = table.string("limit", problems).and_then(|given| {
            let accepted = format!("the name of a limit: {}", sorted(limits));
            problems.parse(&given, &accepted, |name| {
                limits
                    .iter()
                    .any(|limit| limit == name)
                    .then(|| name.to_owned())
            })
        });
        let identify = read_identify(&mut table, problems);
        let answer = match table.string("answer", problems) {
            Some(given) => problems.choose(
                &given,
                &[
                    ("page", Answer::Page),
                    ("greeting", Answer::Greeting),
                    ("json", Answer::Json),
                    ("peek", Answer::Peek),
                ],
            ),
            None => Some(Answer::Json),
        };
        table.not_yet("upstream", problems);
        table.finish(problems);
        if let (Some(path), Some(limit), Some(answer)) = (path, limit, answer) {
            routes.push(Route {
                path,
                limit,
                identify,
                answer,
            });
        }
    }
    routes
}

fn read_identify(table: &mut Table<'_>, problems: &mut Problems) -> Vec<Identify> {
    const ACCEPTED: &str = "[{ header = \"X-User-Id\" }, { query = \"name\" }, { cookie = \"sid\" }, { browser = true }, \
                            { peer = true }], at least one of them";
    table.missing("identify", ACCEPTED, problems);
    let entries = table.tables("identify", problems);
    if table.is_empty_array("identify") {
        problems.add(&table.place_of_key("identify"), "found []", ACCEPTED);
    }
    entries
        .into_iter()
        .filter_map(|entry| read_identity(entry, problems))
        .collect()
}

fn read_identity(mut entry: Table<'_>, problems: &mut Problems) -> Option<Identify> {
    let place = entry.place();
    let keys = entry.len();
    let header = entry.string("header", problems).and_then(|given| {
        problems.parse(&given, "the name of a header", |name| {
            let is_short = name.len() <= HEADER_NAME_MAX;
            (is_short && is_token(name)).then(|| Identify::Header(name.to_owned()))
        })
    });
    let query = entry.string("query", problems).and_then(|given| {
        let accepted = "the name of a query parameter";
        problems.parse(&given, accepted, |name| {
            (!name.is_empty()).then(|| Identify::Query(name.to_owned()))
        })
    });
    let cookie = entry.string("cookie", problems).and_then(|given| {
        problems.parse(&given, "the name of a cookie", |name| {
            is_token(name).then(|| Identify::Cookie(name.to_owned()))
        })
    });
    let browser = entry
        .only_true("browser", problems)
        .map(|()| Identify::Browser);
    let peer = entry.only_true("peer", problems).map(|()| Identify::Peer);
    entry.finish(problems);
    if keys != 1 {
        problems.add(
            &place,
            format!("{keys} keys"),
            "one key in each { … }: what comes first in the list is tried first",
        );
    }
    header.or(query).or(cookie).or(browser).or(peer)
}

fn is_free(path: &str, has_pages: bool) -> bool {
    let plain = path.starts_with('/')
        && path
            .chars()
            .all(|char| char.is_ascii_graphic() && !"?#{}*".contains(char));
    let own =
        OWN_PATHS.contains(&path) || OWN_PREFIXES.iter().any(|prefix| path.starts_with(prefix));
    let is_at = |page: &str| {
        let rest = path.strip_prefix(page);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_page = has_pages && PAGES.into_iter().any(is_at);
    plain && !own && !is_page
}

/// Whether `name` is a token in the sense of RFC 9110, section 5.6.2, as names of headers and cookies are.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char))
}

fn sorted(names: &[String]) -> String {
    let mut names = names.to_vec();
    names.sort();
    names.join(", ")
}
