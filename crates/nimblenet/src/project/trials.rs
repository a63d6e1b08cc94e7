//! The tests of a tasklet's folder, in TOML or CSV: what it must answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use nimblenet_pack::values::Item;
use nimblenet_tasklet::{Fault, TaskletName, Trap};
use serde::Deserialize;

use crate::inlet;
use crate::local::{Readings, With, cells};

const TOML: &str = "tests.toml";
const CSV: &str = "tests.csv";

/// The tests of a tasklet, and the tasklets around it.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    /// The tasklets that it calls.
    pub(crate) with: Vec<With>,
    /// The tests.
    pub(crate) trials: Vec<Trial>,
}

/// One call and its expected outcome.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Trial {
    /// Its name in reports.
    pub(crate) name: String,
    /// The export to call, if it is not the default.
    pub(crate) invoke: Option<String>,
    /// The arguments.
    pub(crate) args: Vec<Item>,
    /// The sensors of the device.
    pub(crate) sensors: BTreeMap<u32, Readings>,
    /// The expected outcome.
    pub(crate) expected: Expected,
    /// How much a number of the results may differ.
    pub(crate) tolerance: f64,
}

/// The expected outcome of a call.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Expected {
    /// These results.
    Results(Vec<Item>),
    /// A failure with this code, of a fault or of a trap.
    Fault(String),
}

