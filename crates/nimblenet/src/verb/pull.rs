//! `nimblenet pull`: writes a published tasklet to a file.

use std::path::PathBuf;

use anyhow::{Context, bail};
use nimblenet_core::Catalogue;
use nimblenet_node::remote::Remote;
use nimblenet_tasklet::{Entry, Fault, NamedImport, NamespaceId, PackageFields, TaskletName};
use serde_json::json;

use crate::failure::Coded;
use crate::keys::KeyArgument;
use crate::outlet;
use crate::output;
use crate::remote::{Address, Patience};

/// The most bytes of a package besides its module.
const PACKAGE_BYTES: usize = 8192;

/// Fetches a published tasklet: its bare WebAssembly module into a file that ends in .wasm, else
/// a package, which has its terms too.
///
/// The module is checked against the digest in the catalogue and, with --key, the catalogue
/// against the key that must have signed it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet pull shop/rms --registry 127.0.0.1:5683 -o rms.nnp\n  \
    nimblenet pull shop/rms --registry 127.0.0.1:5683 -o rms.wasm")]
pub(crate) struct Args {
    /// The tasklet.
    #[arg(value_name = "NS/NAME")]
    name: TaskletName,
    /// CoAP address of the registry.
    #[arg(long, value_name = "ADDR")]
    registry: Address,
    /// File to write: a module if it ends in .wasm, else a package.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Key that the namespace must belong to: its public half in hexadecimal digits, or a key file.
    #[arg(long, value_name = "KEY")]
    key: Option<KeyArgument>,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If there is no such tasklet, or the received bytes are not those that the catalogue names.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (bytes, version) = args.patience.ask(&args.registry, async |wait| {
        let mut registry = wait.connect(&args.registry).await?;
        let fetched = fetch(&mut registry, args).await;
        fetched.with_context(|| format!("pulling {} from {} failed", args.name, args.registry))
    })?;
    outlet::write(&args.output, &bytes)?;
    if args.json {
        let name = args.name.to_string();
        return output::json(&json!({ "name": name, "version": version, "bytes": bytes.len() }));
    }
    output::text(&format!(
        "{} version {version}, {} bytes",
        args.name,
        bytes.len()
    ))
}

async fn fetch(registry: &mut Remote, args: &Args) -> anyhow::Result<(Vec<u8>, u16)> {
    let namespace = &args.name.namespace;
    let catalogue = match &args.key {
        Some(key) => registry.signed_catalogue(namespace, &key.public()?).await?,
        None => registry.catalogue(namespace).await?,
    };
    let entry = catalogue.find(&args.name.name);
    let is_dictionary = |it: &Entry<'_>| it.is_dictionary() && it.name == args.name.name;
    let entry = entry.ok_or_else(|| match catalogue.entries().any(|it| is_dictionary(&it)) {
        true => dictionary(&args.name),
        false => Coded::new(
            Fault::UnknownTasklet.code(),
            "unknown-tasklet: nothing of that name is published there; `nimblenet ls` lists what is",
        ),
    })?;
    let module = if entry.has_module() {
        registry.expanded(&catalogue, &entry).await?
    } else {
        Vec::new()
    };
    if args.output.extension().is_some_and(|kind| kind == "wasm") {
        if module.is_empty() {
            bail!("a native tasklet has no module; give the file another name than .wasm");
        }
        return Ok((module, entry.sequence));
    }
    let imports = imports(registry, &catalogue, &entry).await?;
    let fields = PackageFields {
        name: args.name,
        terms: entry.terms,
        imports: &imports,
        module: &module,
    };
    let mut bytes = vec![0; module.len() + PACKAGE_BYTES];
    let len = fields
        .encode(&mut bytes)
        .context("the entry is too large")?;
    bytes.truncate(len);
    Ok((bytes, entry.sequence))
}

/// The error that a name is that of a dictionary.
pub(super) fn dictionary(name: &TaskletName) -> Coded {
    let sentence = format!(
        "is-dictionary: {name} is no tasklet, but what the modules of {} have in common; they are compressed with it, and \
         need it as long as one of them is published",
        name.namespace
    );
    Coded::new("is-dictionary", sentence)
}

/// Finds the names of the tasklets that an entry calls.
async fn imports<'e>(
    registry: &mut Remote,
    own: &Catalogue,
    entry: &Entry<'e>,
) -> anyhow::Result<Vec<NamedImport<'e>>> {
    let mut others = Vec::new();
    if entry.imports().any(|import| import.namespace != own.id()) {
        for summary in registry.namespaces().await? {
            others.push(registry.catalogue(&summary.name).await?);
        }
    }
    let mut named = Vec::new();
    for import in entry.imports() {
        let known = |held: &&Catalogue| NamespaceId::of(held.name()) == import.namespace;
        let catalogue = others.iter().chain([own]).find(known);
        let callee = catalogue.and_then(|held| {
            let name = held.entry(import.number)?.name;
            let namespace = *held.name();
            Some(TaskletName { namespace, name })
        });
        named.push(NamedImport {
            name: callee.context("it calls a tasklet of a namespace that is not there")?,
            export: import.export,
            signature: import.signature,
        });
    }
    Ok(named)
}
