//! `nimblenet provision`: writes a board's record as a file for its flash.

use core::net::SocketAddrV4;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use clap::builder::PossibleValuesParser;
use nimblenet_board::ledger;
use nimblenet_board::provision::{Network, Policy, Provision};
use nimblenet_core::{NamespaceConfig, Pace};
use nimblenet_tasklet::{Capabilities, Capability, Name, NodeId};
use nimblenet_uf2::Image;
use serde_json::json;

use crate::keys::KeyArgument;
use crate::outlet;
use crate::output;
use crate::remote;

/// The address of the record in flash (spec/board.md, section 4).
const ADDRESS: u32 = 0x101f_f000;
const SECTOR_BYTES: usize = 4096;
/// The address of the ledger, two sectors in front of that of the record (spec/board.md, section 6).
const LEDGER_ADDRESS: u32 = 0x101f_d000;
const LEDGER_BYTES: usize = ledger::SECTORS * ledger::SECTOR_BYTES;
const ERASED: u8 = 0xff;
/// The mode of a file with a WiFi passphrase in it.
/// The name of a network by cable, which has none (spec/board.md, section 2).
const CABLE: &str = "ethernet";
/// No passphrase file is longer.
const MAX_PASSWORD_FILE_BYTES: u64 = 256;

/// Writes the file that tells a board who it is.
///
/// All boards run the same image; their id and their namespaces stand in a sector of their own.
/// Plug the board in with BOOTSEL held and copy the file onto the drive that appears, before or
/// after the image, each time anew: the board restarts after each file.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet provision --id 7 --namespace shop=shop.key@65534 -o board-7.uf2\n  \
    nimblenet provision --id 8 --namespace shop=d75a98...511a@65534:sensor,log \\\n      \
    --namespace std=std.key@65533 -o board-8.uf2\n  \
    nimblenet provision --id 9 --namespace shop=shop.key@65534 --wifi shop-floor \\\n      \
    --wifi-password-file wifi.txt --neighbour 192.168.1.2:4000 -o board-9.uf2\n  \
    nimblenet provision --id 10 --namespace shop=shop.key@65534 --ethernet \\\n      \
    --raw -o board-10.bin")]
pub(crate) struct Args {
    /// The board's id, unique in the mesh; 0 to 65534.
    #[arg(long, value_name = "ID", value_parser = remote::node_id)]
    id: NodeId,
    /// A namespace that it takes tasklets from; up to four.
    ///
    /// KEY is what signs the catalogue: 64 hexadecimal digits, or a key file, of which only the
    /// public half is used. REGISTRY is the id of the only registry that is asked. CAP is what the
    /// tasklets may use of the board: sensor, actuator, clock, log, kv, random; nothing if left
    /// out.
    #[arg(long = "namespace", value_name = "NAME=KEY@REGISTRY[:CAP,CAP...]")]
    namespaces: Vec<NamespaceArgument>,
    /// The WiFi network of a board with a radio.
    #[arg(long, value_name = "SSID", group = "on")]
    wifi: Option<String>,
    /// A file with nothing but the network's passphrase; an open network has none.
    ///
    /// The passphrase stands in the written file and on the board as it is.
    #[arg(long, value_name = "FILE", requires = "wifi")]
    wifi_password_file: Option<PathBuf>,
    /// The board is on a network by cable, and may have neighbours there.
    #[arg(long, group = "on")]
    ethernet: bool,
    /// A node on that network that is the board's neighbour; up to four. Without any, the board
    /// says hello to the whole network, and whoever sends to it becomes a neighbour.
    #[arg(long = "neighbour", value_name = "ADDR:PORT", requires = "on")]
    neighbours: Vec<SocketAddrV4>,
    /// What the board's links are like: `wired`, where a frame takes milliseconds, or `radio`, where a
    /// hop takes 100 ms. It decides how long the board waits for others.
    #[arg(long, value_name = "KIND", default_value = "wired",
          value_parser = PossibleValuesParser::new(["wired", "radio"]))]
    pace: String,
    /// Where calls run that clients make at the board: `here`, on the board, or `least-work`, where they
    /// will have ended first. For boards whose image places calls, which do `least-work` if nothing is said.
    #[arg(long, value_name = "POLICY", requires = "raw",
          value_parser = PossibleValuesParser::new(Policy::ALL.map(Policy::name)))]
    placement: Option<String>,
    /// File to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write the 4096 bytes of the sector as they are, instead of UF2.
    #[arg(long)]
    raw: bool,
    /// Erase the board's ledger too, for a board that says that it is damaged. The board then takes
    /// whatever catalogue it finds first, however old.
    #[arg(long, conflicts_with = "raw")]
    renew: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If a key or password file cannot be read, no board can have the id, the namespaces or the
