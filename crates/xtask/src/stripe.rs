//! The stand-in for Stripe, as Stripe's official library sees it.

use std::fs;

use anyhow::{Context as _, Result};

use crate::clients::{self, NODE, npm, within};
use crate::steps::{binary, must, must_counting};
use crate::tally::Tally;
use crate::tools;

/// Drives the stand-in with the library, and has its answers checked against the library's types: below `target`, so that the
/// tree stays as it is.
///
/// # Errors
///
/// When something of it cannot be had, or the library is answered as Stripe would not.
pub(crate) fn stripe(tally: &mut Tally) -> Result<()> {
    tools::install_missing(NODE)?;
    let fake = binary("fake-stripe", "FAKE_STRIPE")?;
    let folder = tools::target_dir().join("stripe");
    if folder.is_dir() {
        fs::remove_dir_all(&folder).context("removing what was tested before")?;
    }
    let sdk = tools::workspace_root()?.join("tests/fake-stripe/sdk");
    clients::copy(&sdk, &folder).context("copying tests/fake-stripe/sdk")?;
    must(npm(&folder, ["install"]))?;
    let mut drive = within(&folder, "node");
    drive.args(["--test", "--test-reporter=spec", "drive.mjs"]);
    drive.env("FAKE_STRIPE", fake);
    must_counting(drive, tally)?;
    // Of the answers, which the library does not look at.
    let mut types = within(&folder, folder.join("node_modules/.bin/tsc"));
    types.args(["--project", "."]);
    must(types)
}
