//! Loads a tasklet into a stretch of free bytes, or thaws it there from an image.

use nimblenet_tasklet::abi::{self, AbiError};
use nimblenet_tasklet::{Export as Promised, Fault, Start, Trap};
use nimblenet_wasm::{
    Fault as Invalid, Instance, InvokeError, LoadError, LoadOptions, MemoryType, Module, Part,
    Quantity, ThawError,
};

use super::activation::{Activation, Event, Export, Form, Layout, Phase, Waits, load_options};
use super::arena::rounded;
use super::image::Header;
use super::link::{LINK_BYTES, Link, has_types};
use super::values::{Values, trapped};
use super::warm::Warm;
use crate::ExecutorOptions;

/// Why a tasklet is not loaded yet.
pub(super) enum Refusal {
    /// It cannot run; this is its end.
    End(Event),
    /// It needs at least this many bytes.
    NeedsBytes(usize),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::End(fault.into())
    }
}

impl From<Event> for Refusal {
    fn from(end: Event) -> Self {
        Self::End(end)
    }
}

/// Loads a tasklet at the start of `gap` and sets up the call of its export, or of its start
/// function if it has one.
pub(super) fn load(
    gap: &mut Part<'_>,
    start: &Start<'_>,
    options: &ExecutorOptions,
) -> Result<Activation, Refusal> {
    let plan = Plan::make(gap, start, options)?;
    let at = plan.layout.instance;
    let loaded = gap.load(at, start.code, &plan.options);
    let instance = loaded.map_err(|error| load_failed(error, at))?;
    let mut activation = plan.begin(instance, start)?;
    keep_call(gap, &mut activation, start.args)?;
    Ok(activation)
}

/// Does what [`load`] does, in a region that holds a kept block. Nothing if the block does not suit
/// the start.
pub(super) fn load_warm(
    region: &mut Part<'_>,
    warm: &Warm,
    start: &Start<'_>,
    options: &ExecutorOptions,
) -> Option<Result<Activation, Event>> {
    if warm.digest != start.entry.digest.0 {
        return None;
    }
    let (plan, instance) = Plan::of_warm(region, warm, start, options)?;
    let begun = plan.begin(instance, start).and_then(|mut activation| {
        keep_call(region, &mut activation, start.args)?;
        Ok(activation)
    });
    match begun {
        Ok(activation) => Some(Ok(activation)),
        Err(Refusal::End(end)) => Some(Err(end)),
        // The region has no room for the arguments before the block.
        Err(Refusal::NeedsBytes(_)) => None,
    }
}

/// Restores a tasklet at the start of `gap` from the image of an activation.
pub(super) fn thaw(
    gap: &mut Part<'_>,
    start: &Start<'_>,
    image: &[u8],
    options: &ExecutorOptions,
) -> Result<Activation, Refusal> {
    let (header, args, image) = Header::read(image).ok_or(Fault::BadImage)?;
    let plan = Plan::make(gap, start, options)?;
    let thawed = gap.thaw(plan.layout.instance, start.code, image, &plan.options);
    let instance = thawed.map_err(|error| match error {
        ThawError::Load(error) => load_failed(error, plan.layout.instance),
        ThawError::Damaged
        | ThawError::Version
        | ThawError::OtherModule
        | ThawError::Inconsistent => Fault::BadImage.into(),
    })?;
    let mut activation = plan.activation(start, &instance, header.phase)?;
    activation.fuel = start.fuel.min(header.fuel);
    activation.export.result_space = header.result_space;
    keep_call(gap, &mut activation, args)?;
    Ok(activation)
}

