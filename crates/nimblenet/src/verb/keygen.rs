//! `nimblenet keygen`: makes a key to publish with.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ArgGroup;
use nimblenet_node::SigningKey;
use serde_json::json;

use super::publish;
use crate::failure::{Coded, EXISTS, misuse};
use crate::output;

/// Makes a key that signs what is published, and prints its public half.
///
/// The file is readable by its owner only and is never overwritten. Whoever has it can publish
/// into the namespaces that trust the key.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  nimblenet keygen -o shop.key\n  nimblenet keygen --show shop.key")]
#[command(group = ArgGroup::new("file").required(true))]
pub(crate) struct Args {
    /// File for the new key.
    #[arg(short, long, value_name = "FILE", group = "file")]
    output: Option<PathBuf>,
    /// Make no key, and print the public half of this one again.
    #[arg(long, value_name = "FILE", group = "file")]
    show: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the file exists or cannot be written; or, with --show, cannot be read.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let key = match (&args.output, &args.show) {
        (_, Some(path)) => publish::load_key(path)?,
        (Some(path), None) => make(path)?,
        (None, None) => return Err(misuse("-o FILE or --show FILE says which key").into()),
    };
    if args.json {
        output::json(&json!({ "public": key.public().to_string() }))
    } else {
        output::text(&key.public().to_string())
    }
}

fn make(path: &Path) -> anyhow::Result<SigningKey> {
    let shown = path.display();
    let key = SigningKey::generate().context("the system gave no random numbers")?;
    match key.create(path) {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let sentence = format!(
                "{shown} exists and is left as it is; choose another name, or print its public half with --show"
            );
            Err(Coded::new(EXISTS, sentence).into())
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {shown}")),
    }
}
