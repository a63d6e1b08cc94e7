//! Running an activation until it stands still.

use nimblenet_tasklet::abi::{self, AbiError};
use nimblenet_tasklet::{
    Capability, Fault, FlatType, Host, MAX_RESULTS, Place, Signature, Trap as TaskletTrap,
};
use nimblenet_wasm::{Instance, Part, Step, Value};

use super::activation::{Activation, Event, Phase};
use super::link::Link;
use super::start;
use super::values::{Values, have_types, lift_failed, trapped};

/// Fuel that a call of a device function costs besides the instructions around it.
pub(crate) const DEVICE_CALL_FUEL: u64 = 64;

/// What a run needs besides its own state.
pub(super) struct Around<'r> {
    pub(super) code: &'r [u8],
    pub(super) host: &'r mut dyn Host,
    /// Fuel until it yields.
    pub(super) slice: u64,
    /// Microseconds that it may sleep until it yields.
    pub(super) slept_us: u64,
    /// The bytes that arguments and results are written to.
    pub(super) out: &'r mut [u8],
}

/// Runs the activation in `region` until it calls a tasklet, ends or has used its slice.
/// `answer` holds the results of the call that it waits for.
pub(super) fn run(
    activation: &mut Activation,
    mut region: Part<'_>,
    answer: Option<&[u8]>,
    around: &mut Around<'_>,
) -> Event {
    let attached = region.attach(activation.layout.instance, around.code);
    let Ok((preamble, mut instance)) = attached else {
        return Fault::DigestMismatch.into();
    };
    // Between runs the activation holds the fuel, whatever an image says of the instance's.
    let slice = around.slice.min(activation.fuel);
    activation.fuel -= slice;
    instance.set_fuel(slice);
    let mut running = Running {
        preamble,
        instance,
        activation,
        around,
        slept_us: 0,
    };
    let event = match answer {
        Some(results) => running.take_answer(results),
        None => Ok(()),
    };
    let mut event = event
        .and_then(|()| running.go_on())
        .unwrap_or_else(|end| end);
    let Running {
        mut instance,
        activation,
        around,
        ..
    } = running;
    if let Event::Failed { place, .. } = &mut event {
        // A run that has failed has nothing to put out.
        let at = instance.position(around.out);
        *place = at.and_then(|at| Place::new(at.function, at.offset));
    }
    activation.fuel += instance.fuel();
    instance.set_fuel(0);
    activation.layout.used = activation.layout.instance + instance.extent();
    event
}

/// The arguments of the tasklet call that the activation in `region` waits for, once more.
pub(super) fn pending_call(
    activation: &Activation,
    mut region: Part<'_>,
    code: &[u8],
    out: &mut [u8],
) -> Result<Option<Event>, Event> {
    let attached = region.attach(activation.layout.instance, code);
    let (preamble, instance) = attached.map_err(|_| Fault::BadImage)?;
    let Some(call) = instance.pending() else {
        return Ok(None);
    };
    match link(activation, preamble, call.import)? {
        Link::Device { .. } => Ok(None),
        Link::Tasklet { import, signature } => {
            lift_call(&instance, import, &signature, out).map(Some)
        }
    }
}

struct Running<'r, 's> {
    preamble: &'r [u8],
    instance: Instance<'r>,
    activation: &'r mut Activation,
    around: &'r mut Around<'s>,
    /// How long it has slept so far.
    slept_us: u64,
}

impl Running<'_, '_> {
    /// Moves fuel into the instance.
    fn grant(&mut self, fuel: u64) {
        let had = self.instance.fuel();
        self.activation.fuel -= fuel;
        self.instance.set_fuel(had + fuel);
    }

    fn take_answer(&mut self, results: &[u8]) -> Result<(), Event> {
        let call = self.instance.pending().ok_or(Fault::BadImage)?;
        let Link::Tasklet { signature, .. } = link(self.activation, self.preamble, call.import)?
        else {
            return Err(Fault::BadImage.into());
        };
        let args = Values::of_call(&self.instance).bits();
        let lowered = abi::lower_result(&signature, &args, results, self.instance.memory_mut());
        let flat = lowered.map_err(|error| {
            if matches!(error, AbiError::DoesNotFit { .. }) {
                Fault::ValuesTooLarge.into()
            } else if error == AbiError::OutOfBounds {
                Event::from(TaskletTrap::OutOfBoundsMemory)
            } else {
                Fault::WrongSignature.into()
            }
        })?;
        self.answer(signature.flat_results(), &flat)
    }

    fn answer(&mut self, types: impl Iterator<Item = FlatType>, bits: &[u64]) -> Result<(), Event> {
        let values = Values::from_bits(types, bits);
        let resumed = self.instance.resume(values.as_slice());
        resumed.map_err(|_| Fault::BadImage.into())
    }