/// Sets up the call of the export with the CBOR array `args`.
pub(super) fn invoke(
    instance: &mut Instance<'_>,
    export: &mut Export,
    args: &[u8],
) -> Result<(), Event> {
    let lowered = abi::lower_args(&export.signature, args, export.area, instance.memory_mut());
    let flat = lowered.map_err(|error| {
        if matches!(error, AbiError::DoesNotFit { .. } | AbiError::OutOfBounds) {
            Fault::ValuesTooLarge
        } else {
            Fault::WrongArguments
        }
    })?;
    if let (Some(_), [.., address, capacity]) = (export.signature.list_result(), &flat[..]) {
        export.result_space = [*address as u32, *capacity as u32];
    }
    let values = Values::from_bits(export.signature.flat_params(), &flat);
    let invoked = instance.invoke_function(export.func, values.as_slice());
    invoked.map_err(|error| {
        if error == InvokeError::StackExhausted {
            Event::from(Trap::StackExhausted)
        } else {
            Fault::UnknownExport.into()
        }
    })
}

/// The header of an activation's image.
pub(super) fn header(activation: &Activation) -> Header {
    Header {
        phase: activation.phase,
        fuel: activation.fuel,
        result_space: activation.export.result_space,
        args: activation.layout.args as u32,
    }
}

/// What follows from a tasklet's entry and module, before there is an instance.
struct Plan<'a> {
    layout: Layout,
    options: LoadOptions,
    export: Export,
    name: &'a str,
}

impl<'a> Plan<'a> {
    /// Checks the module against its entry, and writes its links to the start of `gap`.
    fn make(
        gap: &mut Part<'_>,
        start: &Start<'a>,
        options: &ExecutorOptions,
    ) -> Result<Self, Refusal> {
        let promised = start.entry.terms.export(start.export);
        let promised = promised.ok_or(Fault::UnknownExport)?;
        let module = Module::parse(start.code).map_err(|_| Fault::InvalidModule)?;
        let links = resolve(gap, &module, start)?;
        let bytes = |pages, memory: MemoryType| u64::from(pages) * u64::from(memory.page_bytes);
        let memory = module.memory();
        let initial = memory.map_or(0, |memory| bytes(memory.min, memory));
        let ceiling = ceiling(start, initial, options);
        let plan = Self::with(links, ceiling, promised, start, options);
        // Ask for room now, so that no module is loaded in vain.
        let most = memory.map_or(0, |memory| {
            memory
                .max
                .map_or(ceiling, |max| bytes(max, memory).min(ceiling))
        });
        let needed = plan.layout.instance.saturating_add(most as usize);
        if needed > gap.bytes().len() {
            return Err(Refusal::NeedsBytes(needed));
        }
        Ok(plan)
    }

    /// Makes the same plan for a module whose block is kept: checks the entry, writes the links
    /// again, and resets the instance. Nothing if this block does not suit the start.
    fn of_warm<'r>(
        region: &'r mut Part<'_>,
        warm: &Warm,
        start: &'r Start<'a>,
        options: &ExecutorOptions,
    ) -> Option<(Self, Instance<'r>)> {
        let promised = start.entry.terms.export(start.export)?;
        if warm.links > 0 {
            let module = Module::parse(start.code).ok()?;
            resolve(region, &module, start).ok()?;
        }
        let (_, mut instance) = region.attach(warm.instance(), start.code).ok()?;
        let initial = instance.memory_at_start();
        let ceiling = ceiling(start, initial.into(), options);
        if ceiling != u64::from(warm.memory_bytes) {
            return None;
        }
        instance.reset().ok()?;
        let plan = Self::with(warm.links, ceiling, promised, start, options);
        Some((plan, instance))
    }

    fn with(
        links: usize,
        ceiling: u64,
        promised: Promised<'a>,
        start: &Start<'_>,
        options: &ExecutorOptions,
    ) -> Self {
        Self {
            layout: Layout {
                links,
                args: 0,
                instance: rounded(links),
                used: 0,
                full: 0,
            },
            options: load_options(
                &options.limits,
                options.metered,
                ceiling as u32,
                start.entry.digest.0,
            ),
            export: Export {
                // Known once the module is loaded.
                func: 0,
                signature: promised.signature,
                area: start.entry.terms.area,
                result_space: [0; 2],
            },
            name: promised.name,
        }
    }

    /// The activation, with `instance` in place.
    ///
    /// # Errors
    /// If the module does not export what the entry promises.
    fn activation(
        mut self,
        start: &Start<'_>,
        instance: &Instance<'_>,
        phase: Phase,
    ) -> Result<Activation, Fault> {
        let function = instance.export_function(self.name);
        let (func, function) = function.ok_or(Fault::UnknownExport)?;
        self.export.func = func;
        let signature = &self.export.signature;
        if !has_types(&function, signature.flat_params(), signature.flat_results()) {
            return Err(Fault::WrongSignature);
        }
        let used = self.layout.instance + instance.extent();
        let growth = instance.memory_limit() as usize;
        let growth = growth.saturating_sub(instance.memory().len());
        Ok(Activation {
            id: start.activation,
            name: start.name,
            waits: Waits::ToContinue,
            phase,
            form: Form::Block,
            layout: Layout {
                used,
                full: used + growth,
                ..self.layout
            },
            fuel: start.fuel,
            export: self.export,
            memory_bytes: self.options.limits.memory_bytes,
            digest: self.options.digest,
        })
    }

    /// Sets up the first run of the freshly loaded instance.
    fn begin(self, mut instance: Instance<'_>, start: &Start<'_>) -> Result<Activation, Refusal> {
        if instance.has_start() {
            let invoked = instance.invoke_start();
            invoked.map_err(|_| Event::from(Trap::StackExhausted))?;
            Ok(self.activation(start, &instance, Phase::Start)?)
        } else {
            let mut activation = self.activation(start, &instance, Phase::Export)?;
            let export = &mut activation.export;
            invoke(&mut instance, export, start.args)?;
            Ok(activation)
        }
    }
}

