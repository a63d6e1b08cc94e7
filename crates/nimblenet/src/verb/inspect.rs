//! `nimblenet inspect`: shows the content of a file.

use std::path::PathBuf;

use anyhow::Context;
use nimblenet_pack::Needs;
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
/// If the file cannot be read, or its format is unknown.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let context = || format!("reading {}", args.file.display());
    let bytes = file::read_bytes(&args.file)?;
    let mut needs = None;
    let facts = if JobImage::recognise(&bytes) {
        job(&JobImage::decode(&bytes).with_context(context)?)
    } else {
        let content = file::tasklet(bytes).with_context(context)?;
        let (code, decoded) = (content.module(), content.package());
        needs = (!code.is_empty()).then(|| match &decoded {
            Some(package) => Needs::of(code, package.terms.memory_bytes),
            None => Needs::of_module(code, 0),
        });
        let facts = match &decoded {
            Some(decoded) => package(decoded, &content, needs.as_ref()),
            None => module(code, needs.as_ref()),
        };
        facts.with_context(context)?
    };
    if args.json {
        output::json(&facts)
    } else {
        output::text(&page(&facts, needs.as_ref()))
    }
}

fn module(code: &[u8], needs: Option<&Needs>) -> anyhow::Result<Json> {
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
        "needs": needs,
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

fn package(
    package: &Package<'_>,
    content: &file::Content,
    needs: Option<&Needs>,
) -> anyhow::Result<Json> {
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
        code => module(code, needs)?,
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

/// The document as a page: a row for each item.
fn page(facts: &Json, needs: Option<&Needs>) -> String {
    let mut page = String::new();
    match facts["kind"].as_str() {
        Some("package") => package_rows(&mut page, facts, needs),
        Some("module") => module_rows(&mut page, facts, needs),
        _ => job_rows(&mut page, facts),
    }
    page
}

fn package_rows(page: &mut String, facts: &Json, needs: Option<&Needs>) {
    let text = |key: &str| plain(&facts[key]);
    output::row(page, "tasklet", &text("name"));
    output::row(page, "executor", &text("executor"));
    let memory = format!("at most {} bytes of linear memory", text("memory_bytes"));
    output::row(page, "memory", &memory);
    let area = &facts["area"];
    if area["bytes"] != 0 {
        let (offset, bytes) = (plain(&area["offset"]), plain(&area["bytes"]));
        let area = format!("{bytes} bytes at {offset} for arguments and results");
        output::row(page, "area", &area);
    }
    output::row(page, "fuel", &format!("at most {}", text("fuel")));
    output::row(page, "cost", &text("cost"));
    for capability in list(&facts["capabilities"]) {
        output::row(page, "capability", &plain(capability));
    }
    for import in list(&facts["imports"]) {
        let text = |key: &str| plain(&import[key]);
        let import = format!("{} {}: {}", text("tasklet"), text("name"), text("signature"));
        output::row(page, "import", &import);
    }
    for export in list(&facts["exports"]) {
        let text = |key: &str| plain(&export[key]);
        output::row(page, "export", &format!("{}: {}", text("name"), text("signature")));
    }
    if facts["module"].is_object() {
        page.push('\n');
        module_rows(page, &facts["module"], needs);
    }
}

fn module_rows(page: &mut String, facts: &Json, needs: Option<&Needs>) {
    output::row(page, "module", &format!("{} bytes", plain(&facts["bytes"])));
    output::row(page, "digest", &plain(&facts["digest"]));
    let memory = &facts["memory"];
    if memory.is_object() {
        let text = |key: &str| plain(&memory[key]);
        let most = match needs.filter(|needs| !needs.at_least) {
            None => "and it grows".to_owned(),
            Some(needs) => format!("at most {}", needs.memory_bytes),
        };
        let (least, page_bytes) = (text("min_bytes"), text("page_bytes"));
        let memory = format!("{least} bytes at the start, {most}, in pages of {page_bytes}");
        output::row(page, "memory", &memory);
    }
    if let Some(needs) = needs {
        output::row(page, "run", &needs.to_string());
    }
    for import in list(&facts["imports"]) {
        let text = |key: &str| plain(&import[key]);
        let import = format!("{} {}: {}", text("module"), text("name"), text("type"));
        output::row(page, "import", &import);
    }
    for export in list(&facts["exports"]) {
        let text = |key: &str| plain(&export[key]);
        output::row(page, "export", &format!("{}: {}", text("name"), text("type")));
    }
    for section in list(&facts["sections"]) {
        let (name, bytes) = (plain(&section["section"]), plain(&section["bytes"]));
        output::row(page, "section", &format!("{name}, {bytes} bytes"));
    }
}

fn job_rows(page: &mut String, facts: &Json) {
    let fuel = match facts["fuel_at_start"].as_u64() {
        Some(u64::MAX) => "no limit on fuel".to_owned(),
        _ => format!("{} fuel at its start", plain(&facts["fuel_at_start"])),
    };
    let calls = plain(&facts["calls"]);
    output::row(page, "job", &format!("frozen at its call {calls} of a sub-tasklet, {fuel}"));
    // The outermost first.
    for activation in list(&facts["activations"]) {
        let text = |key: &str| plain(&activation[key]);
        output::row(page, "tasklet", &format!("{} {}", text("tasklet"), text("export")));
        output::row(page, "", &format!("image of {} bytes", text("image_bytes")));
        let memory = text("memory_ceiling_bytes");
        output::row(page, "", &format!("at most {memory} bytes of linear memory"));
        output::row(page, "", &text("digest"));
    }
}

fn list(items: &Json) -> impl Iterator<Item = &Json> {
    items.as_array().into_iter().flatten()
}

/// A value as text, without the quotes of JSON, and escaped, since it goes to a terminal.
fn plain(value: &Json) -> String {
    match value.as_str() {
        Some(text) => text.escape_debug().to_string(),
        None => value.to_string(),
    }
}
