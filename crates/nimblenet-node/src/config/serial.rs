//! Serial lines in configuration files.

use alloc::sync::Arc;
use core::fmt;
use core::num::NonZero;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::link::{LinkPlan, SerialConfig};

/// The most serial lines of one node.
const MAX_SERIAL: usize = 16;

/// Serial lines, no device twice.
#[derive(Default)]
pub(super) struct SerialLines(Vec<SerialConfig>);

impl SerialLines {
    /// The plans of their links.
    pub(super) fn plans(self) -> impl Iterator<Item = Arc<dyn LinkPlan>> {
        let plan = |line| -> Arc<dyn LinkPlan> { Arc::new(line) };
        self.0.into_iter().map(plan)
    }
}

impl<'de> Deserialize<'de> for SerialLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lines = Vec::<SerialLine>::deserialize(deserializer)?;
        let lines: Vec<_> = lines.into_iter().map(|line| line.0).collect();
        if lines.len() > MAX_SERIAL {
            let message = format!("there are at most {MAX_SERIAL} serial lines");
            return Err(D::Error::custom(message));
        }
        for (at, line) in lines.iter().enumerate() {
            if lines[..at].iter().any(|other| other.device == line.device) {
                let device = line.device.display();
                return Err(D::Error::custom(format!("{device} is there twice")));
            }
        }
        Ok(Self(lines))
    }
}

/// A serial line: its device, or a table with device and rate.
struct SerialLine(SerialConfig);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SerialTable {
    device: PathBuf,
    #[serde(default = "baud")]
    baud: NonZero<u32>,
}

impl<'de> Deserialize<'de> for SerialLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SerialLineVisitor)
    }
}

struct SerialLineVisitor;

impl<'de> Visitor<'de> for SerialLineVisitor {
    type Value = SerialLine;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a device, or a table with `device` and `baud`")
    }

    fn visit_str<E: Error>(self, device: &str) -> Result<SerialLine, E> {
        Ok(SerialLine(SerialConfig::new(device)))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<SerialLine, A::Error> {
        let table = SerialTable::deserialize(MapAccessDeserializer::new(table))?;
        Ok(SerialLine(SerialConfig {
            device: table.device,
            baud: table.baud.get(),
        }))
    }
}

fn baud() -> NonZero<u32> {
    NonZero::new(SerialConfig::DEFAULT_BAUD).expect("it is not 0")
}
