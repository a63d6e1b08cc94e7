//! What is wrong with a file that has not the form of a scenario, in the words of its author.

use toml::{Table, Value};

use super::{BadScenario, BandwidthTable, BurstTable, Scenario, Shape, TargetTable};
use crate::urgency::Urgency;

/// Fields that a table needs if it is there.
const NEEDED: [&str; 8] = [
    "link.bursts.begin",
    "link.bursts.end",
    "link.bursts.loss",
    "link.bandwidth.bits_per_s",
    "medium.bits_per_s",
    "target.fuel_per_s",
    "target.algorithm_fuel",
    "target.chain_fuel",
];

/// Reads a scenario of which every field has the right form; its numbers may still be out of range.
///
/// # Errors
/// [`BadScenario`] says which field is wrong, what it is and what it may be.
pub(super) fn read(text: &str) -> Result<Scenario, BadScenario> {
    let file = text.parse::<Table>().map_err(BadScenario::Form)?;
    let mut form = Form::new();
    form.table("", &file, &form.all.clone());
    match toml::from_str(text) {
        // What the parser does not mind: a list that is too long.
        Ok(scenario) => form
            .first()
            .map_or(Ok(scenario), |finding| Err(finding.told())),
        Err(error) => {
            let place = error.span().map_or(0, |span| span.start);
            let finding = form.at(text, place);
            Err(finding.map_or(BadScenario::Form(error), Finding::told))
        }
    }
}

/// A field that is not as it should be.
struct Finding {
    field: String,
    what: String,
    /// Whether it is a number that may be wrong only because of others that are not as usual.
    is_range: bool,
}

impl Finding {
    fn told(self) -> BadScenario {
        let Self { field, what, .. } = self;
        BadScenario::Field { field, what }
    }
}

/// The last part of a path.
fn last(field: &str) -> &str {
    field.rsplit('.').next().unwrap_or(field)
}

/// The number of the line at this place, from 1, and the line.
fn line(text: &str, place: usize) -> (usize, &str) {
    let mut from = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if (from..from + line.len()).contains(&place) {
            return (number + 1, line);
        }
        from += line.len();
    }
    (0, "")
}

/// The form of scenarios, and what was found to have another.
struct Form {
    /// A scenario with all tables.
    all: Table,
    /// Each number with what it may be.
    limits: Vec<super::check::Limit>,
    found: Vec<Finding>,
}

impl Form {
    fn new() -> Self {
        let bandwidth = BandwidthTable {
            bits_per_s: 1000,
            queue_bytes: 1,
            header_bytes: 0,
        };
        let mut all = Scenario::default();
        all.nodes.executors = Some(1);
        all.nodes.preload = Some(true);
        all.urgency = Some(Urgency::default());
        all.target = Some(TargetTable {
            fuel_per_s: 1.0,
            algorithm_fuel: vec![1],
            chain_fuel: vec![1],
        });
        all.link.bursts = Some(BurstTable {
            begin: 0.0,
            end: 0.0,
            loss: 0.0,
        });
        all.link.bandwidth = Some(bandwidth);
        all.medium = Some(bandwidth);
        Self {
            limits: all.limits(),
            all: Table::try_from(all).unwrap_or_default(),
            found: Vec::new(),
        }
    }

    /// The first field that is certainly wrong.
    fn first(self) -> Option<Finding> {
        self.found.into_iter().find(|finding| !finding.is_range)
    }

    /// What is wrong in the line at this place, or else the first field that is wrong.
    fn at(mut self, text: &str, place: usize) -> Option<Finding> {
        let (number, line) = line(text, place);
        let here = |finding: &Finding| line.contains(last(&finding.field));
        let Some(at) = self.found.iter().position(here) else {
            return self.first();
        };
        let finding = self.found.swap_remove(at);
        let field = format!("line {number}: {}", finding.field);
        Some(Finding { field, ..finding })
    }

    fn find(&mut self, field: &str, what: String, is_range: bool) {
        let field = field.to_owned();
        self.found.push(Finding {
            field,
            what,
            is_range,
        });
    }

