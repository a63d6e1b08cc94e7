//! Imports of a module, resolved once at the start.

use nimblenet_tasklet::{Capabilities, Capability, Entry, Fault, FlatType, Signature};
use nimblenet_wasm::{FunctionType, Import, ValType};

/// Length of a link in the preamble.
pub(super) const LINK_BYTES: usize = 16;

/// Set in the first byte of a link to a capability.
const CAPABILITY: u8 = 0x80;

/// What an imported function stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// A function of the device, by its position in [`Capability::functions`].
    Device {
        capability: Capability,
        function: u8,
    },
    /// Another tasklet, by its position in the entry's imports.
    Tasklet { import: u8, signature: Signature },
}

impl Link {
    /// Resolves an import: `import` is its position among the imports of tasklets so far.
    ///
    /// # Errors
    /// The fault that the start fails with.
    pub(super) fn resolve(
        imported: &Import<'_>,
        import: u8,
        entry: &Entry<'_>,
        granted: Capabilities,
    ) -> Result<Self, Fault> {
        if let Some(capability) = Capability::from_module(imported.module) {
            return Self::device(imported, capability, granted);
        }
        if !imported.module.contains('/') {
            return Err(Fault::UnknownImport);
        }
        let promised = entry
            .imports()
            .nth(usize::from(import))
            .filter(|promised| promised.export == imported.name)
            .ok_or(Fault::UnknownImport)?;
        let signature = promised.signature;
        if !has_types(
            &imported.ty,
            signature.flat_params(),
            signature.flat_results(),
        ) {
            return Err(Fault::WrongSignature);
        }
        Ok(Self::Tasklet { import, signature })
    }

    fn device(
        imported: &Import<'_>,
        capability: Capability,
        granted: Capabilities,
    ) -> Result<Self, Fault> {
        let mut functions = capability.functions().iter();
        let function = functions
            .position(|function| function.name == imported.name)
            .ok_or(Fault::UnknownImport)?;
        let promised = &capability.functions()[function];
        if !has_types(
            &imported.ty,
            promised.params.iter().copied(),
            promised.result.into_iter(),
        ) {
            return Err(Fault::WrongSignature);
        }
        if !granted.has(capability) {
            return Err(Fault::CapabilityDenied);
        }
        Ok(Self::Device {
            capability,
            function: function as u8,
        })
    }

    /// The link as it stands in the preamble.
    pub(super) fn to_bytes(self) -> [u8; LINK_BYTES] {
        let mut bytes = [0; LINK_BYTES];
        match self {
            Self::Device {
                capability,
                function,
            } => {
                bytes[0] = CAPABILITY | capability as u8;
                bytes[1] = function;
            }
            Self::Tasklet { import, signature } => {
                let mut encoded = [0; Signature::MAX_BYTES];
                let len = signature.encode(&mut encoded);
                bytes[0] = import;
                bytes[1] = len as u8;
                bytes[2..2 + len].copy_from_slice(&encoded[..len]);
            }
        }
        bytes
    }

    /// The link of import `index` in a preamble's links.
    pub(super) fn at(links: &[u8], index: usize) -> Option<Self> {
        let bytes = links.get(index * LINK_BYTES..)?.get(..LINK_BYTES)?;
        if bytes[0] & CAPABILITY != 0 {
            return Some(Self::Device {
                capability: *Capability::ALL.get(usize::from(bytes[0] & !CAPABILITY))?,
                function: bytes[1],
            });
        }
        Some(Self::Tasklet {
            import: bytes[0],
            signature: Signature::decode(bytes[2..].get(..usize::from(bytes[1]))?)?,
        })
    }
}

/// Whether a function of the module has these parameters and results.
pub(super) fn has_types(
    function: &FunctionType<'_>,
    params: impl Iterator<Item = FlatType>,
    results: impl Iterator<Item = FlatType>,
) -> bool {
    function.params().eq(params.map(val_type)) && function.results().eq(results.map(val_type))
}

/// The interpreter's type for a type of the ABI.
pub(super) const fn val_type(flat: FlatType) -> ValType {
    match flat {
        FlatType::I32 => ValType::I32,
        FlatType::I64 => ValType::I64,
        FlatType::F32 => ValType::F32,
        FlatType::F64 => ValType::F64,
    }
}
