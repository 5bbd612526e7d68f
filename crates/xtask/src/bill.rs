//! What the binary is made of: a bill of materials in CycloneDX's JSON, and the notices that go with it.
//!
//! Both are of what `weir` links on this machine's kind of system: no procedural macros, nothing of builds and tests. Our own crates are
//! not told apart from it: crates.io has others by their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::lock::Locked;
use crate::steps::{must, must_refuse};
use crate::tools::{self, cargo};

/// Has the schema of CycloneDX.
pub(crate) const VALIDATOR: &str = "cyclonedx-python-lib[json-validation]==11.12.0";

const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(wrong and f'invalid: {wrong}')
";

/// How the files are called that a licence or a notice is in.
const NOTICES: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "notice",
    "unlicense",
    "copyright",
];

/// Below a package's folder: `jemalloc/COPYING` is one, `aws-lc/third_party/fiat/LICENSE` another.
const NOTICE_DEPTH: usize = 4;

/// What nobody else's archive has to have.
const OUR_LICENCE: &str = "LICENSE";

/// A package that is linked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Part {
    name: String,
    version: String,
    /// As SPDX has it.
    licence: String,
    repository: String,
}

/// What is linked, and which of it wants which.
#[derive(PartialEq, Eq, Debug, Default)]
struct Bill {
    parts: BTreeMap<String, Part>,
    /// By what they are called there. What we want has no name.
    wants: BTreeMap<Option<String>, BTreeSet<String>>,
}

impl Part {
    /// What the world calls it.
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

impl Bill {
    /// Asks cargo.
    fn read() -> Result<Self> {
        let mut tree = cargo(["tree", "--locked", "--package", "weir"]);
        tree.args(["--edges", "normal,no-proc-macro"]);
        tree.args(["--prefix", "depth", "--format", "|{p}|{l}|{r}"]);
        Self::parse(&tools::output_of(tree)?)
    }

    /// A line is `2|anyhow v1.0.104|MIT OR Apache-2.0|https://…`, below what wants it; one of ours has its folder behind the version.
    fn parse(tree: &str) -> Result<Self> {
        let mut bill = Self::default();
        let mut path: Vec<Option<String>> = Vec::new();
        for line in tree.lines() {
            let fields: Vec<&str> = line.split('|').collect();
            let [depth, package, licence, repository] = fields[..] else {
                bail!("not understood of cargo tree: {line}");
            };
            path.truncate(depth.parse().context("the depth of a package")?);
            let words: Vec<&str> = package.split(' ').collect();
            let part = match words[..] {
                [name, version] => Some(Part {
                    name: name.to_owned(),
                    version: version.trim_start_matches('v').to_owned(),
                    licence: licence.replace(" / ", " OR ").replace('/', " OR "),
                    // What stands elsewhere too is marked at the end of the line.
                    repository: repository.trim_end_matches(" (*)").to_owned(),
                }),
                _ => None,
            };
            let purl = part.as_ref().map(Part::purl);
            if let Some(purl) = &purl {
                let by = path.last().cloned().flatten();
                bill.wants.entry(by).or_default().insert(purl.clone());
            }
            if let (Some(purl), Some(part)) = (purl.clone(), part) {
                bill.parts.insert(purl, part);
            }
            path.push(purl);
        }
        Ok(bill)
    }

    /// As CycloneDX has it. Without a time and a number: the same is the same.
    fn as_json(&self, locked: &[Locked]) -> Result<Value> {
        let version = env!("CARGO_PKG_VERSION");
        let weir = format!("pkg:generic/weir@{version}");
        let components: Vec<Value> = self
            .parts
            .iter()
            .map(|(purl, part)| {
                let found = locked
                    .iter()
                    .find(|it| it.name == part.name && it.version == part.version);
                let checksum = &found
                    .with_context(|| format!("{purl} is not locked"))?
                    .checksum;
                if part.licence.is_empty() {
                    bail!("{purl} names no licence");
                }
                let mut component = json!({
                    "type": "library",
                    "bom-ref": purl,
                    "name": part.name,
                    "version": part.version,
                    "purl": purl,
                    "licenses": [{ "expression": part.licence }],
                    "hashes": [{ "alg": "SHA-256", "content": checksum }],
                });
                if !part.repository.is_empty() {
                    let reference = json!([{ "type": "vcs", "url": part.repository }]);
                    component["externalReferences"] = reference;
                }
                Ok(component)
            })
            .collect::<Result<_>>()?;
        let none = BTreeSet::new();
        let wants = |by: Option<&String>| self.wants.get(&by.cloned()).unwrap_or(&none);
        let ours = json!({ "ref": weir, "dependsOn": wants(None) });
        let theirs = self.parts.keys();
        let theirs = theirs.map(|purl| json!({ "ref": purl, "dependsOn": wants(Some(purl)) }));
        let dependencies: Vec<Value> = [ours].into_iter().chain(theirs).collect();
        Ok(json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "component": {
                    "type": "application",
                    "bom-ref": weir,
                    "name": "weir",
                    "version": version,
                    "purl": weir,
                    "licenses": [{ "license": { "id": "MIT" } }],
                },
            },
            "components": components,
            "dependencies": dependencies,
        }))
    }
}

/// Writes `weir.cdx.json` and `THIRD-PARTY` into `folder`.
pub(crate) fn write(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    let bill = Bill::read()?;
    fs::create_dir_all(folder)?;
    let json = bill.as_json(&Locked::read()?)?;
    let json = serde_json::to_string_pretty(&json)?;
    fs::write(folder.join("weir.cdx.json"), json + "\n")?;
    fs::write(folder.join("THIRD-PARTY"), notices(&bill)?)?;
    Ok(())
}

