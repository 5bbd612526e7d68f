//! The configuration of envoyproxy/ratelimit, read as it is.
//!
//! The format is that of github.com/envoyproxy/ratelimit at commit f2fb157 (2026-07-05), `src/config/config_impl.go`.
//! Read: `domain`, nested `descriptors` with `key` and `value`, wildcards in values, `rate_limit` (`unit`,
//! `requests_per_unit`, `unlimited`, `name`, `replaces`), `shadow_mode`, `detailed_metric`. Whatever else stands in a file is
//! refused by its name and line.
//!
//! A limit counts by `fixed_window`, anchored at the epoch, a month being 30 days and a year 365, as there. Two
//! differences: a key with a `*` in it is refused, and a hit that is over the limit is not counted.

mod descriptors;
mod problem;
mod yaml;

use std::path::{Path, PathBuf};
use std::{fs, io};

pub use self::problem::Problem;
use crate::rules::Rules;

/// Largest file: some 100 000 limits.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Reads `paths` into `rules`: files, and of folders those files that end in `.yaml` or `.yml`, in the order of their names.
///
/// # Errors
///
/// Everything that is wrong with any of them.
pub fn load(paths: &[PathBuf], rules: &mut Rules) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    for path in paths {
        let place = path.display().to_string();
        let files = match files_of(path) {
            Ok(files) => files,
            Err(error) => {
                problems.push(unreadable(place, &error));
                continue;
            }
        };
        if files.is_empty() {
            problems.push(Problem {
                place,
                what: "no file in this folder".to_owned(),
                accepted: "files that end in .yaml or .yml".to_owned(),
            });
        }
        for file in files {
            let name = file.display().to_string();
            match read_text(&file) {
                Ok(text) => read(&name, &text, rules, &mut problems),
                Err(error) => problems.push(unreadable(name, &error)),
            }
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems),
    }
}

/// Reads one file, whose name is for messages. What is wrong is added to `problems`.
pub fn read(name: &str, text: &str, rules: &mut Rules, problems: &mut Vec<Problem>) {
    match yaml::parse(text) {
        Ok(node) => descriptors::read(name, node.as_ref(), rules, problems),
        Err(error) => problems.push(Problem {
            place: format!("{name}:{}", error.line),
            what: error.what,
            accepted: String::new(),
        }),
    }
}

fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| {
        let extension = file.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("yaml" | "yml")) && file.is_file()
    });
    files.sort();
    Ok(files)
}

fn read_text(file: &Path) -> io::Result<String> {
    if FILE_MAX < fs::metadata(file)?.len() {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    fs::read_to_string(file)
}

fn unreadable(place: String, error: &io::Error) -> Problem {
    Problem {
        place,
        what: format!("cannot be read: {error}"),
        accepted: String::new(),
    }
}

#[cfg(test)]
mod tests;
