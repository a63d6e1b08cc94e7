//! The readings of a device, call by call: the lines of a CSV file.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use nimblenet_pack::values::{self, Item};
use nimblenet_tasklet::{Signature, Type, abi};

use crate::inlet;

/// Lines of values. Each call takes the next one, and the last stays.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Readings {
    lines: Vec<Vec<Item>>,
    next: usize,
}

impl Readings {
    /// One value that never changes.
    pub(crate) fn constant(value: f32) -> Self {
        Self {
            lines: vec![vec![Item::Single(value)]],
            next: 0,
        }
    }

    /// Reads a file: values in CBOR diagnostic notation, a line for each call, after a line of
    /// titles or none. Lines that begin with `#` are left out.
    ///
    /// # Errors
    /// If it cannot be read, or a cell is no value.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = inlet::text(path, inlet::FILE_BYTES)?;
        Self::parse(&text).with_context(|| format!("reading {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = Vec::new();
        for (at, record) in cells(text).into_iter().enumerate() {
            let (line, record) = record?;
            let items = record.iter().map(|cell| cell.parse::<Item>());
            match items.collect() {
                Ok(items) => lines.push(items),
                Err(_) if at == 0 => {}
                Err(error) => bail!("line {line}: {error}"),
            }
        }
        Ok(Self { lines, next: 0 })
    }

    /// All values, line by line.
    pub(crate) fn into_values(self) -> Vec<Item> {
        self.lines.into_iter().flatten().collect()
    }

    /// The values of the next call; nothing if there are none at all.
    pub(crate) fn next(&mut self) -> &[Item] {
        let line = self.lines.get(self.next).or_else(|| self.lines.last());
        self.next = (self.next + 1).min(self.lines.len());
        line.map_or(&[], Vec::as_slice)
    }

    /// The next value, if it is a number.
    pub(crate) fn next_number(&mut self) -> Option<f32> {
        match *self.next() {
            [Item::Int(value)] => Some(value as f32),
            [Item::Single(value)] => Some(value),
            [Item::Float(value)] => Some(value as f32),
            _ => None,
        }
    }

    /// Checks that each line is one number, as for a sensor.
    ///
    /// # Errors
    /// Names the first line that is not one number, or says that there are no lines.
    pub(crate) fn check_numbers(&self) -> anyhow::Result<()> {
        if self.lines.is_empty() {
            bail!("there are no values");
        }
        let number = |line: &Vec<Item>| {
            matches!(line[..], [Item::Int(_) | Item::Single(_) | Item::Float(_)])
        };
        match self.lines.iter().find(|line| !number(line)) {
            Some(line) => bail!("a sensor gives one number a line, not {}", shown(line)),
            None => Ok(()),
        }
    }

    /// The results of the next call, as a CBOR array that matches `signature`.
    pub(crate) fn next_results(&mut self, signature: &Signature) -> Vec<u8> {
        values::encode(&as_results(self.next(), signature))
    }

    /// Checks that each line matches the results of this signature: a list's elements, or a value
    /// for each result.
    ///
    /// # Errors
    /// Names the first line that is not.
    pub(crate) fn check_results(&self, signature: &Signature) -> anyhow::Result<()> {
        let types: Vec<Type> = signature.results().collect();
        let expected = Signature::new(&types, &[]).map_err(|error| anyhow!("{error}"))?;
        let nothing = [Vec::new()];
        let lines = match self.lines.is_empty() {
            true => &nothing[..],
            false => &self.lines,
        };
        for line in lines {
            let results = values::encode(&as_results(line, signature));
            abi::check_args(&expected, &results)
                .map_err(|error| anyhow!("{} is no result of {signature}: {error}", shown(line)))?;
        }
        Ok(())
    }
}

/// A list takes the whole line.
fn as_results(line: &[Item], signature: &Signature) -> Vec<Item> {
    let list = signature.results().any(|ty| matches!(ty, Type::List(_)));
    match (list, line) {
        (true, [Item::List(_) | Item::Bytes(_)]) | (false, _) => line.to_vec(),
        (true, _) => vec![Item::List(line.to_vec())],
    }
}

fn shown(line: &[Item]) -> String {
    let items: Vec<_> = line.iter().map(Item::to_string).collect();
    match items.is_empty() {
        true => "nothing".to_owned(),
        false => items.join(", "),
    }
}

/// The cells of a CSV text, each line with its number.
pub(crate) fn cells(text: &str) -> Vec<anyhow::Result<(u64, Vec<String>)>> {
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.has_headers(false).flexible(true);
    let reader = reader.trim(csv::Trim::All);
    let records = reader.from_reader(text.as_bytes()).into_records();
    let remark = |record: &csv::StringRecord| record.iter().next().is_some_and(is_remark);
    let records = records.filter(|record| !record.as_ref().is_ok_and(remark));
    let cells = records.map(|record| {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        Ok((line, record.iter().map(str::to_owned).collect()))
    });
    cells.collect()
}

fn is_remark(cell: &str) -> bool {
    cell.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_takes_the_next_line_and_the_last_one_stays() {
        let mut readings = Readings::parse("celsius\n# warm\n21.5\n22\n").expect("numbers");
        readings.check_numbers().expect("numbers");
        let taken: Vec<_> = (0..4).filter_map(|_| readings.next_number()).collect();
        assert_eq!(taken, [21.5, 22.0, 22.0, 22.0]);
    }

    #[test]
    fn a_line_is_a_list_or_a_value_for_each_result() {
        let mut list = Readings::parse("1, 2, 3\n4\n").expect("numbers");
        let signature = "func(count: u32) -> list<s16>"
            .parse()
            .expect("a signature");
        list.check_results(&signature).expect("lists");
        assert_eq!(list.next_results(&signature), [0x81, 0x83, 1, 2, 3]);
        assert_eq!(list.next_results(&signature), [0x81, 0x81, 4]);

        let nothing = Readings::parse("").expect("nothing");
        nothing
            .check_results(&"func(level: u32)".parse().expect("a signature"))
            .expect("nothing");
        nothing.check_results(&signature).expect("an empty list");
    }

    #[test]
    fn what_a_device_cannot_give_is_refused() {
        let text = Readings::parse("a\n1\nwarm\n").expect_err("a word");
        assert!(text.to_string().starts_with("line 3: "), "{text}");
        let readings = Readings::parse("1, 2\n").expect("numbers");
        assert!(readings.check_numbers().is_err());
        let signature = "func() -> u8".parse().expect("a signature");
        assert!(readings.check_results(&signature).is_err());
        let large = Readings::parse("256\n").expect("a number");
        assert!(large.check_results(&signature).is_err());
    }
}