/// Parts that are validated where every second counts: the validator compares each with each.
const FEW: usize = 20;

/// That what is written of a few parts is as the schema has it, that the schema would refuse another, and that no part is without a checksum,
/// a licence and its text.
pub(crate) fn check(python: &Path) -> Result<()> {
    let folder = tools::target_dir().join("supply");
    write(&folder)?;
    let mut bill = Bill::read()?;
    bill.parts = bill.parts.into_iter().take(FEW).collect();
    let json = bill.as_json(&Locked::read()?)?.to_string();
    let few = folder.join("few.cdx.json");
    fs::write(&few, &json)?;
    must(validator(python, &few))?;
    let wrong = folder.join("wrong.cdx.json");
    fs::write(&wrong, json.replace("SHA-256", "SHA-257"))?;
    must_refuse(validator(python, &wrong), "invalid")
}

/// What holds a bill against the schema, by a Python that has [`VALIDATOR`].
pub(crate) fn validator(python: &Path, bill: &Path) -> Command {
    let mut validate = Command::new(python);
    validate.args(["-c", VALIDATE]).arg(bill);
    validate
}

/// Which package is under which licence, and the texts, each once.
fn notices(bill: &Bill) -> Result<String> {
    let folders = folders()?;
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut told = String::from(
        "Weir is made of these as well, each under the licence beside it. The texts follow.\n\n",
    );
    for (purl, part) in &bill.parts {
        let title = format!("{} {}", part.name, part.version);
        writeln!(told, "{title}: {}", part.licence)?;
        let folder = folders.get(&(part.name.clone(), part.version.clone()));
        let folder = folder.with_context(|| format!("{purl} is nowhere"))?;
        let mut files = Vec::new();
        find_notices(folder, NOTICE_DEPTH, &mut files)?;
        for file in &files {
            let text = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
            let text = String::from_utf8_lossy(&text).replace("\r\n", "\n");
            texts
                .entry(text.trim_end().to_owned())
                .or_default()
                .insert(title.clone());
        }
        // Its repository has a text that its archive lacks. MIT is asked of by the words, Apache by whichever copy there is.
        if files.is_empty() && part.licence.split(' ').any(|word| word == "MIT") {
            let text = fs::read_to_string(OUR_LICENCE)?;
            let (_, text) = text.split_once("Permission").context("the text of MIT")?;
            let text = format!(
                "MIT License\n\nCopyright (c) its authors\n\nPermission{}",
                text.trim_end()
            );
            texts.entry(text).or_default().insert(title);
        } else if files.is_empty() && part.licence != "Apache-2.0" {
            bail!("{purl} has no text of {}", part.licence);
        }
    }
    for (text, titles) in texts {
        let titles: Vec<String> = titles.into_iter().collect();
        write!(
            told,
            "\n{}\n{}\n\n{text}\n",
            "-".repeat(80),
            titles.join(", ")
        )?;
    }
    Ok(told)
}

/// Where the source of each package is.
fn folders() -> Result<BTreeMap<(String, String), PathBuf>> {
    let metadata = tools::output_of(cargo(["metadata", "--locked", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let folder = |package: &Value| {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let name = (text(&package["name"]), text(&package["version"]));
        Some((name, manifest.parent()?.to_owned()))
    };
    Ok(packages.iter().filter_map(folder).collect())
}

fn find_notices(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    entries.sort();
    for entry in entries {
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let is_code = entry
            .extension()
            .is_some_and(|end| ["rs", "go", "py", "c", "h"].iter().any(|code| end == *code));
        if entry.is_dir() {
            if 0 < depth {
                find_notices(&entry, depth - 1, found)?;
            }
        } else if !is_code && NOTICES.iter().any(|notice| name.starts_with(notice)) {
            found.push(entry);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
0|weir v0.1.0 (/weir/crates/weir)|MIT|
1|accounts v0.1.0 (/weir/crates/accounts)|MIT|
2|argon2 v0.6.0|MIT OR Apache-2.0|https://example.com/argon2
3|fnv v1.0.7|Apache-2.0 / MIT|
1|fnv v1.0.7|Apache-2.0 / MIT| (*)
";

    fn locked(name: &str, version: &str) -> Locked {
        Locked {
            name: name.to_owned(),
            version: version.to_owned(),
            checksum: "ab".to_owned(),
        }
    }

    #[test]
    fn what_our_crates_want_is_wanted_by_the_binary() {
        let bill = Bill::parse(TREE).unwrap();
        let locked = [locked("argon2", "0.6.0"), locked("fnv", "1.0.7")];
        let json = bill.as_json(&locked).unwrap();
        let (argon, fnv) = ("pkg:cargo/argon2@0.6.0", "pkg:cargo/fnv@1.0.7");
        let expected = json!([
            { "ref": concat!("pkg:generic/weir@", env!("CARGO_PKG_VERSION")), "dependsOn": [argon, fnv] },
            { "ref": argon, "dependsOn": [fnv] },
            { "ref": fnv, "dependsOn": [] },
        ]);
        assert_eq!(json["dependencies"], expected);
        assert_eq!(
            json["components"][1]["licenses"][0]["expression"],
            "Apache-2.0 OR MIT"
        );
        assert_eq!(json["components"][1].get("externalReferences"), None);
    }

    #[test]
    fn what_is_not_locked_is_in_no_bill() {
        let bill = Bill::parse(TREE).unwrap();
        let error = bill.as_json(&[locked("argon2", "0.6.1")]).unwrap_err();
        assert_eq!(error.to_string(), "pkg:cargo/argon2@0.6.0 is not locked");
    }
}