    fn table(&mut self, path: &str, given: &Table, known: &Table) {
        let dot = if path.is_empty() { "" } else { "." };
        for (key, value) in given {
            let field = format!("{path}{dot}{key}");
            match known.get(key) {
                Some(known) => self.value(&field, value, known),
                None => {
                    let table = if path.is_empty() { "a scenario" } else { path };
                    let keys: Vec<&str> = known.keys().map(String::as_str).collect();
                    let what = format!("there is no such field; {table} has {}", keys.join(", "));
                    self.find(&field, what, false);
                }
            }
        }
        for needed in NEEDED {
            let name = needed
                .strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('.'));
            if name.is_some_and(|name| known.contains_key(name) && !given.contains_key(name)) {
                let kind = match needed.ends_with("_fuel") {
                    true => "a list of whole numbers",
                    false => "a number",
                };
                let what = format!("it is missing; {} is needed", self.what(needed, kind));
                self.find(needed, what, false);
            }
        }
    }

    fn value(&mut self, field: &str, given: &Value, known: &Value) {
        let wanted = match (known, given) {
            (Value::Table(known), Value::Table(given)) => return self.table(field, given, known),
            (Value::Table(known), _) => {
                let keys: Vec<&str> = known.keys().map(String::as_str).collect();
                format!("a table with {}", keys.join(", "))
            }
            (Value::String(_), given) => {
                let known = given
                    .as_str()
                    .is_some_and(|name| Shape::NAMES.contains(&name));
                if known {
                    return;
                }
                format!("one of {}", Shape::NAMES.join(", "))
            }
            (Value::Boolean(_), given) => {
                if given.is_bool() {
                    return;
                }
                "true or false".to_owned()
            }
            (Value::Array(known), given) if known.len() == 1 => {
                let list = given.as_array();
                if list.is_some_and(|list| list.iter().all(|it| self.may_be(field, it, true))) {
                    return;
                }
                self.what(field, "a list of whole numbers")
            }
            (Value::Array(known), given) => {
                let is_whole = known.iter().all(Value::is_integer);
                let both = given.as_array().filter(|both| both.len() == known.len());
                if both.is_some_and(|both| both.iter().all(|it| self.may_be(field, it, is_whole))) {
                    return;
                }
                let kind = if is_whole {
                    "two whole numbers"
                } else {
                    "two numbers"
                };
                self.what(field, kind)
            }
            (known, given) => {
                let is_whole = known.is_integer();
                if self.may_be(field, given, is_whole) {
                    return;
                }
                let kind = if is_whole {
                    "a whole number"
                } else {
                    "a number"
                };
                self.what(field, kind)
            }
        };
        let what = format!("{} is not {wanted}", shown(given));
        let is_range = !known.is_str() && same_kind(given, known);
        self.find(field, what, is_range);
    }

    /// The smallest and the largest value of a field.
    fn range(&self, field: &str) -> Option<(f64, f64)> {
        let first = format!("{field}[0]");
        let mut limits = self.limits.iter();
        let limit = limits.find(|limit| limit.field == field || limit.field == first)?;
        Some((limit.from, limit.to))
    }

    /// A kind of value, and its range.
    fn what(&self, field: &str, kind: &str) -> String {
        let range = self.range(field);
        let range = range.map(|(from, to)| format!(" from {from} to {to}"));
        format!("{kind}{}", range.unwrap_or_default())
    }

    fn may_be(&self, field: &str, given: &Value, is_whole: bool) -> bool {
        let whole = given.as_integer().map(|number| number as f64);
        let number = whole.or_else(|| given.as_float().filter(|_| !is_whole));
        let range = self.range(field);
        number.is_some_and(|it| range.is_none_or(|(from, to)| (from..=to).contains(&it)))
    }
}

/// Whether two values are of the same form.
fn same_kind(given: &Value, known: &Value) -> bool {
    match (given, known) {
        (Value::Array(given), Value::Array(known)) => {
            let both = given.iter().zip(known);
            given.len() == known.len() && both.into_iter().all(|(a, b)| same_kind(a, b))
        }
        (given, known) => given.same_type(known) || given.is_integer() && known.is_float(),
    }
}

/// A value as its author wrote it, if it is short.
fn shown(value: &Value) -> String {
    match value.is_table() {
        true => "a table".to_owned(),
        false => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    #[test]
    fn a_wrong_kind_of_value_is_named_with_field_value_and_range() {
        let cases = [
            (
                "[floor]\nnods = 3",
                "line 2: floor.nods: there is no such field; floor has layout, nodes,",
            ),
            (
                "[floor]\nlayout = 'star'",
                "line 2: floor.layout: \"star\" is not one of grid, line, ring, geometric",
            ),
            (
                "[robots]\ncount = 'ten'",
                "line 2: robots.count: \"ten\" is not a whole number from 1 to 100000",
            ),
            (
                "[robots]\ncount = 2.5",
                "line 2: robots.count: 2.5 is not a whole number from 1 to 100000",
            ),
            (
                "[link]\nloss = true",
                "line 2: link.loss: true is not a number from 0 to 1",
            ),
            (
                "[link]\n\nmtu = -5",
                "line 3: link.mtu: -5 is not a whole number from ",
            ),
            (
                "[nodes]\ncache_bytes = 99999999999",
                "line 2: nodes.cache_bytes: 99999999999 is not a whole number from 1024 to 100000000",
            ),
            (
                "[tasks]\nchain_bytes = 300",
                "line 2: tasks.chain_bytes: 300 is not two whole numbers from 50 to 60000",
            ),
            (
                "[tasks]\nchain_run_s = [0.1, 0.2, 0.3]",
                "tasks.chain_run_s: [0.1, 0.2, 0.3] is not two numbers from 0 to 1000",
            ),
            (
                "link = 5",
                "line 1: link: 5 is not a table with bandwidth, bursts, ",
            ),
            (
                "[link.bursts]\nbegin = 0.1\nloss = 0.5",
                "link.bursts.end: it is missing; a number from 0 to 1 is needed",
            ),
            (
                "[medium]\nheader_bytes = 3",
                "medium.bits_per_s: it is missing; a number from 100 to 4294967295 is needed",
            ),
            (
                "[nodes]\npreload = 1",
                "line 2: nodes.preload: 1 is not true or false",
            ),
            (
                "[urgency]\nhigh_s = 5",
                "line 2: urgency.high_s: 5 is not two numbers from 0.01 to 600",
            ),
            (
                "[urgency]\nhigh = 0.1\nlate = true",
                "line 3: urgency.late: there is no such field; urgency has high, high_s, low,",
            ),
            (
                "[target]\nfuel_per_s = 5\nalgorithm_fuel = 7\nchain_fuel = [5]",
                "line 3: target.algorithm_fuel: 7 is not a list of whole numbers from 0 to",
            ),
            ("nodes = [", "TOML parse error at line 1"),
        ];
        for (text, expected) in cases {
            let error = Scenario::read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            for foreign in ["u16", "u32", "f64", "tuple", "expected"] {
                assert!(
                    expected.starts_with("TOML") || !error.contains(foreign),
                    "{error}"
                );
            }
        }
    }
}
