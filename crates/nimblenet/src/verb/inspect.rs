//! `nimblenet inspect`: shows what is in a file.

use std::path::PathBuf;

use anyhow::Context;
use nimblenet_tasklet::{Digest, Package};
use nimblenet_wasm::Module;
use serde_json::{Value as Json, json};

use crate::local::{JobImage, Shape, file};
use crate::output;

/// Shows what is in a module, a package or the image of a job, without running anything.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet inspect rms.nnp\n  \
    nimblenet inspect job.img --json")]
pub(crate) struct Args {
    /// Module (binary or text), package or job image.
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the file cannot be read, or holds nothing known.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let context = || format!("reading {}", args.file.display());
    let bytes = file::read_bytes(&args.file)?;
    let facts = if JobImage::recognise(&bytes) {
        job(&JobImage::decode(&bytes).with_context(context)?)
    } else {
        let content = file::tasklet(bytes).with_context(context)?;
        match content.package() {
            Some(decoded) => package(&decoded, &content).with_context(context)?,
            None => module(content.module()).with_context(context)?,
        }
    };
    if args.json {
        output::json(&facts)
    } else {
        let mut text = String::new();
        write(&mut text, &facts, 0);
        output::text(&text)
    }
}

fn module(code: &[u8]) -> anyhow::Result<Json> {
    let shape = Shape::of(code)?;
    let sections = Module::parse(code)?.sections().map(|section| {
        let name = match section.id {
            0 => section.name,
            id => SECTIONS.get(usize::from(id)).copied().unwrap_or("unknown"),
        };
        json!({"section": name, "bytes": section.end - section.start})
    });
    let memory = shape.memory.map(|memory| {
        json!({
            "min_bytes": memory.min_bytes,
            "max_bytes": memory.max_bytes,
            "page_bytes": memory.page_bytes,
        })
    });
    let imports = shape.imports.iter().map(|(module, function)| {
        json!({"module": module, "name": function.name, "type": function.to_string()})
    });
    let exports = shape.exports.iter();
    let exports =
        exports.map(|function| json!({"name": function.name, "type": function.to_string()}));
    Ok(json!({
        "kind": "module",
        "bytes": code.len(),
        "digest": Digest::of(code).to_string(),
        "memory": memory,
        "imports": imports.collect::<Json>(),
        "exports": exports.collect::<Json>(),
        "sections": sections.collect::<Json>(),
    }))
}

/// The names of sections, by their ids.
const SECTIONS: [&str; 13] = [
    "custom",
    "type",
    "import",
    "function",
    "table",
    "memory",
    "global",
    "export",
    "start",
    "element",
    "code",
    "data",
    "data count",
];

fn package(package: &Package<'_>, content: &file::Content) -> anyhow::Result<Json> {
    let terms = &package.terms;
    let exports = terms.exports();
    let exports = exports.map(|it| {
        let names = content.param_names(it.name);
        json!({"name": it.name, "signature": nimblenet_pack::named(&it.signature, &names)})
    });
    let imports = package.imports().map(|it| {
        json!({
            "tasklet": it.name.to_string(),
            "name": it.export,
            "signature": it.signature.to_string(),
        })
    });
    let module = match package.module {
        [] => Json::Null,
        code => module(code)?,
    };
    Ok(json!({
        "kind": "package",
        "name": package.name.to_string(),
        "executor": terms.executor.name(),
        "exports": exports.collect::<Json>(),
        "imports": imports.collect::<Json>(),
        "memory_bytes": terms.memory_bytes,
        "fuel": terms.fuel,
        "cost": terms.cost,
        "area": {"offset": terms.area.offset, "bytes": terms.area.len},
        "capabilities": terms.capabilities.iter().map(|it| it.name()).collect::<Json>(),
        "module": module,
    }))
}

fn job(image: &JobImage) -> Json {
    let activations = image.activations.iter().map(|saved| {
        json!({
            "tasklet": saved.name.to_string(),
            "export": saved.export,
            "digest": saved.digest.to_string(),
            "memory_ceiling_bytes": saved.memory_bytes,
            "image_bytes": saved.image.len(),
        })
    });
    json!({
        "kind": "job image",
        "fuel_at_start": image.fuel,
        "calls": image.calls,
        "activations": activations.collect::<Json>(),
    })
}

/// Writes a document as indented lines, `key: value`.
fn write(text: &mut String, document: &Json, depth: usize) {
    let indent = "  ".repeat(depth);
    for (key, value) in document.as_object().into_iter().flatten() {
        if value.is_object() || value.as_array().is_some_and(|items| !items.is_empty()) {
            text.push_str(&format!("{indent}{key}:\n"));
            write(text, value, depth + 1);
        } else if !value.is_null() && !value.is_array() {
            text.push_str(&format!("{indent}{key}: {}\n", plain(value)));
        }
    }
    for item in document.as_array().into_iter().flatten() {
        // An item of a list is short enough for one line.
        let line = match item.as_object() {
            Some(fields) => {
                let fields = fields
                    .iter()
                    .map(|(key, value)| format!("{key} {}", plain(value)));
                fields.collect::<Vec<_>>().join(", ")
            }
            None => plain(item),
        };
        text.push_str(&format!("{indent}- {line}\n"));
    }
}

/// A value as text, without the quotes of JSON.
fn plain(value: &Json) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
