//! The outcomes as a sheet: a row for each run, a column for each number.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value as Json};

use crate::outlet;

/// Writes a row for each document: its numbers and names, and those of the maps in it under
/// `MAP.KEY`. Lists are left out.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn csv(path: &Path, runs: &[Json]) -> anyhow::Result<()> {
    let rows: Vec<Map<String, Json>> = runs.iter().map(flat).collect();
    let columns: BTreeSet<&String> = rows.iter().flat_map(Map::keys).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns)?;
    for row in &rows {
        let cells = columns.iter().map(|column| match row.get(*column) {
            None | Some(Json::Null) => String::new(),
            Some(Json::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        });
        writer.write_record(cells)?;
    }
    outlet::write(path, writer.into_inner()?)
}

fn flat(document: &Json) -> Map<String, Json> {
    let mut row = Map::new();
    add(&mut row, "", document);
    row
}

fn add(row: &mut Map<String, Json>, name: &str, value: &Json) {
    match value {
        Json::Object(fields) => {
            for (key, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                add(row, &format!("{name}{dot}{key}"), value);
            }
        }
        Json::Array(_) => {}
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            row.insert(name.to_owned(), value.clone());
        }
    }
}
