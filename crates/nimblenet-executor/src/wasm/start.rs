//! Bringing a tasklet into a stretch of free bytes, from its module or from an image.

use nimblenet_tasklet::abi::{self, AbiError};
use nimblenet_tasklet::{Fault, Start, Trap};

use super::ExecutorOptions;
use super::activation::{Activation, Event, Export, Form, Layout, Phase, Waits, load_options};
use super::arena::rounded;
use super::image::Header;
use super::link::{LINK_BYTES, Link, has_types};
use super::run::{Values, trapped};
use nimblenet_wasm::Instance;
use nimblenet_wasm::LoadOptions;
use nimblenet_wasm::{ExternKind, MemoryType, Module};
use nimblenet_wasm::{Fault as Invalid, InvokeError, LoadError, Quantity, ThawError};

/// Why a tasklet is not in yet.
pub(super) enum Refusal {
    /// It cannot run.
    End(Event),
    /// It needs this many bytes, or more.
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
    gap: &mut [u8],
    start: &Start<'_>,
    options: &ExecutorOptions,
) -> Result<Activation, Refusal> {
    let plan = Plan::make(gap, start, options)?;
    let block = &mut gap[plan.layout.instance..];
    let mut instance = Instance::load(block, start.code, &plan.options)
        .map_err(|error| load_failed(error, plan.layout.instance))?;
    let name = plan.name;
    if instance.has_start() {
        let invoked = instance.invoke_start();
        invoked.map_err(|_| Event::from(Trap::StackExhausted))?;
        let mut activation = plan.activation(start, &instance, Phase::Start);
        keep_call(gap, &mut activation.layout, start.args, name)?;
        Ok(activation)
    } else {
        let mut activation = plan.activation(start, &instance, Phase::Export);
        let export = &mut activation.export;
        invoke(&mut instance, export, start.code, name, start.args)?;
        Ok(activation)
    }
}

/// Restores a tasklet at the start of `gap` from the image of an activation.
pub(super) fn thaw(
    gap: &mut [u8],
    start: &Start<'_>,
    image: &[u8],
    options: &ExecutorOptions,
) -> Result<Activation, Refusal> {
    let (header, args, image) = Header::read(image).ok_or(Fault::BadImage)?;
    let plan = Plan::make(gap, start, options)?;
    let block = &mut gap[plan.layout.instance..];
    let thawed = Instance::thaw(block, start.code, image, &plan.options);
    let instance = thawed.map_err(|error| match error {
        ThawError::Load(error) => load_failed(error, plan.layout.instance),
        ThawError::Damaged
        | ThawError::Version
        | ThawError::OtherModule
        | ThawError::Inconsistent => Fault::BadImage.into(),
    })?;
    let name = plan.name;
    let mut activation = plan.activation(start, &instance, header.phase);
    activation.fuel = start.fuel.min(header.fuel);
    activation.export.result_space = header.result_space.map(u64::from);
    if header.phase == Phase::Start {
        keep_call(gap, &mut activation.layout, args, name)?;
    }
    Ok(activation)
}

/// Sets up the call of the export called `name` with the CBOR array `args`.
pub(super) fn invoke(
    instance: &mut Instance<'_>,
    export: &mut Export,
    code: &[u8],
    name: &str,
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
        export.result_space = [*address, *capacity];
    }
    let values = Values::from_bits(export.signature.flat_params(), &flat);
    let invoked = instance.invoke(code, name, values.as_slice());
    invoked.map_err(|error| {
        if error == InvokeError::StackExhausted {
            Event::from(Trap::StackExhausted)
        } else {
            Fault::UnknownExport.into()
        }
    })
}

/// What the image of an activation starts with.
pub(super) fn header(activation: &Activation) -> Header {
    Header {
        phase: activation.phase,
        fuel: activation.fuel,
        result_space: activation.export.result_space.map(|it| it as u32),
        args: activation.layout.args as u32,
    }
}

/// What is known of a tasklet before it is loaded.
struct Plan<'a> {
    layout: Layout,
    options: LoadOptions,
    export: Export,
    name: &'a str,
    /// What linear memory may grow to.
    memory_limit: usize,
}

impl<'a> Plan<'a> {
    /// Checks the module against its entry, and writes its links to the start of `gap`.
    fn make(gap: &mut [u8], start: &Start<'a>, options: &ExecutorOptions) -> Result<Self, Refusal> {
        let terms = &start.entry.terms;
        let promised = terms.export(start.export).ok_or(Fault::UnknownExport)?;
        let module = Module::parse(start.code).map_err(|_| Fault::InvalidModule)?;
        let function = module
            .export(promised.name)
            .filter(|export| export.kind == ExternKind::Function)
            .and_then(|export| module.function(export.index))
            .ok_or(Fault::UnknownExport)?;
        let signature = promised.signature;
        if !has_types(&function, signature.flat_params(), signature.flat_results()) {
            return Err(Fault::WrongSignature.into());
        }
        let links = resolve(gap, &module, start)?;
        let memory = module.memory();
        let bytes =
            |pages: u32, memory: &MemoryType| u64::from(pages) * u64::from(memory.page_bytes);
        let initial = memory.map_or(0, |memory| bytes(memory.min, &memory));
        let own = memory.and_then(|memory| Some(bytes(memory.max?, &memory)));
        let ceiling = match u64::from(terms.memory_bytes) {
            0 => initial,
            ceiling => ceiling,
        };
        let ceiling = ceiling.min(options.limits.memory_bytes.into());
        Ok(Self {
            layout: Layout {
                links,
                args: 0,
                name: 0,
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
                signature,
                area: terms.area,
                result_space: [0; 2],
            },
            name: promised.name,
            memory_limit: own.map_or(ceiling, |own| own.min(ceiling)) as usize,
        })
    }

    /// The activation, with `instance` in place.
    fn activation(self, start: &Start<'_>, instance: &Instance<'_>, phase: Phase) -> Activation {
        let used = self.layout.instance + instance.extent();
        let growth = self.memory_limit.saturating_sub(instance.memory().len());
        Activation {
            id: start.activation,
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
        }
    }
}

/// Resolves the module's imports, writes their links to the start of `gap` and returns how many
/// bytes they take.
fn resolve(gap: &mut [u8], module: &Module<'_>, start: &Start<'_>) -> Result<usize, Refusal> {
    let (mut len, mut tasklets) = (0, 0);
    for imported in module.imports() {
        let link = Link::resolve(&imported, tasklets, &start.entry, start.granted)?;
        if let Link::Tasklet { .. } = link {
            tasklets += 1;
        }
        let Some(bytes) = gap.get_mut(len..len + LINK_BYTES) else {
            return Err(Refusal::NeedsBytes(len + LINK_BYTES));
        };
        bytes.copy_from_slice(&link.to_bytes());
        len += LINK_BYTES;
    }
    Ok(len)
}

/// Puts what the call of the export needs between the links and the instance, which moves up.
fn keep_call(gap: &mut [u8], layout: &mut Layout, args: &[u8], name: &str) -> Result<(), Refusal> {
    let shift = rounded(args.len() + name.len());
    let (from, to) = (layout.instance, layout.used);
    if layout.full + shift > gap.len() {
        return Err(Refusal::NeedsBytes(layout.full + shift));
    }
    gap.copy_within(from..to, from + shift);
    gap[from..from + args.len()].copy_from_slice(args);
    gap[from + args.len()..][..name.len()].copy_from_slice(name.as_bytes());
    *layout = Layout {
        args: args.len(),
        name: name.len(),
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
        LoadError::Misaligned | LoadError::WrongModule => Fault::InvalidModule.into(),
    }
}
