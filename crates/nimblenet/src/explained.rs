//! The answer to a call: its results, and where its tasklets came from.

use minicbor::Decoder;
use nimblenet_node::remote::LineSummary;
use nimblenet_pack::values::{self, Item};
use nimblenet_tasklet::api::explained;
use serde_json::{Value as Json, json};

use crate::steps::{self, Step, milliseconds};

/// The results of a call, and where its tasklets came from.
#[derive(Default)]
pub(crate) struct Explained {
    /// The results.
    pub(crate) results: Vec<Item>,
    /// Where its tasklets came from, in order; none if that was not asked for.
    pub(crate) steps: Vec<Step>,
    /// The time from the call to its end, in microseconds.
    pub(crate) took_us: u64,
    /// What its tasklets have written to the log, if that was asked for.
    pub(crate) lines: Vec<LineSummary>,
}

impl Explained {
    /// A call of which only the results are known.
    pub(crate) fn results(results: Vec<Item>) -> Self {
        Self {
            results,
            ..Self::default()
        }
    }

    /// Reads the answer to a call that was to be explained; nothing if it is malformed.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let mut explained = Self::results(Vec::new());
        for _ in 0..decoder.map().ok()?? {
            match decoder.str().ok()? {
                explained::RESULT => {
                    let from = decoder.position();
                    decoder.skip().ok()?;
                    explained.results = values::decode(&bytes[from..decoder.position()])?;
                }
                explained::STEPS => {
                    for _ in 0..decoder.array().ok()?? {
                        explained.steps.push(Step::read(&mut decoder)?);
                    }
                }
                explained::TOOK_US => explained.took_us = decoder.u64().ok()?,
                explained::LINES => explained.lines = LineSummary::read_all(&mut decoder)?,
                _ => decoder.skip().ok()?,
            }
        }
        Some(explained)
    }

    /// The results as JSON, and with `explain` the rest too.
    pub(crate) fn to_json(&self, explain: bool) -> Json {
        let results = values::to_json(&self.results);
        if !explain {
            return json!({ "results": results });
        }
        let steps: Vec<_> = self.steps.iter().map(Step::to_json).collect();
        json!({ "results": results, explained::STEPS: steps, explained::TOOK_US: self.took_us })
    }

    /// The acquisitions as a table.
    pub(crate) fn table(&self) -> String {
        let table = steps::table(&self.steps);
        format!("{table}\ntook {}", milliseconds(self.took_us))
    }
}
