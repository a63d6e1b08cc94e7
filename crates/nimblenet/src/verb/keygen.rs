//! `nimblenet keygen`: makes a key to publish with.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Context;
use nimblenet_node::SigningKey;
use serde_json::json;

use crate::failure::{Coded, EXISTS};
use crate::output;

/// Makes a key that signs what is published, and prints its public half.
///
/// The file is readable by its owner only and is never overwritten. Whoever has it can publish
/// into the namespaces that trust the key.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  nimblenet keygen -o shop.key")]
pub(crate) struct Args {
    /// File for the new key.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the file exists or cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let path = args.output.display();
    let key = SigningKey::generate().context("the system gave no random numbers")?;
    match key.create(&args.output) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let sentence = format!("{path} exists and is left as it is; choose another name");
            return Err(Coded::new(EXISTS, sentence).into());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {path}")),
    }
    if args.json {
        output::json(&json!({ "public": key.public().to_string() }))
    } else {
        output::text(&key.public().to_string())
    }
}
