//! `nimblenet new`: makes a folder with a first tasklet.

use std::path::PathBuf;

use anyhow::Context;
use nimblenet_tasklet::{Name, TaskletName};
use serde_json::json;

use crate::output;
use crate::project::{Language, Template};

/// The namespace of a tasklet whose name has none.
const NAMESPACE: &str = "local";

/// Makes a folder with a tasklet to begin with: source, manifest, tests and a README.
///
/// The tasklet is the mean of a list. The folder is called like the tasklet and is made here; one
/// that exists is left as it is.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet new shop/loudness --lang c\n  \
    nimblenet new loudness --lang rust        # local/loudness")]
pub(crate) struct Args {
    /// Name of the tasklet: NAMESPACE/NAME, or NAME for one in the namespace `local`.
    #[arg(value_name = "NAME", value_parser = name)]
    name: TaskletName,
    /// Language of the source.
    #[arg(long, value_name = "LANGUAGE")]
    lang: Language,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the folder exists or cannot be made.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let template = Template {
        name: args.name,
        language: args.lang,
    };
    let folder = PathBuf::from(args.name.name.as_str());
    let files = template.write(&folder).context("no tasklet was made")?;
    let name = args.name.to_string();
    if args.json {
        let folder = folder.display().to_string();
        return output::json(&json!({"name": name, "folder": folder, "files": files}));
    }
    let folder = folder.display();
    let files: Vec<_> = files.iter().map(|file| format!("  {folder}/{file}")).collect();
    output::text(&format!(
        "{name} in {}, in the folder {folder}:\n{}\nGo on with\n  cd {folder}\n{}  \
         nimblenet dev . '[1, 2, 6]'",
        args.lang.name(),
        files.join("\n"),
        if args.lang == Language::As {
            "  npm install\n"
        } else {
            ""
        },
    ))
}

fn name(text: &str) -> Result<TaskletName, String> {
    let full = match text.contains('/') {
        true => TaskletName::new(text),
        false => Name::new(text).map(|name| TaskletName {
            namespace: Name::new(NAMESPACE).expect("a good name"),
            name,
        }),
    };
    let full = full.map_err(|error| error.to_string())?;
    if full.name.as_str().starts_with('-') {
        return Err("the folder that is called like it would be taken for an option; begin the \
                    name with a letter or a digit"
            .to_owned());
    }
    Ok(full)
}
