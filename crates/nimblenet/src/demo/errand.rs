//! The calls that robots make: a tasklet and its arguments.

use anyhow::{Context, anyhow};
use nimblenet_tasklet::TaskletName;

use nimblenet_pack::values::{self, Item};

/// How many different errands a robot has.
const PER_ROBOT: usize = 6;
/// A robot's samples of its 12-volt battery under load.
const BATTERY: &str = "[12.4, 12.3, 12.3, 12.1, 11.9, 12.2, 12.3, 12.4]";
/// A robot's wheel encoder, in ticks.
const WHEEL: &str = "[410, 415, 409, 420, 431, 428, 419, 411, 405, 402]";

/// All errands. Most read the sensors of the node's cell; some work on samples that the robot
/// brings along.
const ERRANDS: [(&str, &[&str]); 15] = [
    ("shop/bearing-check", &["64"]),
    ("shop/bearing-check", &["128"]),
    ("shop/bolt-torque", &["40.0", "85.0"]),
    ("shop/bolt-torque", &["60.0", "90.0"]),
    ("shop/paint-dry", &["30.0"]),
    ("shop/paint-dry", &["120.0"]),
    ("shop/weld-inspect", &["0.6", "6.0"]),
    ("shop/weld-inspect", &["0.4", "8.0"]),
    ("shop/spindle-watch", &["[1.9, 1.6, 1.1]"]),
    ("shop/spindle-watch", &["[1.7, 0.9, -0.2]"]),
    ("std/crest", &[BATTERY]),
    ("std/slope", &[BATTERY]),
    ("std/goertzel", &[BATTERY, "1.4"]),
    ("std/moving-average", &[WHEEL, "4"]),
    ("std/biquad", &[BATTERY, "0.2", "0.4", "0.2", "-0.4", "0.2"]),
];

/// A call as a robot makes it.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    /// The tasklet.
    pub(crate) name: TaskletName,
    /// Its arguments: a CBOR array.
    pub(crate) args: Vec<u8>,
}

/// Every errand there is.
///
/// # Errors
/// If a built-in errand cannot be read.
pub(crate) fn all() -> anyhow::Result<Vec<Errand>> {
    let errand = |(name, texts): (&str, &[&str])| {
        let items: Result<Vec<Item>, _> = texts.iter().map(|text| text.parse()).collect();
        let items = items.map_err(|error| anyhow!("{name}: {error}"))?;
        let args = values::encode(&items);
        let name = TaskletName::new(name).with_context(|| name.to_owned())?;
        Ok(Errand { name, args })
    };
    ERRANDS.into_iter().map(errand).collect()
}

/// The errands of robot `number`, by their places. Robots with close numbers share some errands,
/// and all robots together have all errands.
pub(crate) fn of_robot(number: u64) -> Vec<usize> {
    let first = number as usize * 4;
    (first..first + PER_ROBOT)
        .map(|at| at * 2 % ERRANDS.len())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errand_fits_the_signature_of_its_tasklet() {
        use crate::demo::shelf;
        let packages = [shelf::global().unwrap(), shelf::private().unwrap()].concat();
        for errand in all().unwrap() {
            let mut of_name = packages.iter();
            let package = of_name.find(|package| package.name == errand.name);
            let terms = package.expect("it is published").terms;
            let signature = terms
                .export("run")
                .expect("a call names no other")
                .signature;
            let count = values::decode(&errand.args).unwrap().len();
            assert_eq!(count, signature.params().len(), "{}", errand.name);
        }
    }

    #[test]
    fn robots_have_different_errands_and_together_all() {
        let sorted = |mut errands: Vec<usize>| {
            errands.sort_unstable();
            errands.dedup();
            errands
        };
        let mut together = Vec::new();
        for number in 0..8 {
            let own = sorted(of_robot(number));
            assert_eq!(own.len(), PER_ROBOT);
            assert_ne!(own, sorted(of_robot(number + 1)));
            together.extend(own);
        }
        assert_eq!(sorted(together).len(), ERRANDS.len());
    }
}
