//! Why a module or a manifest cannot be packed.

use core::fmt;

use nimblenet_tasklet::{BadName, BadSignature, Malformed};

/// Why packing failed.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum PackError {
    /// Neither the manifest nor the caller names the tasklet.
    NoName,
    /// The manifest and the caller name it differently.
    OtherName {
        /// In the manifest.
        manifest: String,
        /// Given by the caller.
        given: String,
    },
    /// The manifest is not TOML, or has a key or value that it should not have.
    Manifest(String),
    /// A name in the manifest or in an import is not valid.
    Name {
        /// The text.
        text: String,
        /// Why.
        why: BadName,
    },
    /// A signature in the manifest is not valid.
    Signature {
        /// Whose.
        of: String,
        /// Why.
        why: BadSignature,
    },
    /// The manifest names a capability that does not exist.
    UnknownCapability(String),
    /// A tasklet of executor `wasm` without a module.
    NoModule,
    /// A native tasklet with a module.
    ModuleOfNative,
    /// A native tasklet with memory, heap or area in its manifest.
    MemoryOfNative,
    /// A native tasklet without exports in its manifest.
    NativeWithoutExports,
    /// A native tasklet with imports or an example.
    ImportsOfNative,
    /// The text form cannot be read.
    Text(String),
    /// The module is not valid, before or after rewriting.
    Invalid(String),
    /// The module has something that tasklets do not have.
    Unsupported(&'static str),
    /// An import that is neither a tasklet nor a capability.
    ForeignImport {
        /// Module part.
        module: String,
        /// Field part.
        field: String,
    },
    /// The manifest gives a signature for something that is not imported.
    NotImported(String),
    /// The manifest names an export that the module does not have.
    NotExported(String),
    /// The module exports no function.
    NothingExported,
    /// More than 8 exports.
    TooManyExports,
    /// More than 16 imports of tasklets.
    TooManyImports,
    /// WebAssembly type and signature do not fit together.
    Mismatch {
        /// Which function.
        of: String,
        /// Its signature.
        signature: String,
        /// What the signature is in WebAssembly.
        expected: String,
        /// What the module has.
        found: String,
    },
    /// The module uses capabilities that the manifest does not list, or the other way round.
    Capabilities {
        /// What the module uses.
        used: Vec<&'static str>,
        /// What the manifest lists.
        listed: Vec<&'static str>,
    },
    /// The memory of the manifest is less than the module uses.
    MemoryTooSmall {
        /// In the manifest.
        given: u64,
        /// Found in the module.
        used: u64,
    },
    /// The module was linked with another stack than the manifest says.
    OtherStack {
        /// In the manifest.
        given: u32,
        /// Found in the module.
        found: u32,
    },
    /// The stack is smaller than what one function takes of it.
    StackTooSmall {
        /// What the function takes.
        frame: u32,
        /// What there is.
        stack: u32,
    },
    /// The code uses a fixed address that the derived memory does not have.
    StaticBeyond {
        /// One past the last byte used.
        end: u64,
        /// What was derived.
        memory: u64,
    },
    /// A module that grows its memory and takes lists must say where they go.
    AreaOfGrowing,
    /// The area that the module exports is not within its memory.
    AreaOutside,
    /// More than 4 GiB of memory.
    MemoryTooLarge,
    /// The manifest gives a cost and an example to measure it.
    CostTwice,
    /// The example's arguments do not match, or running it failed.
    Example(String),
    /// The package's fields are too long.
    TooLong,
    /// The encoded package does not read back; a defect of the packer.
    Encoding(Malformed),
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => {
                f.write_str("no name: give --name NAMESPACE/NAME or `name` in the manifest")
            }
            Self::OtherName { manifest, given } => {
                write!(
                    f,
                    "the manifest names it {manifest}, the command line {given}"
                )
            }
            Self::Manifest(why) => write!(f, "the manifest: {why}"),
            Self::Name { text, why } => write!(f, "`{text}`: {why}"),
            Self::Signature { of, why } => write!(f, "the signature of `{of}`: {why}"),
            Self::UnknownCapability(name) => write!(
                f,
                "capability `{name}` does not exist; there are sensor, actuator, clock, log, kv \
                 and random"
            ),
            Self::NoModule => f.write_str("a tasklet of executor `wasm` needs a module"),
            Self::ModuleOfNative => f.write_str("a native tasklet has no module"),
            Self::MemoryOfNative => {
                f.write_str("a native tasklet has no `memory`, `heap` or `area`")
            }
            Self::NativeWithoutExports => {
                f.write_str("a native tasklet needs `exports` in its manifest")
            }
            Self::ImportsOfNative => {
                f.write_str("a native tasklet has no `imports` and no `example`")
            }
            Self::Text(why) => write!(f, "the text form cannot be read: {why}"),
            Self::Invalid(why) => write!(f, "not a valid module: {why}"),
            Self::Unsupported(what) => write!(f, "tasklets have no {what}"),
            Self::ForeignImport { module, field } => write!(
                f,
                "import `{module}`.`{field}` is neither a tasklet (`namespace/name`) nor a \
                 function of a capability (`nimblenet:...`)"
            ),
            Self::NotImported(key) => {
                write!(
                    f,
                    "the manifest has a signature for `{key}`, which is not imported"
                )
            }
            Self::NotExported(name) => write!(f, "the module exports no function `{name}`"),
            Self::NothingExported => f.write_str("the module exports no function"),
            Self::TooManyExports => {
                f.write_str("more than 8 exports; list those that are wanted in the manifest")
            }
            Self::TooManyImports => f.write_str("more than 16 imports of tasklets"),
            Self::Mismatch {
                of,
                signature,
                expected,
                found,
            } => write!(
                f,
                "`{of}` is {found} in the module, but its signature {signature} means {expected}"
            ),
            Self::Capabilities { used, listed } => write!(
                f,
                "the module uses the capabilities {used:?}, the manifest lists {listed:?}"
            ),
            Self::MemoryTooSmall { given, used } => {
                write!(f, "`memory` is {given} bytes, but the module uses {used}")
            }
            Self::OtherStack { given, found } => write!(
                f,
                "`stack` is {given}, but the module was linked with its stack pointer at {found}; \
                 link with --stack-first -z stack-size={given}"
            ),
            Self::StackTooSmall { frame, stack } => write!(
                f,
                "a function takes {frame} bytes of stack, but the module was linked with {stack}"
            ),
            Self::StaticBeyond { end, memory } => write!(
                f,
                "the code uses memory up to address {end}, but data and stack take {memory} bytes; \
                 link with --export=__data_end, or set `memory` in the manifest"
            ),
            Self::AreaOfGrowing => f.write_str(
                "a module that grows its memory and takes lists must reserve their place: export a \
                 global `nimblenet_area` with its address and set `area` to its length",
            ),
            Self::AreaOutside => f.write_str("`nimblenet_area` is not within the memory"),
            Self::MemoryTooLarge => f.write_str("more than 4 GiB of memory"),
            Self::CostTwice => f.write_str("either `cost` or an `example` that it is measured by"),
            Self::Example(why) => write!(f, "the example: {why}"),
            Self::TooLong => f.write_str("the names of exports and imports are too long"),
            Self::Encoding(why) => write!(f, "the package does not read back: {why}"),
        }
    }
}

impl core::error::Error for PackError {}