/// The ceiling on linear memory: the entry's, or what the module starts with.
fn ceiling(start: &Start<'_>, initial: u64, options: &ExecutorOptions) -> u64 {
    let ceiling = match u64::from(start.entry.terms.memory_bytes) {
        0 => initial,
        ceiling => ceiling,
    };
    ceiling.min(options.limits.memory_bytes.into())
}

/// Resolves the module's imports, writes their links to the start of `gap` and returns how many
/// bytes they take.
fn resolve(gap: &mut Part<'_>, module: &Module<'_>, start: &Start<'_>) -> Result<usize, Refusal> {
    let (mut len, mut tasklets) = (0, 0);
    for imported in module.imports() {
        let link = Link::resolve(&imported, tasklets, &start.entry, start.granted)?;
        if let Link::Tasklet { .. } = link {
            tasklets += 1;
        }
        let end = len + LINK_BYTES;
        gap.write(len, &link.to_bytes())
            .ok_or(Refusal::NeedsBytes(end))?;
        len = end;
    }
    Ok(len)
}

/// If the start function runs first, puts the arguments of the export between the links and the
/// instance, which moves up.
fn keep_call(gap: &mut Part<'_>, activation: &mut Activation, args: &[u8]) -> Result<(), Refusal> {
    if activation.phase != Phase::Start {
        return Ok(());
    }
    let layout = &mut activation.layout;
    let shift = rounded(args.len());
    let (from, to) = (layout.instance, layout.used);
    let needed = Refusal::NeedsBytes(layout.full + shift);
    if to + shift > gap.bytes().len() {
        return Err(needed);
    }
    gap.shift(from..to, from + shift);
    gap.write(from, args).ok_or(needed)?;
    *layout = Layout {
        args: args.len(),
        instance: from + shift,
        used: to + shift,
        full: layout.full + shift,
        ..*layout
    };
    Ok(())
}

fn load_failed(error: LoadError, before: usize) -> Refusal {
    match error {
        LoadError::OutOfMemory { needed } => Refusal::NeedsBytes(before + needed),
        LoadError::Invalid(invalid) => Refusal::from(
            if invalid.fault == Invalid::TooMany(Quantity::MemoryBytes) {
                Fault::NoMemory
            } else {
                Fault::InvalidModule
            },
        ),
        LoadError::Trapped(trap) => Refusal::End(trapped(trap)),
        LoadError::Misaligned => Fault::InvalidModule.into(),
    }
}
