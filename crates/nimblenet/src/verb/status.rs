//! `nimblenet status`: all that a node or registry says of itself.

use anyhow::Context;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use minicbor::Decoder;
use minicbor::data::Type;
use nimblenet_tasklet::api::{crash, link, status};
use serde_json::{Map, Value as Json};

use crate::output;
use crate::remote::{Address, Patience};

/// A status has lists of maps with lists, and nothing deeper.
const DEPTH: u8 = 4;

/// Shows all that a node or registry says of itself: its counters, the epochs that it holds, its links, and
/// whether it drains or is degraded.
///
/// Counters that are zero are left out; --json has all of them. spec/api.md, document `status`, says what each
/// one counts. Of several nodes at a time `nimblenet top` shows the main numbers.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet status --node 127.0.0.1:5684\n  \
    nimblenet status --node 127.0.0.1:5683 --json")]
pub(crate) struct Args {
    /// CoAP address of a node or registry.
    #[arg(long, value_name = "ADDR")]
    node: Address,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON: the document as it is.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the node gives no valid answer.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let asked = args.patience.ask(&args.node, async |wait| {
        let mut node = wait.connect(&args.node).await?;
        let status = node.status().await;
        status.with_context(|| format!("asking {} for its status failed", args.node))
    })?;
    let document = read(&mut Decoder::new(&asked.document), DEPTH);
    let document = document.context("the status is not what it should be")?;
    if args.json {
        return output::json(&document);
    }
    output::text(&to_text(&document))
}

/// A value of CBOR as JSON; nothing if it is malformed, or of a kind that no status has.
fn read(decoder: &mut Decoder<'_>, depth: u8) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    let kind = decoder.datatype().ok()?;
    if kind == Type::Bool {
        return Some(decoder.bool().ok()?.into());
    }
    if kind == Type::String {
        return Some(decoder.str().ok()?.into());
    }
    if kind == Type::Array {
        let len = decoder.array().ok()??;
        return (0..len).map(|_| read(decoder, depth)).collect();
    }
    if kind == Type::Map {
        let mut map = Map::new();
        for _ in 0..decoder.map().ok()?? {
            let key = decoder.str().ok()?.to_owned();
            map.insert(key, read(decoder, depth)?);
        }
        return Some(map.into());
    }
    Some(decoder.u64().ok()?.into())
}

fn to_text(document: &Json) -> String {
    let none = Map::new();
    let fields = document.as_object().unwrap_or(&none);
    let mut text = String::new();
    if fields.get(status::DRAINING) == Some(&true.into()) {
        text.push_str("it drains: it gives its jobs away and takes no new ones\n\n");
    }
    if let Some(why) = fields.get(status::DEGRADED) {
        text.push_str(&format!("it is degraded: {}\n\n", shown(why)));
    }
    let mut table = plain(&["COUNTER", "VALUE"]);
    let numbers = fields.iter().filter(|(key, value)| {
        let always = [status::ID, status::CALLS, status::COMPLETED, status::FAILED, status::JOBS];
        value.is_u64() && (value.as_u64() != Some(0) || always.contains(&key.as_str()))
    });
    for (key, value) in numbers {
        table.add_row([key.escape_debug().to_string(), shown(value)]);
    }
    text.push_str(&table.to_string());
    let epochs = fields.get(status::EPOCHS).and_then(Json::as_object);
    if let Some(epochs) = epochs.filter(|epochs| !epochs.is_empty()) {
        let mut table = plain(&["NAMESPACE", "EPOCH"]);
        for (name, epoch) in epochs {
            table.add_row([name.escape_debug().to_string(), shown(epoch)]);
        }
        text.push_str(&format!("\n\n{table}"));
    }
    let links = [
        link::KIND,
        link::NAME,
        link::UP,
        link::TX_BYTES,
        link::RX_BYTES,
        link::DAMAGED,
        link::DROPPED,
        link::STRANGERS,
    ];
    let heads = ["LINK", "NAME", "UP", "TX", "RX", "DAMAGED", "DROPPED", "STRANGERS"];
    text.push_str(&listed(fields.get(status::LINKS), &heads, &links));
    let crashes = [crash::NODE, crash::CAUSE, crash::CORE, crash::UPTIME_MS, crash::TEXT];
    let heads = ["CRASHED NODE", "CAUSE", "CORE", "UPTIME MS", "TEXT"];
    text.push_str(&listed(fields.get(status::CRASHES), &heads, &crashes));
    text
}

/// A table of a list of maps; nothing if the list is empty.
fn listed(list: Option<&Json>, heads: &[&str], keys: &[&str]) -> String {
    let rows = list.and_then(Json::as_array).filter(|rows| !rows.is_empty());
    let Some(rows) = rows else {
        return String::new();
    };
    let mut table = plain(heads);
    for row in rows {
        let cell = |key: &&str| row.get(*key).map_or_else(|| "-".to_owned(), shown);
        table.add_row(keys.iter().map(cell).collect::<Vec<_>>());
    }
    format!("\n\n{table}")
}

fn plain(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(heads);
    table
}

/// A value as a person reads it. Texts are escaped: they come from elsewhere and go to a terminal.
fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => text.escape_debug().to_string(),
        Json::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Json::Null | Json::Number(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_read_as_it_is_and_shown_without_what_is_zero() {
        let mut bytes = minicbor::Encoder::new(Vec::new());
        bytes.map(4).unwrap().str("id").unwrap().u8(7).unwrap();
        bytes.str("evicted").unwrap().u8(0).unwrap();
        bytes.str("draining").unwrap().bool(true).unwrap();
        bytes.str("epochs").unwrap().map(1).unwrap().str("shop").unwrap().u8(3).unwrap();
        let bytes = bytes.into_writer();
        let document = read(&mut Decoder::new(&bytes), DEPTH).unwrap();
        let expected = json!({ "id": 7, "evicted": 0, "draining": true, "epochs": { "shop": 3 } });
        assert_eq!(document, expected);
        let text = to_text(&document);
        assert!(text.starts_with("it drains") && text.contains("shop"), "{text}");
        assert!(!text.contains("evicted"), "{text}");
        let deep = [&[0x81; 200][..], &[0]].concat();
        assert_eq!(read(&mut Decoder::new(&deep), DEPTH), None);
        assert_eq!(read(&mut Decoder::new(&bytes[..9]), DEPTH), None);
    }
}
