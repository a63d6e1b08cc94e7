//! `nimblenet provision`: who a board is, as a file for its flash.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use nimblenet_core::{NamespaceConfig, Provision};
use nimblenet_node::{PublicKey, SigningKey};
use nimblenet_tasklet::{Capabilities, Capability, Name, NodeId};
use serde_json::json;

use crate::{output, uf2};

/// Where the record stands (spec/board.md, section 3).
const ADDRESS: u32 = 0x101f_f000;
const SECTOR_BYTES: usize = 4096;
const ERASED: u8 = 0xff;

/// Writes the file that tells a board who it is.
///
/// All boards run the same image; their id and their namespaces stand in a sector of their own.
/// Plug the board in with BOOTSEL held and copy the file onto the drive that appears, before or
/// after the image, each time anew: the board restarts after each file.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet provision --id 7 --namespace shop=shop.key@65534 -o board-7.uf2\n  \
    nimblenet provision --id 8 --namespace shop=d75a98...511a@65534:sensor,log \\\n      \
    --namespace std=std.key@65533 -o board-8.uf2")]
pub(crate) struct Args {
    /// The board's id, unique in the mesh; 0 to 65534.
    #[arg(long)]
    id: u16,
    /// A namespace that it takes tasklets from; up to four.
    ///
    /// KEY is what signs the catalogue: 64 hexadecimal digits, or a key file, of which only the
    /// public half is used. REGISTRY is the id of the only registry that is asked. CAP is what the
    /// tasklets may use of the board: sensor, actuator, clock, log, kv, random; nothing if left
    /// out.
    #[arg(long = "namespace", value_name = "NAME=KEY@REGISTRY[:CAP,CAP...]")]
    namespaces: Vec<NamespaceArgument>,
    /// File to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write the 4096 bytes of the sector as they are, instead of UF2.
    #[arg(long)]
    raw: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If a key file cannot be read, no board can have the id or the namespaces, or the file cannot be
/// written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let namespaces = args.namespaces.iter().map(NamespaceArgument::config);
    let namespaces = namespaces.collect::<anyhow::Result<_>>()?;
    let provision = Provision::new(NodeId(args.id), namespaces);
    let provision = provision.context("a board cannot be provisioned so")?;
    let mut sector = provision.encode();
    sector.resize(SECTOR_BYTES, ERASED);
    let file = if args.raw {
        sector
    } else {
        uf2::file(ADDRESS, &sector)
    };
    let path = args.output.display();
    fs::write(&args.output, file).with_context(|| format!("cannot write {path}"))?;
    let names = provision.namespaces().iter();
    let names: Vec<String> = names.map(|namespace| namespace.name.to_string()).collect();
    if args.json {
        output::json(&json!({ "id": args.id, "namespaces": names, "address": ADDRESS }))
    } else if names.is_empty() {
        output::text(&format!("{path}: node {}, no namespaces", args.id))
    } else {
        let names = names.join(", ");
        output::text(&format!("{path}: node {}, namespaces {names}", args.id))
    }
}

/// One `--namespace`.
#[derive(Clone, Debug)]
struct NamespaceArgument {
    name: Name,
    key: KeyArgument,
    registry: NodeId,
    capabilities: Capabilities,
}

#[derive(Clone, Debug)]
enum KeyArgument {
    Public(PublicKey),
    File(PathBuf),
}

impl FromStr for NamespaceArgument {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let shape = "it is written NAME=KEY@REGISTRY[:CAP,CAP...]";
        let (name, rest) = text.split_once('=').context(shape)?;
        // A path may have an @ of its own, what follows it may not.
        let (key, rest) = rest.rsplit_once('@').context(shape)?;
        let (registry, granted) = rest.split_once(':').unwrap_or((rest, ""));
        ensure!(!key.is_empty(), shape);
        let name = Name::new(name).with_context(|| format!("{name:?} is not a namespace"))?;
        let registry = registry
            .parse()
            .with_context(|| format!("{registry:?} is not a registry's id, 0 to 65534"))?;
        let mut capabilities = Capabilities::NONE;
        for granted in granted.split(',').filter(|granted| !granted.is_empty()) {
            capabilities = capabilities.with(capability(granted)?);
        }
        Ok(Self {
            name,
            key: match key.parse() {
                Ok(key) => KeyArgument::Public(key),
                Err(_) => KeyArgument::File(PathBuf::from(key)),
            },
            registry: NodeId(registry),
            capabilities,
        })
    }
}

impl NamespaceArgument {
    fn config(&self) -> anyhow::Result<NamespaceConfig> {
        let key = match &self.key {
            KeyArgument::Public(key) => *key,
            KeyArgument::File(path) => public_half(path)
                .with_context(|| format!("no key for namespace {} can be had", self.name))?,
        };
        Ok(NamespaceConfig {
            name: self.name,
            registry: self.registry,
            key: key.0,
            capabilities: self.capabilities,
        })
    }
}

fn capability(name: &str) -> anyhow::Result<Capability> {
    Capability::from_name(name).with_context(|| {
        let known = Capability::ALL.map(Capability::name).join(", ");
        format!("there is no capability {name:?}; there are {known}")
    })
}

fn public_half(path: &Path) -> anyhow::Result<PublicKey> {
    match SigningKey::load(path) {
        Ok(key) => Ok(key.public()),
        Err(error) => bail!(
            "{} is neither 64 hexadecimal digits nor a key file: {error}",
            path.display()
        ),
    }
}
