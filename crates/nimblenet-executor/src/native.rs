//! Native tasklets: functions of the device itself, which run to their result in one step.

use nimblenet_tasklet::{Fault, Host, Outcome, Start, abi};

use crate::refused;

/// Runs a native tasklet. It takes no place and never stands still. What it uses of the device must be
/// among the capabilities of its entry, which its namespace has been granted.
pub(crate) fn start<'o>(start: &Start<'_>, host: &mut dyn Host, out: &'o mut [u8]) -> Outcome<'o> {
    let terms = &start.entry.terms;
    let served = match terms.export(start.export) {
        None => Err(Fault::UnknownExport),
        Some(_) if terms.cost > start.fuel => Err(Fault::OutOfFuel),
        Some(export) => match abi::check_args(&export.signature, start.args) {
            Ok(()) if !is_entitled(start, host) => Err(Fault::CapabilityDenied),
            Ok(()) => host.native(&start.name, export.name, start.args, out),
            Err(_) => Err(Fault::WrongArguments),
        },
    };
    match served.and_then(|len| out.get(..len).ok_or(Fault::ValuesTooLarge)) {
        Ok(result) => Outcome::Done {
            activation: start.activation,
            result,
            fuel: start.fuel - terms.cost,
        },
        Err(fault) => refused(start, fault, None),
    }
}

/// Whether the entry has all capabilities that the function needs. A function that the device lacks
/// needs none.
fn is_entitled(start: &Start<'_>, host: &dyn Host) -> bool {
    let needs = host.needs(&start.name);
    let has = start.entry.terms.capabilities;
    needs.is_none_or(|needs| has.covers(needs) && start.granted.covers(needs))
}
