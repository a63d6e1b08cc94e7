//! Terms, which say what a tasklet offers and needs: the part of an entry that the packer derives.

use minicbor::Encoder;
use minicbor::encode::write::Cursor;

use crate::deterministic::{Items, Trust};
use crate::{Malformed, Signature};

/// The export that is called when a caller names none.
const DEFAULT_EXPORT: &str = "run";
/// An entry lists at most this many exports.
const MAX_EXPORTS: usize = 8;

/// What runs a tasklet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Executor {
    /// The WebAssembly interpreter; the module's bytes are fetched.
    Wasm = 0,
    /// A function of the device itself, found by the tasklet's name; nothing is fetched.
    Native = 1,
}

impl Executor {
    /// The executor's name in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Native => "native",
        }
    }

    /// Whether its tasklets have modules, which are fetched before they run.
    pub const fn has_module(self) -> bool {
        match self {
            Self::Wasm => true,
            Self::Native => false,
        }
    }
}

/// A facility of the node that a WebAssembly module may import from `nimblenet:<name>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Capability {
    /// Read the node's sensors.
    Sensor = 0,
    /// Drive the node's actuators.
    Actuator = 1,
    /// Read the node's clock.
    Clock = 2,
    /// Write to the node's log.
    Log = 3,
    /// Keep values on the node.
    Kv = 4,
    /// Draw random numbers.
    Random = 5,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Self; 6] = [
        Self::Sensor,
        Self::Actuator,
        Self::Clock,
        Self::Log,
        Self::Kv,
        Self::Random,
    ];

    /// The name after `nimblenet:` in an import, and in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::Actuator => "actuator",
            Self::Clock => "clock",
            Self::Log => "log",
            Self::Kv => "kv",
            Self::Random => "random",
        }
    }

    /// The capability of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|capability| capability.name() == name)
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Capabilities(pub u8);

impl Capabilities {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// All capabilities.
    pub const ALL: Self = Self(0x3f);

    /// The set with `capability` added.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u8)
    }

    /// Whether `capability` is in the set.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u8 != 0
    }

    /// What is different on each node: its devices, and the values that it keeps. Who needs that is bound
    /// to the node.
    pub const OF_THE_NODE: Self = Self::NONE
        .with(Capability::Sensor)
        .with(Capability::Actuator)
        .with(Capability::Kv);

    /// Whether some capability of `others` is in this set.
    pub const fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether every capability of `wanted` is in this set.
    pub const fn covers(self, wanted: Self) -> bool {
        wanted.0 & !self.0 == 0
    }

    /// The capabilities in the set.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .into_iter()
            .filter(move |capability| self.has(*capability))
    }
}

/// The area of a module's memory for lists in arguments and results.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Area {
    /// Address in linear memory.
    pub offset: u32,
    /// Length in bytes; 0 when no signature has a list.
    pub len: u32,
}

/// An exported function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Export<'a> {
    /// Its name in the module.
    pub name: &'a str,
    /// Its signature.
    pub signature: Signature,
}

impl<'a> Export<'a> {
    /// An export with the default name, `run`.
    pub const fn run(signature: Signature) -> Self {
        Self {
            name: DEFAULT_EXPORT,
            signature,
        }
    }
}

/// What a tasklet offers and needs, as entries and packages hold it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Terms<'a> {
    /// The kind of executor that runs it.
    pub executor: Executor,
    /// Encoded exports; read with [`exports`](Self::exports).
    pub(crate) exports: &'a [u8],
    /// Ceiling on its linear memory, in bytes.
    pub memory_bytes: u32,
    /// Ceiling on its fuel for one activation, its sub-tasklets included.
    pub fuel: u64,
    /// Fuel that one typical activation uses, without its sub-tasklets; 0 if not known. It stands
    /// for the easy-to-estimate execution time of the paper's section 3.3.
    pub cost: u64,
    /// The area through which lists pass.
    pub area: Area,
    /// Capabilities it wants.
    pub capabilities: Capabilities,
}

impl<'a> Terms<'a> {
    /// The exported functions.
    pub fn exports(&self) -> impl Iterator<Item = Export<'a>> + use<'a> {
        let mut items = Items::new(self.exports);
        let count = items.head(4).unwrap_or(0);
        (0..count).map_while(move |_| read_export(&mut items))
    }

    /// How many exported functions there are.
    pub(crate) fn count_exports(&self) -> u64 {
        Items::new(self.exports).head(4).unwrap_or(0)
    }

