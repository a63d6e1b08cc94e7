//! Reads the arguments of a call from the command line.

use std::path::Path;

use anyhow::{Context, bail};
use nimblenet_pack::values::{self, Item};

use crate::failure::{self, Coded, misuse};

use super::file;
use super::readings::Readings;

/// The first byte of a CBOR array of one item.
const ARRAY_OF_ONE: u8 = 0x81;

/// Reads an argument: a value in CBOR diagnostic notation, or `@FILE` for what a file holds. A
/// file that ends in .csv holds a list, line by line; .json and .cbor hold one value.
///
/// # Errors
/// If it is no value, or the file cannot be read or holds none.
pub(crate) fn argument(text: &str) -> Result<Item, Coded> {
    let Some(path) = text.strip_prefix('@') else {
        return text.parse().map_err(|error| misuse(format!("{error}")));
    };
    read(path.as_ref()).map_err(|error| {
        let sentence = format!("{error:#}");
        match failure::code(&error).as_str() {
            failure::IO => Coded::new(failure::IO, sentence),
            _ => misuse(sentence),
        }
    })
}

fn read(path: &Path) -> anyhow::Result<Item> {
    let context = || format!("{} holds no value of a call", path.display());
    match path.extension().and_then(|kind| kind.to_str()) {
        Some("csv") => Ok(Item::List(Readings::read(path)?.into_values())),
        Some("json") => {
            let json = serde_json::from_slice(&file::read_bytes(path)?).with_context(context)?;
            Item::from_json(&json).with_context(context)
        }
        Some("cbor") => {
            let mut bytes = vec![ARRAY_OF_ONE];
            bytes.extend(file::read_bytes(path)?);
            let items = values::decode(&bytes).with_context(context)?;
            items.into_iter().next().with_context(context)
        }
        _ => bail!(
            "the name of {} says not what it holds: .csv, .json or .cbor is expected",
            path.display()
        ),
    }
}
