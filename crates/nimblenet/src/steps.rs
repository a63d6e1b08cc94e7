//! Where the tasklets of a call came from, as a table and as JSON.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use minicbor::Decoder;
use nimblenet_sim::followed::Acquisition;
use nimblenet_tasklet::api::step;
use serde_json::{Value as Json, json};

/// One acquisition.
#[derive(Default)]
pub(crate) struct Step {
    tasklet: String,
    source: String,
    /// `version`, `hops`, `attempts`, `bytes` and `wait_us`, as far as the node says.
    numbers: Vec<(String, u64)>,
    /// The node that sent the module, if that is known.
    holder: Option<u16>,
}

impl Step {
    /// Reads what a node says; nothing if that is malformed.
    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Option<Self> {
        let mut step = Self::default();
        for _ in 0..decoder.map().ok()?? {
            match decoder.str().ok()? {
                step::TASKLET => step.tasklet = decoder.str().ok()?.to_owned(),
                step::SOURCE => step.source = decoder.str().ok()?.to_owned(),
                name => {
                    let name = name.to_owned();
                    step.numbers.push((name, decoder.u64().ok()?));
                }
            }
        }
        Some(step)
    }

    /// That of a simulated call.
    pub(crate) fn simulated(acquisition: &Acquisition) -> Self {
        let step = &acquisition.step;
        let numbers = [
            (step::VERSION, step.tasklet.sequence.into()),
            (step::HOPS, step.hops.into()),
            (step::ATTEMPTS, step.attempts.into()),
            (step::BYTES, step.bytes.into()),
            (step::WAIT_US, step.took.as_micros() as u64),
        ];
        Self {
            tasklet: step.name.to_string(),
            source: step.source.name().to_owned(),
            numbers: numbers
                .map(|(name, number)| (name.to_owned(), number))
                .to_vec(),
            holder: acquisition.holder.map(|holder| holder.0),
        }
    }

    /// The tasklet's full name.
    pub(crate) fn tasklet(&self) -> &str {
        &self.tasklet
    }

    /// Where it came from: `local`, `neighbour`, `global`, `registry` or `native`.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// A number by its name; 0 if the node does not say.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let found = self.numbers.iter().find(|(known, _)| known == name);
        found.map_or(0, |(_, value)| *value)
    }

    /// The acquisition as JSON; `holder` is the node that sent the module.
    pub(crate) fn to_json(&self) -> Json {
        let mut step = json!({ step::TASKLET: self.tasklet, step::SOURCE: self.source });
        for (name, value) in &self.numbers {
            step[name] = (*value).into();
        }
        if let Some(holder) = self.holder {
            step["holder"] = holder.into();
        }
        step
    }
}

/// The acquisitions of a call.
pub(crate) fn table(steps: &[Step]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let head = [
        "TASKLET", "VERSION", "FROM", "HOPS", "TRIES", "BYTES", "WAIT",
    ];
    table.set_header(head);
    for step in steps {
        let number = |name: &str| step.number(name).to_string();
        let source = match step.holder {
            Some(holder) => format!("{} {holder}", step.source),
            None => step.source.clone(),
        };
        table.add_row([
            // Escaped: it comes from elsewhere and goes to a terminal.
            step.tasklet.escape_debug().to_string(),
            number(step::VERSION),
            source.escape_debug().to_string(),
            number(step::HOPS),
            number(step::ATTEMPTS),
            number(step::BYTES),
            milliseconds(step.number(step::WAIT_US)),
        ]);
    }
    table
}

/// A time for a person.
pub(crate) fn milliseconds(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}
