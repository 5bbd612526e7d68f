//! What `Cargo.lock` says of packages. Cargo writes it one key a line, so that no reader of TOML is wanted.

use std::fs;

use anyhow::{Context, Result};

/// A package of a registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Locked {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SHA-256 of the archive, in hex.
    pub(crate) checksum: String,
}

impl Locked {
    /// All of them, our own left out.
    pub(crate) fn read() -> Result<Vec<Self>> {
        let lock = fs::read_to_string("Cargo.lock").context("reading Cargo.lock")?;
        Ok(Self::parse(&lock))
    }

    fn parse(lock: &str) -> Vec<Self> {
        let field = |package: &str, name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.strip_prefix(" = "));
            value.map(|value| value.trim_matches('"').to_owned())
        };
        let packages = lock.split("[[package]]").skip(1);
        packages
            .filter_map(|package| {
                Some(Self {
                    name: field(package, "name")?,
                    version: field(package, "version")?,
                    checksum: field(package, "checksum")?,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_a_registry_are_read_and_ours_are_not() {
        let lock = "version = 4\n\n[[package]]\nname = \"accounts\"\nversion = \"0.1.0\"\n\n\
                    [[package]]\nname = \"anyhow\"\nversion = \"1.0.104\"\nsource = \"registry\"\nchecksum = \"ab\"\n\
                    dependencies = [\n \"serde\",\n]\n";
        let anyhow = Locked {
            name: "anyhow".to_owned(),
            version: "1.0.104".to_owned(),
            checksum: "ab".to_owned(),
        };
        assert_eq!(Locked::parse(lock), [anyhow]);
    }
}
