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
    /// Nodes would refuse the packed module, although it is valid: it asks for more than they give.
    Refused(String),
    /// An active segment is not within its memory or table, so the module traps before any of its
    /// functions runs.
    SegmentBeyond {
        /// Which segment.
        segment: String,
        /// One past the last byte or element that it fills.
        end: u64,
        /// What there is.
        room: String,
    },
    /// A component instead of a module.
    Component,
    /// The module uses features of WebAssembly that tasklets have not: each with what avoids it.
    Features(Vec<(&'static str, &'static str)>),
    /// The module has something that tasklets do not have.
    Unsupported(String),
    /// A function of the module has types that no tasklet's function has: each in a sentence.
    Types(Vec<String>),
    /// The name of a parameter in a signature is none.
    ParameterName(String),
    /// The manifest lists the module's constructor among the exports.
    ConstructorExported(String),
    /// The module's constructor takes or returns something.
    ConstructorType {
        /// Its name.
        name: String,
        /// Its type.
        found: String,
    },
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
    /// The calls of the module take more stack than it was linked with.
    StackTooSmall {
        /// What the deepest calls take.
        needed: u32,
        /// What there is.
        stack: u32,
        /// The functions of the deepest calls; empty if not known.
        path: String,
    },
    /// Only the author can know how much stack the module takes.
    StackUnbounded {
        /// Why.
        why: String,
        /// The size of the stack as linked, if it is known.
        found: Option<u32>,
    },
    /// The module takes stack, and does not say where its data ends.
    NoDataEnd {
        /// What the deepest calls take.
        needed: u32,
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
            Self::NoModule => {
                f.write_str("the file is empty, and a tasklet of executor `wasm` needs a module")
            }
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
            Self::Refused(why) => write!(f, "no node runs it: {why}"),
            Self::SegmentBeyond { segment, end, room } => write!(
                f,
                "{segment} ends at {end}, but {room}: the module would trap before any of its \
                 functions runs; declare more, or place the segment lower"
            ),
            Self::Component => f.write_str(
                "this is a component, not a module: compile for wasm32-unknown-unknown (Rust), \
                 with --target=wasm32 (C), or take the module out of it",
            ),
            Self::Features(used) => {
                let each = used.iter();
                let each = each.map(|(name, remedy)| format!("tasklets have no {name}: {remedy}"));
                f.write_str(&each.collect::<Vec<_>>().join("; "))
            }
            Self::Unsupported(what) => write!(f, "tasklets have no {what}"),
            Self::Types(each) => f.write_str(&each.join("; ")),
            Self::ParameterName(name) => write!(
                f,
                "`{name}` cannot be the name of a parameter: it has letters, digits, - and _"
            ),
            Self::ConstructorExported(name) => write!(
                f,
                "`{name}` sets up the module's state: it runs before the first call and is nobody's \
                 to call; take it out of `exports`"
            ),
            Self::ConstructorType { name, found } => write!(
                f,
                "`{name}` is {found}, but what sets up a module's state takes and returns nothing; \
                 export it under another name"
            ),
            Self::ForeignImport { module, field } if module.starts_with("wasi_") => write!(
                f,
                "import `{module}`.`{field}` is of WASI, but nodes have no files, console, clock or \
                 environment of an operating system: do without what calls it (printf, files, exit, \
                 time); nimblenet.h and nimblenet-sdk have log, clock and random numbers"
            ),
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
                "`stack` is {given}, but the module was linked with {found} bytes of stack; link with \
                 --stack-first -zstack-size={given}"
            ),
            Self::StackTooSmall {
                needed,
                stack,
                path,
            } => {
                write!(
                    f,
                    "the stack is too small: the deepest calls take {needed} bytes, and the module \
                     was linked with {stack}; link with -zstack-size={bytes}, and with \
                     `nimblenet build` say `stack = {bytes}` in the manifest",
                    bytes = needed.next_multiple_of(16)
                )?;
                match path.is_empty() {
                    true => Ok(()),
                    false => write!(f, " (the calls are {path})"),
                }
            }
            Self::StackUnbounded { why, found } => {
                write!(f, "how much stack the module takes is not known: {why}; ")?;
                match found {
                    Some(found) if *found > 16 => write!(
                        f,
                        "if the {found} bytes that it was linked with are enough, say \
                         `stack = {found}` in the manifest"
                    ),
                    _ => f.write_str(
                        "say `stack = N` in the manifest, where N bytes are enough, and link with \
                         --stack-first -zstack-size=N, as `nimblenet build` does",
                    ),
                }
            }
            Self::NoDataEnd { needed } => write!(
                f,
                "the deepest calls take {needed} bytes of stack, and the module does not say where \
                 its data ends, so whether they fit is not known; link with --export=__data_end, or \
                 say `stack = N` in the manifest, where -zstack-size=N was linked"
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
            Self::MemoryTooLarge => f.write_str(
                "no node runs it: it would have 4 GiB of linear memory, or more, and a Linux node \
                 gives at most 256 MiB; declare less, or set `memory` in the manifest",
            ),
            Self::CostTwice => f.write_str("either `cost` or an `example` that it is measured by"),
            Self::Example(why) => write!(f, "the example: {why}"),
            Self::TooLong => f.write_str("the names of exports and imports are too long"),
            Self::Encoding(why) => write!(f, "the package does not read back: {why}"),
        }
    }
}

impl core::error::Error for PackError {}
