//! `weir service`: all that a service for many has, in a file.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::Outcome;
use crate::api::{Api, segment};
use crate::cli::ServiceCommand;

/// Records of a page, and taken in at once.
const AT_ONCE: usize = 500;

const PATH: &str = "/v1/service/records";

/// Exports or imports.
///
/// # Errors
///
/// When the node cannot be asked, or the file not be written or read; of an import what came before is taken in.
pub(crate) fn service(command: &ServiceCommand) -> anyhow::Result<Outcome> {
    let (told, operator) = match command {
        ServiceCommand::Export { file, operator } => {
            let count = export(&Api::of_operator(&operator.api, None)?, file)?;
            (json!({ "records": count }), operator)
        }
        ServiceCommand::Import { file, operator } => {
            let told = import(&Api::of_operator(&operator.api, None)?, file)?;
            (told, operator)
        }
    };
    Ok(Outcome::success(match operator.json {
        true => format!("{told}\n"),
        false => tell(&told),
    }))
}

fn export(api: &Api, path: &Path) -> anyhow::Result<usize> {
    let shown = path.display();
    let mut file = OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(path);
    let mut file = BufWriter::new(file.with_context(|| format!("making {shown}"))?);
    let (mut count, mut query) = (0, format!("?count={AT_ONCE}"));
    loop {
        let answer = api.get(&format!("{PATH}{query}"))?;
        let page = api.expect(&answer, &[200])?;
        for record in page["items"].as_array().into_iter().flatten() {
            writeln!(file, "{record}").with_context(|| format!("writing {shown}"))?;
            count += 1;
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("?count={AT_ONCE}&after={}", segment(next));
    }
    let file = file
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error);
    let synced = file.and_then(|file| file.sync_all());
    synced.with_context(|| format!("writing {shown}"))?;
    Ok(count)
}

fn import(api: &Api, path: &Path) -> anyhow::Result<Value> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("opening {shown}"))?;
    let (mut count, mut new, mut pending) = (0, 0, String::new());
    let mut records = Vec::new();
    let mut take_in = |records: &mut Vec<Value>| -> anyhow::Result<()> {
        let answer = api.post(PATH, &json!({ "records": std::mem::take(records) }))?;
        new += api.expect(&answer, &[200])?["new"]
            .as_u64()
            .unwrap_or_default();
        pending = answer.not_confirmed();
        Ok(())
    };
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("reading {shown}"))?;
        let record = serde_json::from_str::<Value>(&line).ok();
        let Some(record) = record.and_then(|record| record["record"].as_str().map(Into::into))
        else {
            bail!("{shown}, line {}: no record of an export", number + 1);
        };
        records.push(record);
        count += 1;
        if records.len() == AT_ONCE {
            take_in(&mut records)?;
        }
    }
    if !records.is_empty() {
        take_in(&mut records)?;
    }
    Ok(json!({ "records": count, "new": new, "pending": pending.trim_end() }))
}

fn tell(told: &Value) -> String {
    let count = &told["records"];
    let Some(new) = told["new"].as_u64() else {
        return format!("{count} records\n");
    };
    let mut text = format!("{count} records, {new} of them new\n");
    if let Some(pending) = told["pending"]
        .as_str()
        .filter(|pending| !pending.is_empty())
    {
        text.push_str(&format!("{pending}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_the_records_is_told() {
        assert_eq!(tell(&json!({ "records": 3 })), "3 records\n");
        let told = json!({ "records": 3, "new": 1, "pending": "" });
        assert_eq!(tell(&told), "3 records, 1 of them new\n");
        let told = json!({ "records": 3, "new": 1, "pending": "not confirmed: oskar3" });
        let lines = "3 records, 1 of them new\nnot confirmed: oskar3\n";
        assert_eq!(tell(&told), lines);
    }
}
