//! The tasklets that the demonstration publishes: the packages of `tasklets/packed`.

use anyhow::Context;
use nimblenet_tasklet::{Executor, Package, TaskletName};

/// Builds a shelf from names of package files.
macro_rules! shelf {
    ($($file:literal)+) => {
        &[$(include_bytes!(concat!("../../../../tasklets/packed/", $file, ".nnp")),)+]
    };
}

/// General algorithms, for everyone.
const STD: &[&[u8]] = shelf! {
    "std-add" "std-biquad" "std-crest" "std-goertzel" "std-mean" "std-moving-average"
    "std-peak" "std-rms" "std-slope" "std-window" "std-zscore"
};

/// The tasklets of one shop's cells, and the devices of those cells.
const SHOP: &[&[u8]] = shelf! {
    "shop-bearing-check" "shop-bearing-class" "shop-bolt-torque" "shop-paint-dry"
    "shop-paint-sensor" "shop-signal-lamp" "shop-spindle-watch" "shop-torque-check"
    "shop-torque-sensor" "shop-vibration" "shop-weld-inspect" "shop-weld-quality"
    "shop-weld-sensor"
};

/// The packages of one namespace.
pub(crate) type Shelf = Vec<Package<'static>>;

/// The packages of the namespace `std`, which the global registry keeps.
///
/// # Errors
/// If a built-in package cannot be read.
pub(crate) fn global() -> anyhow::Result<Shelf> {
    read(STD)
}

/// The packages of the namespace `shop`, which the private registry keeps.
///
/// # Errors
/// If a built-in package cannot be read.
pub(crate) fn private() -> anyhow::Result<Shelf> {
    read(SHOP)
}

/// The tasklets that devices carry out.
pub(crate) fn natives(shelf: &Shelf) -> Vec<TaskletName> {
    let native = |package: &&Package<'_>| package.terms.executor == Executor::Native;
    shelf
        .iter()
        .filter(native)
        .map(|package| package.name)
        .collect()
}

fn read(files: &[&'static [u8]]) -> anyhow::Result<Shelf> {
    let package =
        |file: &&'static [u8]| Package::decode(file).context("reading a built-in package");
    files.iter().map(package).collect()
}

/// The bytes of modules that a node must be able to hold at a time: the largest sum of a tasklet
/// and those that it calls, one inside the other.
pub(crate) fn deepest_bytes(packages: &[Package<'_>]) -> usize {
    let deepest = packages.iter().map(|package| below(package, packages));
    deepest.max().unwrap_or(0)
}

/// The bytes of a tasklet and of its deepest callee; callees are published before their callers,
/// so that there is no circle.
fn below(package: &Package<'_>, all: &[Package<'_>]) -> usize {
    let callees = package.imports().filter_map(|import| {
        let callee = all.iter().find(|callee| callee.name == import.name)?;
        Some(below(callee, all))
    });
    package.module.len() + callees.max().unwrap_or(0)
}
