//! The manifest: what the packer cannot see in the module.

use core::fmt;
use std::collections::BTreeMap;

use nimblenet_tasklet::{Capabilities, Capability, Executor, Signature, TaskletName};
use serde::de::{IgnoredAny, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::{PackError, names, types};

/// Fuel ceiling of a tasklet whose manifest gives none.
const DEFAULT_FUEL: u64 = 10_000_000;

/// A tasklet's manifest, checked (spec/package.md, section 4).
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The tasklet's full name, here or on the command line.
    pub name: Option<TaskletName>,
    /// What runs it.
    pub executor: Executor,
    /// Signatures by export name; empty if they are to be derived.
    pub exports: BTreeMap<String, Signature>,
    /// The names of the parameters of each of them, empty where one has none.
    pub param_names: BTreeMap<String, Vec<String>>,
    /// Signatures by `namespace/name` (its export `run`) or `namespace/name/export`.
    pub imports: BTreeMap<String, Signature>,
    /// Ceiling on fuel for one activation.
    pub fuel: u64,
    /// Fuel of a typical activation, where it is not measured.
    pub cost: Option<u64>,
    /// Bytes of memory for data, stack and heap, instead of what is derived.
    pub memory_bytes: Option<u64>,
    /// Bytes of heap above data and stack.
    pub heap_bytes: Option<u64>,
    /// Length of the area where lists cross.
    pub area_bytes: Option<u32>,
    /// The shadow stack that the module was linked with, which is enough by its author's word where
    /// that cannot be computed.
    pub stack_bytes: Option<u32>,
    /// The shadow stack that the module was linked with by whoever calls the packer, whether it is
    /// enough or not; no key of the file.
    pub linked_stack_bytes: Option<u32>,
    /// Capabilities; derived if not given.
    pub capabilities: Option<Capabilities>,
    /// Arguments of a typical activation, as a JSON array.
    pub example: Option<String>,
}

/// The manifest as it stands in the file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    executor: Option<WrittenExecutor>,
    #[serde(default)]
    exports: BTreeMap<String, String>,
    #[serde(default)]
    imports: BTreeMap<String, String>,
    fuel: Option<Number<1, { i64::MAX as u64 }>>,
    cost: Option<Number<0, { i64::MAX as u64 }>>,
    memory: Option<Bytes>,
    heap: Option<Bytes>,
    area: Option<Bytes>,
    stack: Option<Bytes>,
    capabilities: Option<Vec<String>>,
    example: Option<String>,
    /// How to compile the module, which is done before it is packed.
    #[serde(rename = "build")]
    _build: Option<IgnoredAny>,
}

/// A whole number within bounds, which are named where it is something else.
struct Number<const MIN: u64, const MAX: u64>(u64);

/// So many bytes of a memory.
type Bytes = Number<0, { u32::MAX as u64 }>;

impl<const MIN: u64, const MAX: u64> Number<MIN, MAX> {
    fn bytes(&self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Number<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_i64(Self(0))
    }
}

impl<const MIN: u64, const MAX: u64> Visitor<'_> for Number<MIN, MAX> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self, E> {
        let number = u64::try_from(value).ok();
        let number = number.filter(|number| (MIN..=MAX).contains(number));
        let wrong = || E::invalid_value(Unexpected::Signed(value), &self);
        number.map(Self).ok_or_else(wrong)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenExecutor {
    Wasm,
    Native,
}

impl Manifest {
    /// A manifest that leaves everything to be derived.
    pub fn named(name: TaskletName) -> Self {
        Self {
            name: Some(name),
            executor: Executor::Wasm,
            exports: BTreeMap::new(),
            param_names: BTreeMap::new(),
            imports: BTreeMap::new(),
            fuel: DEFAULT_FUEL,
            cost: None,
            memory_bytes: None,
            heap_bytes: None,
            area_bytes: None,
            stack_bytes: None,
            linked_stack_bytes: None,
            capabilities: None,
            example: None,
        }
    }

    /// Reads a manifest file's text.
    ///
    /// # Errors
    /// [`PackError`] names the key that is unknown or has a wrong value.
    pub fn parse(text: &str) -> Result<Self, PackError> {
        let written: Written = toml::from_str(text)
            .map_err(|error| PackError::Manifest(error.to_string().trim_end().to_owned()))?;
        if written.cost.is_some() && written.example.is_some() {
            return Err(PackError::CostTwice);
        }
        let executor = match written.executor {
            Some(WrittenExecutor::Native) => Executor::Native,
            Some(WrittenExecutor::Wasm) | None => Executor::Wasm,
        };
        let capabilities = written.capabilities.as_deref();
        Ok(Self {
            name: written.name.as_deref().map(tasklet_name).transpose()?,
            executor,
            param_names: param_names(&written.exports)?,
            exports: signatures(written.exports)?,
            imports: signatures(written.imports)?,
            fuel: written.fuel.map_or(DEFAULT_FUEL, |fuel| fuel.0),
            cost: written.cost.map(|cost| cost.0),
            memory_bytes: written.memory.map(|bytes| bytes.0),
            heap_bytes: written.heap.map(|bytes| bytes.0),
            area_bytes: written.area.map(|bytes| bytes.bytes()),
            stack_bytes: written.stack.map(|bytes| bytes.bytes()),
            linked_stack_bytes: None,
            capabilities: capabilities.map(read_capabilities).transpose()?,
            example: written.example,
        })
    }

    /// The shadow stack that the module was linked with, if anybody says so.
    pub(super) fn linked_stack(&self) -> Option<u32> {
        self.linked_stack_bytes.or(self.stack_bytes)
    }

    /// The same manifest for the tasklet that the caller names.
    ///
    /// # Errors
    /// [`PackError::OtherName`] if the manifest names another.
    pub fn with_name(self, given: TaskletName) -> Result<Self, PackError> {
        match self.name {
            Some(manifest) if manifest != given => Err(PackError::OtherName {
                manifest: manifest.to_string(),
                given: given.to_string(),
            }),
            _ => Ok(Self {
                name: Some(given),
                ..self
            }),
        }
    }
}

/// Checks a full name from a manifest or an import.
pub(super) fn tasklet_name(text: &str) -> Result<TaskletName, PackError> {
    TaskletName::new(text).map_err(|why| PackError::Name {
        text: text.to_owned(),
        why,
    })
}

fn signatures(written: BTreeMap<String, String>) -> Result<BTreeMap<String, Signature>, PackError> {
    written
        .into_iter()
        .map(|(of, text)| match text.parse() {
            Ok(signature) => Ok((of, signature)),
            Err(why) => Err(match types::refused(&text) {
                each if each.is_empty() => PackError::Signature { of, why },
                each => PackError::Types(
                    each.into_iter()
                        .map(|sentence| format!("the signature of `{of}`, {sentence}"))
                        .collect(),
                ),
            }),
        })
        .collect()
}

fn param_names(
    written: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Vec<String>>, PackError> {
    let names = written.iter();
    names
        .map(|(of, text)| Ok((of.clone(), names::of(text)?)))
        .collect()
}

fn read_capabilities(names: &[String]) -> Result<Capabilities, PackError> {
    names.iter().try_fold(Capabilities::NONE, |set, name| {
        let capability = Capability::from_name(name);
        let capability = capability.ok_or_else(|| PackError::UnknownCapability(name.clone()))?;
        Ok(set.with(capability))
    })
}