    /// The exported function called `name`; the empty name means `run`.
    pub fn export(&self, name: &str) -> Option<Export<'a>> {
        let (name, signature) = self.find(name)?;
        let name = core::str::from_utf8(name).ok()?;
        Signature::decode(signature).map(|signature| Export { name, signature })
    }

    /// The signature of the exported function called `name`; the empty name means `run`.
    pub fn signature(&self, name: &str) -> Option<Signature> {
        Signature::decode(self.find(name)?.1)
    }

    /// Name and encoded signature of an export.
    fn find(&self, name: &str) -> Option<(&'a [u8], &'a [u8])> {
        let name = if name.is_empty() {
            DEFAULT_EXPORT
        } else {
            name
        };
        let mut items = Items::new(self.exports);
        let count = items.head(4)?;
        let mut exports = (0..count).map_while(|_| {
            items.head(4)?;
            Some((items.content(3)?, items.content(2)?))
        });
        exports.find(|(own, _)| *own == name.as_bytes())
    }

    /// Writes the map entries with keys 5 to 12, without those that have default values.
    pub(crate) fn encode(&self, encoder: &mut Encoder<Cursor<&mut [u8]>>) -> Option<()> {
        if self.executor != Executor::Wasm {
            encoder.u8(5).ok()?.u8(self.executor as u8).ok()?;
        }
        encoder.u8(6).ok()?;
        minicbor::encode::Write::write_all(encoder.writer_mut(), self.exports).ok()?;
        let numbers = [
            (7, u64::from(self.memory_bytes)),
            (8, self.fuel),
            (9, self.cost),
            (10, u64::from(self.area.offset)),
            (11, u64::from(self.area.len)),
            (12, u64::from(self.capabilities.0)),
        ];
        for (key, value) in numbers {
            if value != 0 {
                encoder.u8(key).ok()?.u64(value).ok()?;
            }
        }
        Some(())
    }

    /// How many map entries [`encode`](Self::encode) writes.
    pub(crate) fn fields(&self) -> u64 {
        let numbers = [
            u64::from(self.memory_bytes),
            self.fuel,
            self.cost,
            u64::from(self.area.offset),
            u64::from(self.area.len),
            u64::from(self.capabilities.0),
        ];
        1 + u64::from(self.executor != Executor::Wasm)
            + numbers.iter().filter(|value| **value != 0).count() as u64
    }
}

/// Collects terms field by field while a map is read.
pub(crate) struct TermsReader<'a> {
    executor: Executor,
    exports: Option<&'a [u8]>,
    numbers: [u64; 6],
}

impl<'a> TermsReader<'a> {
    pub(crate) fn new() -> Self {
        Self {
            executor: Executor::Wasm,
            exports: None,
            numbers: [0; 6],
        }
    }

    /// Reads the value of `key`; false if the key is not one of the terms.
    pub(crate) fn read(
        &mut self,
        key: u8,
        items: &mut Items<'a>,
        trust: Trust,
    ) -> Result<bool, Malformed> {
        let wrong = Malformed::Field(key);
        match key {
            5 | 7..=12 => {
                let value = items.number().ok_or(wrong)?;
                self.set(key, value).ok_or(wrong)?;
            }
            6 => self.exports = Some(read_exports(items, key, trust)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes the number under `key`; nothing if the number is not allowed there.
    fn set(&mut self, key: u8, value: u64) -> Option<()> {
        if key == 5 {
            self.executor = Executor::Native;
            return (value == 1).then_some(());
        }
        let narrow = key != 8 && key != 9;
        if value == 0 || narrow && value > u64::from(u32::MAX) {
            return None;
        }
        self.numbers[usize::from(key - 7)] = value;
        Some(())
    }

    pub(crate) fn finish(self) -> Result<Terms<'a>, Malformed> {
        let [memory, fuel, cost, offset, len, capabilities] = self.numbers;
        let area = Area {
            offset: offset as u32,
            len: len as u32,
        };
        if offset + len > memory {
            return Err(Malformed::Field(11));
        }
        let capabilities = u8::try_from(capabilities).map_err(|_| Malformed::Field(12))?;
        if !Capabilities::ALL.covers(Capabilities(capabilities)) {
            return Err(Malformed::Field(12));
        }
        Ok(Terms {
            executor: self.executor,
            exports: self.exports.ok_or(Malformed::Field(6))?,
            memory_bytes: memory as u32,
            fuel,
            cost,
            area,
            capabilities: Capabilities(capabilities),
        })
    }
}

/// Encodes exports in the form that [`Terms`] keeps; returns the length, or nothing if `out` is
/// too short or there are too many.
pub(crate) fn encode_exports(exports: &[Export<'_>], out: &mut [u8]) -> Option<usize> {
    if exports.len() > MAX_EXPORTS {
        return None;
    }
    let mut encoder = Encoder::new(Cursor::new(out));
    encoder.array(exports.len() as u64).ok()?;
    for export in exports {
        let mut bytes = [0; Signature::MAX_BYTES];
        let len = export.signature.encode(&mut bytes);
        encoder
            .array(2)
            .ok()?
            .str(export.name)
            .ok()?
            .bytes(&bytes[..len])
            .ok()?;
    }
    Some(encoder.writer().position())
}

fn read_export<'a>(items: &mut Items<'a>) -> Option<Export<'a>> {
    if items.head(4)? != 2 {
        return None;
    }
    Some(Export {
        name: items.text()?,
        signature: Signature::decode(items.content(2)?)?,
    })
}

fn read_exports<'a>(items: &mut Items<'a>, key: u8, trust: Trust) -> Result<&'a [u8], Malformed> {
    let wrong = Malformed::Field(key);
    if trust == Trust::Nothing {
        let mut ahead = items.clone();
        let count = ahead.head(4).ok_or(wrong)?;
        if count > MAX_EXPORTS as u64 {
            return Err(Malformed::TooMany);
        }
        for _ in 0..count {
            read_export(&mut ahead).ok_or(wrong)?;
        }
    }
    items.item().ok_or(wrong)
}