impl Expected {
    /// Whether these results are the expected ones.
    pub(crate) fn is_met_by(&self, results: &[Item], tolerance: f64) -> bool {
        match self {
            Self::Results(expected) => all_same(expected, results, tolerance),
            Self::Fault(_) => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    with: BTreeMap<String, PathBuf>,
    #[serde(default)]
    sensors: BTreeMap<String, toml::Value>,
    #[serde(default)]
    test: Vec<WrittenTrial>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTrial {
    name: Option<String>,
    invoke: Option<String>,
    #[serde(default)]
    args: Vec<toml::Value>,
    results: Option<Vec<toml::Value>>,
    fault: Option<String>,
    #[serde(default)]
    tolerance: f64,
    #[serde(default)]
    sensors: BTreeMap<String, toml::Value>,
}

impl Trials {
    /// Reads `tests.toml` and `tests.csv` of a folder.
    ///
    /// # Errors
    /// If there is neither, or one of them is wrong.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let (table, list) = (root.join(TOML), root.join(CSV));
        let mut trials = Self::default();
        let mut found = false;
        for (path, is_table) in [(table, true), (list, false)] {
            if !path.exists() {
                continue;
            }
            found = true;
            let context = || format!("reading {}", path.display());
            let text = inlet::text(&path, inlet::TEXT_BYTES)?;
            match is_table {
                true => trials.add_table(&text, root).with_context(context)?,
                false => trials.add_list(&text).with_context(context)?,
            }
        }
        ensure!(
            found,
            "{} has no tests: they stand in {TOML} or {CSV}",
            root.display()
        );
        ensure!(
            !trials.trials.is_empty(),
            "the tests of {} are none",
            root.display()
        );
        Ok(trials)
    }

    /// Paths in the text are relative to `root`.
    fn add_table(&mut self, text: &str, root: &Path) -> anyhow::Result<()> {
        let written: Written = toml::from_str(text)?;
        for (name, file) in written.with {
            let name = TaskletName::new(&name).with_context(|| format!("{name:?} under [with]"))?;
            self.with.push(With {
                name,
                file: root.join(file),
            });
        }
        let common = sensors(written.sensors, root)?;
        for (at, trial) in written.test.into_iter().enumerate() {
            let name = trial.name.clone();
            let name = name.unwrap_or_else(|| format!("test {}", at + 1));
            let trial = trial.checked(name.clone(), &common, root);
            self.trials
                .push(trial.with_context(|| format!("the test {name:?}"))?);
        }
        Ok(())
    }

    /// The first line has titles: `name`, `result` (of each result), `fault`, and anything else
    /// for an argument.
    fn add_list(&mut self, text: &str) -> anyhow::Result<()> {
        let mut lines = cells(text).into_iter();
        let titles = lines.next().context("the first line has the titles")??.1;
        ensure!(
            titles
                .iter()
                .any(|title| title == "result" || title == "fault"),
            "no title is `result` or `fault`"
        );
        for line in lines {
            let (line, cells) = line?;
            let trial = listed(&titles, &cells, line).with_context(|| format!("line {line}"))?;
            self.trials.push(trial);
        }
        Ok(())
    }
}

/// A line of a list of tests.
fn listed(titles: &[String], cells: &[String], line: u64) -> anyhow::Result<Trial> {
    ensure!(
        cells.len() <= titles.len(),
        "there are {} values for {} titles; lists stand in quotes: \"[1, 2]\"",
        cells.len(),
        titles.len()
    );
    let mut name = format!("line {line}");
    let (mut args, mut results, mut fault) = (Vec::new(), Vec::new(), None);
    for (title, cell) in titles
        .iter()
        .zip(cells)
        .filter(|(_, cell)| !cell.is_empty())
    {
        let item = || {
            cell.parse::<Item>()
                .with_context(|| format!("under {title}"))
        };
        match title.as_str() {
            "name" => name.clone_from(cell),
            "fault" => fault = Some(cell.clone()),
            "result" => results.push(item()?),
            _ => args.push(item()?),
        }
    }
    let expected = match fault {
        Some(_) if !results.is_empty() => bail!("either a result or a fault is expected"),
        Some(code) => Expected::Fault(known_code(code)?),
        None => Expected::Results(results),
    };
    Ok(Trial {
        name,
        invoke: None,
        args,
        sensors: BTreeMap::new(),
        expected,
        tolerance: 0.0,
    })
}

impl WrittenTrial {
    fn checked(
        self,
        name: String,
        common: &BTreeMap<u32, Readings>,
        root: &Path,
    ) -> anyhow::Result<Trial> {
        let expected = match (self.results, self.fault) {
            (Some(results), None) => Expected::Results(items(results)?),
            (None, Some(code)) => Expected::Fault(known_code(code)?),
            _ => bail!("either `results` or `fault` says what is expected"),
        };
        let mut all = common.clone();
        all.extend(sensors(self.sensors, root)?);
        Ok(Trial {
            name,
            invoke: self.invoke,
            args: items(self.args)?,
            sensors: all,
            expected,
            tolerance: self.tolerance,
        })
    }
}

/// Sensor channels: a number, or the name of a file.
fn sensors(
    written: BTreeMap<String, toml::Value>,
    root: &Path,
) -> anyhow::Result<BTreeMap<u32, Readings>> {
    let sensor = |(channel, value): (String, toml::Value)| {
        let readings = match value {
            toml::Value::String(file) => Readings::read(&root.join(file))?,
            toml::Value::Integer(value) => Readings::constant(value as f32),
            toml::Value::Float(value) => Readings::constant(value as f32),
            toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => {
                bail!("sensor {channel} is a number or a file, not {value}")
            }
        };
        let checked = readings.check_numbers();
        checked.with_context(|| format!("sensor {channel}"))?;
        let number = channel.parse();
        Ok((
            number.with_context(|| format!("sensor {channel:?}"))?,
            readings,
        ))
    };
    written.into_iter().map(sensor).collect()
}

fn items(values: Vec<toml::Value>) -> anyhow::Result<Vec<Item>> {
    values.into_iter().map(item).collect()
}

fn item(value: toml::Value) -> anyhow::Result<Item> {
    Ok(match value {
        toml::Value::Integer(value) => Item::Int(value.into()),
        toml::Value::Float(value) => Item::Float(value),
        toml::Value::Boolean(value) => Item::Bool(value),
        toml::Value::String(text) => Item::Text(text),
        toml::Value::Array(values) => Item::List(items(values)?),
        toml::Value::Datetime(_) | toml::Value::Table(_) => {
            bail!("{value} is no value of a call")
        }
    })
}

fn known_code(code: String) -> anyhow::Result<String> {
    let faults = Fault::ALL.iter().map(|fault| fault.code());
    let mut codes = faults.chain(Trap::ALL.iter().map(|trap| trap.code()));
    match codes.any(|known| known == code) {
        true => Ok(code),
        false => Err(anyhow!("there is no fault {code:?}")),
    }
}

fn all_same(expected: &[Item], found: &[Item], tolerance: f64) -> bool {
    expected.len() == found.len()
        && expected
            .iter()
            .zip(found)
            .all(|(expected, found)| is_same(expected, found, tolerance))
}

/// Whether a value is the expected one; numbers are compared in the type of the result.
fn is_same(expected: &Item, found: &Item, tolerance: f64) -> bool {
    match (expected, found) {
        (Item::List(expected), Item::List(found)) => all_same(expected, found, tolerance),
        (Item::List(expected), Item::Bytes(found)) => {
            let found: Vec<_> = found.iter().map(|byte| Item::Int((*byte).into())).collect();
            all_same(expected, &found, tolerance)
        }
        (Item::Int(expected), Item::Int(found)) => {
            expected == found || expected.abs_diff(*found) as f64 <= tolerance
        }
        _ => match (number(expected), number(found)) {
            (Some(expected), Some(value)) => {
                let expected = match matches!(found, Item::Single(_)) {
                    true => f64::from(expected as f32),
                    false => expected,
                };
                expected == value
                    || expected.is_nan() && value.is_nan()
                    || (expected - value).abs() <= tolerance
            }
            _ => expected == found,
        },
    }
}

fn number(item: &Item) -> Option<f64> {
    match *item {
        Item::Int(value) => Some(value as f64),
        Item::Single(value) => Some(value.into()),
        Item::Float(value) => Some(value),
        Item::Bool(_) | Item::Text(_) | Item::Bytes(_) | Item::List(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("a file");
        }
        dir
    }

    fn refusal(files: &[(&str, &str)]) -> String {
        let error = Trials::read(folder(files).path()).expect_err("refused");
        format!("{error:#}")
    }

    #[test]
    fn a_table_has_arguments_results_faults_and_devices() {
        let text = r#"
            [with]
            "shop/vibration" = "vibration.csv"
            [sensors]
            3 = 21.5
            [[test]]
            name = "a sum"
            args = [2, [1, 2.5], "text", true]
            results = [3]
            tolerance = 0.5
            [[test]]
            fault = "divide-by-zero"
            sensors = { 4 = "warm.csv" }
        "#;
        let dir = folder(&[("tests.toml", text), ("warm.csv", "20\n21\n")]);
        let trials = Trials::read(dir.path()).expect("tests");
        assert_eq!(trials.with[0].file, dir.path().join("vibration.csv"));
        let [sum, other] = &trials.trials[..] else {
            panic!("two tests");
        };
        let args: Vec<_> = sum.args.iter().map(Item::to_string).collect();
        assert_eq!(args, ["2", "[1, 2.5]", "\"text\"", "true"]);
        assert_eq!(sum.expected, Expected::Results(vec![Item::Int(3)]));
        assert_eq!(other.name, "test 2");
        assert_eq!(other.expected, Expected::Fault("divide-by-zero".to_owned()));
        assert_eq!(other.sensors.len(), 2);
    }

    #[test]
    fn a_list_has_a_test_a_line() {
        let text = "name,a,b,result,fault\nsum,2,\"[1, 2]\",5,\n# none\n,1,,,out-of-fuel\n";
        let trials = Trials::read(folder(&[("tests.csv", text)]).path()).expect("tests");
        let [sum, other] = &trials.trials[..] else {
            panic!("two tests");
        };
        assert_eq!((sum.name.as_str(), sum.args.len()), ("sum", 2));
        assert_eq!(other.name, "line 4");
        assert_eq!(other.expected, Expected::Fault("out-of-fuel".to_owned()));
    }

    #[test]
    fn wrong_tests_are_refused_with_their_place() {
        assert!(refusal(&[]).contains("no tests"));
        assert!(refusal(&[("tests.csv", "a,b\n1,2\n")]).contains("`result` or `fault`"));
        let said = refusal(&[("tests.csv", "a,result\n1,[1, 2]\n")]);
        assert!(said.contains("line 2") && said.contains("quotes"), "{said}");
        let said = refusal(&[("tests.toml", "[[test]]\nargs = [1]\n")]);
        assert!(
            said.contains("\"test 1\"") && said.contains("`results` or `fault`"),
            "{said}"
        );
        let said = refusal(&[("tests.toml", "[[test]]\nfault = \"gone\"\n")]);
        assert!(said.contains("no fault \"gone\""), "{said}");
        let said = refusal(&[("tests.toml", "[[test]]\nresult = [1]\n")]);
        assert!(said.contains("unknown field"), "{said}");
    }

    #[test]
    fn numbers_are_compared_as_the_result_has_them() {
        let same = |expected: Item, found: Item, tolerance| is_same(&expected, &found, tolerance);
        assert!(same(Item::Int(3), Item::Single(3.0), 0.0));
        assert!(same(Item::Float(0.1), Item::Single(0.1), 0.0));
        assert!(same(Item::Float(f64::NAN), Item::Single(f32::NAN), 0.0));
        assert!(!same(Item::Float(0.1), Item::Single(0.2), 0.0));
        assert!(same(Item::Float(0.1), Item::Single(0.2), 0.11));
        assert!(!same(
            Item::Int(i128::from(u64::MAX)),
            Item::Int(i128::from(u64::MAX) - 1),
            0.0
        ));
        assert!(same(
            Item::List(vec![Item::Int(255)]),
            Item::Bytes(vec![255]),
            0.0
        ));
        assert!(!same(Item::Bool(true), Item::Int(1), 0.0));
    }
}