    fn go_on(&mut self) -> Result<Event, Event> {
        loop {
            let before = self.instance.fuel();
            let step = match self.instance.pending() {
                Some(call) => Step::Call(call),
                None => self.instance.run(),
            };
            match step {
                Step::Done if self.activation.phase == Phase::Start => self.call_export()?,
                Step::Done => return self.lift_result(),
                Step::Call(call) => match link(self.activation, self.preamble, call.import)? {
                    Link::Device {
                        capability,
                        function,
                    } => {
                        if !self.call_device(capability, function)? {
                            return Ok(Event::Yielded);
                        }
                    }
                    Link::Tasklet { import, signature } => {
                        return lift_call(&self.instance, import, &signature, self.around.out);
                    }
                },
                Step::OutOfFuel if self.activation.fuel == 0 => {
                    return Err(Fault::OutOfFuel.into());
                }
                // The next instruction costs more than a slice.
                Step::OutOfFuel if self.instance.fuel() == before => {
                    self.grant(self.around.slice.max(1).min(self.activation.fuel));
                }
                Step::OutOfFuel => return Ok(Event::Yielded),
                Step::Trapped(trap) => return Err(trapped(trap)),
            }
        }
    }

    /// Calls the export with the arguments that waited for the end of the start function.
    fn call_export(&mut self) -> Result<(), Event> {
        let layout = self.activation.layout;
        let args = &self.preamble[layout.links..][..layout.args];
        let export = &mut self.activation.export;
        start::invoke(&mut self.instance, export, args)?;
        self.activation.phase = Phase::Export;
        // They are in the instance now, and no part of an image any more.
        self.activation.layout.args = 0;
        Ok(())
    }

    fn lift_result(&mut self) -> Result<Event, Event> {
        let export = &self.activation.export;
        let mut results = [Value::I32(0); MAX_RESULTS];
        let count = self.instance.results(&mut results);
        let results = results.get(..count);
        let types = export.signature.flat_results();
        // Only the run of a forged image can end in another function than the export.
        let results = results.filter(|results| have_types(results, types));
        let results = results.ok_or(Fault::BadImage)?;
        let mut bits = [0; MAX_RESULTS];
        for (bits, value) in bits.iter_mut().zip(results) {
            *bits = value.to_bits();
        }
        let lifted = abi::lift_result(
            &export.signature,
            &export.result_space.map(u64::from),
            &bits[..count],
            self.instance.memory(),
            self.around.out,
        );
        lifted.map(|len| Event::Done { len }).map_err(lift_failed)
    }

    /// Calls a device function; false if the activation is to yield before, since it would sleep for
    /// too long in this turn.
    fn call_device(&mut self, capability: Capability, function: u8) -> Result<bool, Event> {
        let function = capability.functions().get(usize::from(function));
        let function = function.ok_or(Fault::UnknownImport)?;
        let args = Values::of_call(&self.instance).bits();
        if (capability, function.name) == (Capability::Clock, "sleep-us") {
            let sleep_us = args.first().map_or(0, |micros| u64::from(*micros as u32));
            if self.slept_us > 0 && self.slept_us + sleep_us > self.around.slept_us {
                return Ok(false);
            }
            self.slept_us += sleep_us;
        }
        self.charge(DEVICE_CALL_FUEL)?;
        let memory = self.instance.memory_mut();
        let tasklet = &self.activation.name;
        let host = &mut self.around.host;
        let result = host.call(tasklet, capability, function.name, &args, memory);
        let result = result.map_err(|fault| {
            if fault == Fault::WrongArguments {
                // These are the tasklet's own arguments, not those that it was called with.
                Event::from(TaskletTrap::Host)
            } else {
                fault.into()
            }
        })?;
        self.answer(function.result.into_iter(), &[result])?;
        Ok(true)
    }

    /// Takes fuel from the slice and, if that is too short, from the activation's other fuel: a
    /// call is made as a whole or not at all.
    fn charge(&mut self, fuel: u64) -> Result<(), Event> {
        let slice = self.instance.fuel();
        let beyond = fuel.saturating_sub(slice);
        if beyond > self.activation.fuel {
            self.activation.fuel = 0;
            self.instance.set_fuel(0);
            return Err(Fault::OutOfFuel.into());
        }
        self.instance.set_fuel(slice.saturating_sub(fuel));
        self.activation.fuel -= beyond;
        Ok(())
    }
}

fn link(activation: &Activation, preamble: &[u8], import: u16) -> Result<Link, Event> {
    let links = &preamble[..activation.layout.links];
    Link::at(links, usize::from(import)).ok_or(Fault::BadImage.into())
}

fn lift_call(
    instance: &Instance<'_>,
    import: u8,
    signature: &Signature,
    out: &mut [u8],
) -> Result<Event, Event> {
    let args = Values::of_call(instance).bits();
    let lifted = abi::lift_args(signature, &args, instance.memory(), out);
    let import = u16::from(import);
    lifted
        .map(|len| Event::Called { import, len })
        .map_err(lift_failed)
}
