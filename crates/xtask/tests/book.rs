//! `docs/` is a book of mdBook: it is built, every page has its place, every link leads somewhere, and what pages tell of the
//! code is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mdbook_driver::MDBook;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files below a folder that end so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found
}

/// What stands between `start` and the next quotation mark, wherever it stands.
fn quoted<'t>(text: &'t str, start: &'t str) -> impl Iterator<Item = &'t str> {
    let places = text.match_indices(start);
    places.filter_map(move |(place, _)| text[place + start.len()..].split('"').next())
}

#[test]
fn the_book_is_built_and_every_link_leads_somewhere() {
    let built = tempfile::tempdir().unwrap();
    let mut book = MDBook::load(root().join("docs")).unwrap();
    book.config.build.build_dir = built.path().to_owned();
    book.build().unwrap();
    let pages = files(built.path(), ".html");
    let mut dead = Vec::new();
    let mut links = 0;
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in quoted(&text, "href=\"") {
            let is_elsewhere = link.contains("://") || link.starts_with("mailto:");
            // The page of a missing page names its links from the root of a site that there is not.
            if is_elsewhere || link.starts_with('/') {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let leads = match fs::read_to_string(&target) {
                Ok(text) if !anchor.is_empty() => quoted(&text, "id=\"").any(|id| id == anchor),
                _ => target.exists(),
            };
            if !leads {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
    assert!(100 < links, "only {links} links were looked at");
}

#[test]
fn every_page_has_its_place_in_the_book() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed = summary.split("](").skip(1);
    let listed: BTreeSet<_> = listed.filter_map(|it| it.split(')').next()).collect();
    let pages = fs::read_dir(&docs).unwrap();
    let pages = pages.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let missing: Vec<_> = pages
        .filter(|name| name.ends_with(".md") && name != "SUMMARY.md")
        .filter(|name| !listed.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
}

#[test]
fn the_overview_of_http_has_every_request_and_no_other() {
    let overview = fs::read_to_string(root().join("docs/http.md")).unwrap();
    let served: BTreeSet<String> = ["openapi.json", "openapi_service.json"]
        .into_iter()
        .flat_map(|name| {
            let file = root().join("crates/front-http/src").join(name);
            let api = fs::read_to_string(file).unwrap();
            let api: serde_json::Value = serde_json::from_str(&api).unwrap();
            api["paths"].as_object().unwrap().clone()
        })
        .flat_map(|(path, methods)| {
            let methods: Vec<String> = methods.as_object().unwrap().keys().cloned().collect();
            let requests = methods.into_iter();
            requests.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let rows = overview.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|row| row.split(" | ").next());
    let told: BTreeSet<String> = rows
        .flat_map(|row| row.split(", "))
        .map(|request| request.trim_matches('`').to_owned())
        .collect();
    assert_eq!(told, served);
}

#[test]
fn the_page_on_the_redis_protocol_has_every_command_and_no_other() {
    let code = fs::read_to_string(root().join("crates/front-resp/src/command.rs")).unwrap();
    // Some names stand in the line after.
    let code: String = code.split_whitespace().collect();
    let served: BTreeSet<String> = quoted(&code, "entry(\"").map(str::to_uppercase).collect();
    let page = fs::read_to_string(root().join("docs/redis.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    // Errors begin with a dash.
    let rows = rows.filter(|row| !row.starts_with('-'));
    let rows = rows.filter_map(|row| row.split(" | ").next());
    let told: BTreeSet<String> = rows
        .flat_map(|row| row.split(", "))
        .filter_map(|usage| usage.trim_matches('`').split(' ').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(told, served);
}

/// Pages whose code is compiled or run.
const PAGES: [&str; 4] = [
    "README.md",
    "docs/programs.md",
    "docs/envoy.md",
    "docs/proxies.md",
];

/// Of each language, the folders that have such code.
const CODE: [(&str, &[&str]); 5] = [
    (
        "rust",
        &[
            "demo/axum-app/src",
            "crates/weir",
            "crates/layer",
            "crates/client",
            "crates/node",
        ],
    ),
    ("toml", &["demo"]),
    ("nginx", &["demo"]),
    ("caddyfile", &["demo"]),
    ("yaml", &["demo", "crates/front-grpc/tests"]),
];

/// What stands between fences, each with its language.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n'))
}

/// What of a file is compiled or run: of a library the examples of its documentation, without the lines that they hide.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut parts = file.strip_prefix(root()).unwrap().components();
    let is_library =
        parts.any(|part| part.as_os_str() == "src") && file.starts_with(root().join("crates"));
    if !is_library {
        return text;
    }
    let documentation = text.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("//!").or(line.strip_prefix("///"))
    });
    let documentation = documentation.collect::<Vec<_>>().join("\n");
    let examples = blocks(&documentation).filter(|(language, _)| language.is_empty());
    let shown = examples
        .flat_map(|(_, example)| example.lines())
        .filter(|line| line.trim() != "#" && !line.trim_start().starts_with("# "));
    shown.collect::<Vec<_>>().join("\n")
}

/// Whether `block` is made of lines that follow each other in `code`, however indented; a comment that begins with `…` stands
/// for those left out.
fn is_excerpt(block: &str, code: &str) -> bool {
    let [block, code] = [block, code].map(|text| {
        let lines = text.lines().map(str::trim);
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>()
    });
    let mut rest = &code[..];
    let is_gap = |line: &&str| ["// …", "# …"].iter().any(|gap| line.starts_with(gap));
    let runs = block.split(is_gap);
    runs.filter(|run| !run.is_empty()).all(|run| {
        let found = rest.windows(run.len()).position(|lines| lines == run);
        rest = &rest[found.map_or(0, |place| place + run.len())..];
        found.is_some()
    })
}

#[test]
fn code_on_a_page_is_an_excerpt_of_what_is_compiled_or_run() {
    for page in PAGES {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let mut checked = 0;
        for (language, block) in blocks(&text) {
            let Some((_, folders)) = CODE.iter().find(|(known, _)| *known == language) else {
                continue;
            };
            let files = folders
                .iter()
                .flat_map(|folder| files(&root().join(folder), ""));
            let is_there = files
                .map(|file| code(&file))
                .any(|code| is_excerpt(block, &code));
            assert!(
                is_there,
                "{page} has what is in no file of {folders:?}:\n{block}"
            );
            checked += 1;
        }
        assert_ne!(checked, 0, "{page}");
    }
}

/// Of a format that says its version: where the code has it, and how the page on upgrading begins to tell it.
const VERSIONS: [(&str, &str, &str); 5] = [
    (
        "transport/src/handshake.rs",
        "pub const VERSION: u16 = ",
        "the first bytes of a connection; now ",
    ),
    (
        "cluster/src/wire.rs",
        "pub const VERSION: u8 = ",
        "its first byte; now up to ",
    ),
    (
        "coordinator-raft/src/wire.rs",
        "const VERSION: u8 = ",
        "their first byte; now ",
    ),
    (
        "store/src/directory.rs",
        "const FORMAT: u32 = ",
        "`format`, a text; now `format ",
    ),
    (
        "store/src/log.rs",
        "const FORMAT: u32 = ",
        "the head of `counts.log`; now ",
    ),
];

#[test]
fn the_page_on_upgrading_tells_the_versions_that_the_code_has() {
    let page = fs::read_to_string(root().join("docs/upgrading.md")).unwrap();
    let number = |text: &str, start: &str| {
        let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{start}"));
        let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap();
        rest[..end].parse::<u32>().unwrap()
    };
    for (file, code, told) in VERSIONS {
        let source = fs::read_to_string(root().join("crates").join(file)).unwrap();
        assert_eq!(number(&page, told), number(&source, code), "{file}");
    }
}