/// network, or the file cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let namespaces = args.namespaces.iter().map(NamespaceArgument::config);
    let namespaces = namespaces.collect::<anyhow::Result<_>>()?;
    let own = args.namespaces.iter().find(|it| it.registry == args.id);
    if let Some(own) = own {
        bail!(
            "{} is the board's own id; the registry of {} is another node",
            args.id,
            own.name
        );
    }
    let provision = Provision::new(args.id, namespaces);
    let mut provision = provision.context("a board cannot be provisioned so")?;
    if let Some(network) = network(args)? {
        provision = provision.with_network(network);
    }
    if args.pace == "radio" {
        let paced = provision.with_pace(Pace::PAPER);
        provision = paced.context("a board cannot be provisioned so")?;
    }
    let policy = args.placement.as_deref().and_then(Policy::named);
    if let Some(policy) = policy {
        provision = provision.with_policy(policy);
    }
    let mut sector = provision.encode();
    sector.resize(SECTOR_BYTES, ERASED);
    let file = if args.raw {
        sector
    } else {
        let mut image = Image::new();
        image.put(ADDRESS, &sector).context("the record has no place in flash")?;
        if args.renew {
            let erased = image.put(LEDGER_ADDRESS, &[ERASED; LEDGER_BYTES]);
            erased.context("the ledger has no place in flash")?;
        }
        image.file()
    };
    let path = args.output.display();
    let secret = provision.network().is_some_and(|it| it.passphrase().is_some());
    match secret {
        true => outlet::write_secret(&args.output, &file)?,
        false => outlet::write(&args.output, &file)?,
    }
    let names = provision.namespaces().iter();
    let names: Vec<String> = names.map(|namespace| namespace.name.to_string()).collect();
    if args.json {
        let mut fields = json!({ "id": args.id.0, "namespaces": names, "address": ADDRESS });
        if args.renew {
            fields["renewed"] = true.into();
        }
        if let Some(network) = provision.network() {
            fields["wifi"] = network.name().into();
            let neighbours = network.neighbours().map(|it| it.to_string());
            fields["neighbours"] = neighbours.collect::<Vec<_>>().into();
        }
        if let Some(policy) = policy {
            fields["placement"] = policy.name().into();
        }
        return output::json(&fields);
    }
    let mut line = if names.is_empty() {
        format!("{path}: node {}, no namespaces", args.id)
    } else {
        let names = names.join(", ");
        format!("{path}: node {}, namespaces {names}", args.id)
    };
    if let Some(network) = provision.network() {
        line.push_str(&format!(", network {}", network.name()));
    }
    if let Some(policy) = policy {
        line.push_str(&format!(", placement {}", policy.name()));
    }
    if args.renew {
        line.push_str(", the ledger begins anew");
    }
    output::text(&line)
}

fn network(args: &Args) -> anyhow::Result<Option<Network>> {
    let name = match &args.wifi {
        Some(name) => name,
        None if args.ethernet => CABLE,
        None => return Ok(None),
    };
    let passphrase = args.wifi_password_file.as_deref();
    let passphrase = passphrase.map(read_passphrase).transpose()?;
    let network = Network::new(name, passphrase.as_deref(), &args.neighbours);
    Ok(Some(network.context("a board cannot be provisioned so")?))
}

/// The file's only line.
fn read_passphrase(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(MAX_PASSWORD_FILE_BYTES).read_to_string(&mut text));
    read.with_context(|| format!("cannot read the passphrase in {}", path.display()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    // An empty passphrase would mean an open network.
    ensure!(!line.is_empty(), "{} holds no passphrase", path.display());
    Ok(line.into())
}

/// One `--namespace`.
#[derive(Clone, Debug)]
struct NamespaceArgument {
    name: Name,
    key: KeyArgument,
    registry: NodeId,
    capabilities: Capabilities,
}

impl FromStr for NamespaceArgument {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let shape = "it is written NAME=KEY@REGISTRY[:CAP,CAP...]";
        let (name, rest) = text.split_once('=').context(shape)?;
        // The path may contain an @, the parts after it may not.
        let (key, rest) = rest.rsplit_once('@').context(shape)?;
        let (registry, granted) = rest.split_once(':').unwrap_or((rest, ""));
        ensure!(!key.is_empty(), shape);
        let name = Name::new(name).with_context(|| format!("{name:?} is not a namespace"))?;
        let registry = remote::node_id(registry)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("{registry:?} is not a registry's id"))?;
        let mut capabilities = Capabilities::NONE;
        for granted in granted.split(',').filter(|granted| !granted.is_empty()) {
            capabilities = capabilities.with(capability(granted)?);
        }
        Ok(Self {
            name,
            key: key.parse()?,
            registry,
            capabilities,
        })
    }
}

impl NamespaceArgument {
    fn config(&self) -> anyhow::Result<NamespaceConfig> {
        let key = self.key.public();
        let key = key.with_context(|| format!("no key for namespace {} can be had", self.name))?;
        Ok(NamespaceConfig {
            name: self.name,
            registry: self.registry,
            key: key.0,
            capabilities: self.capabilities,
            stays: false,
        })
    }
}

fn capability(name: &str) -> anyhow::Result<Capability> {
    Capability::from_name(name).with_context(|| {
        let known = Capability::ALL.map(Capability::name).join(", ");
        format!("there is no capability {name:?}; there are {known}")
    })
}
