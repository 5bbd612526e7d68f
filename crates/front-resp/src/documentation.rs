//! `COMMAND`: what this front's commands are called, and what they take.

use crate::command::{ANY, COMMANDS, Entry, find};
use crate::decode::Arguments;
use crate::reply::Reply;
use crate::session::{unknown_subcommand, wrong_number};

/// Answers `COMMAND`, as Redis 7 does.
///
/// # Errors
///
/// A subcommand that this front does not have, with its code and text.
pub(crate) fn answer(
    arguments: &Arguments<'_, '_>,
    reply: &mut Reply<'_>,
) -> Result<(), (&'static str, String)> {
    let Some(subcommand) = arguments.get(1) else {
        reply.array(COMMANDS.len());
        COMMANDS.iter().for_each(|entry| describe(entry, reply));
        return Ok(());
    };
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    let has_names = 2 < arguments.len();
    if is("COUNT") && !has_names {
        reply.integer(COMMANDS.len() as i64);
    } else if is("LIST") && !has_names {
        reply.array(COMMANDS.len());
        for entry in &COMMANDS {
            reply.bulk(entry.name.as_bytes());
        }
    } else if is("COUNT") || is("LIST") {
        let name = String::from_utf8_lossy(subcommand).to_ascii_lowercase();
        return Err(wrong_number(&format!("command|{name}")));
    } else if is("INFO") {
        if !has_names {
            reply.array(COMMANDS.len());
            COMMANDS.iter().for_each(|entry| describe(entry, reply));
            return Ok(());
        }
        reply.array(arguments.len() - 2);
        for name in arguments.from(2) {
            match find(name) {
                Some(entry) => describe(entry, reply),
                None => reply.null(),
            }
        }
    } else if is("DOCS") {
        let named = |entry: &&Entry| {
            !has_names
                || arguments
                    .from(2)
                    .any(|name| find(name).is_some_and(|it| std::ptr::eq(it, *entry)))
        };
        let entries = COMMANDS.iter().filter(named);
        reply.map(entries.clone().count());
        entries.for_each(|entry| document(entry, reply));
    } else {
        return Err(unknown_subcommand("COMMAND", subcommand));
    }
    Ok(())
}

/// Name, arity, flags, where its keys stand, categories, tips, key specifications, subcommands.
fn describe(entry: &Entry, reply: &mut Reply<'_>) {
    let (least, most) = (*entry.arguments.start(), *entry.arguments.end());
    // With the name; negative: or more.
    let arity = least as i64 + 1;
    reply.array(10);
    reply.bulk(entry.name.as_bytes());
    reply.integer(if least == most { arity } else { -arity });
    reply.array(1);
    reply.simple("fast");
    let key = i64::from(entry.key);
    for place in [key, key, key.min(1)] {
        reply.integer(place);
    }
    for _nothing in 0..4 {
        reply.array(0);
    }
}

fn document(entry: &Entry, reply: &mut Reply<'_>) {
    reply.bulk(entry.name.as_bytes());
    let takes_any = *entry.arguments.end() == ANY;
    let usage: Vec<&str> = entry
        .usage
        .split(' ')
        .filter(|word| !word.is_empty())
        .collect();
    // What is told here is a plain list of names: of commands with alternatives that is not so.
    let is_plain = !takes_any && !entry.usage.contains('|');
    reply.map(if is_plain { 4 } else { 3 });
    for (name, value) in [
        ("summary", entry.summary),
        ("since", "7.0.0"),
        ("group", "module"),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if !is_plain {
        return;
    }
    reply.bulk(b"arguments");
    reply.array(usage.len());
    for word in usage {
        let name = word.trim_matches(['[', ']']);
        let is_optional = word.starts_with('[');
        reply.map(if is_optional { 3 } else { 2 });
        reply.bulk(b"name");
        reply.bulk(name.as_bytes());
        reply.bulk(b"type");
        reply.bulk(b"string");
        if is_optional {
            reply.bulk(b"flags");
            reply.array(1);
            reply.simple("optional");
        }
    }
}
