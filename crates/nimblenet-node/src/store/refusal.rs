//! Why the registry refuses a request, with codes that never change.

use core::fmt;

use nimblenet_core::BadDelta;
use nimblenet_tasklet::api::Problem;
use nimblenet_tasklet::{Digest, Malformed, Name, TaskletName};
use nimblenet_wasm::InvalidModule;

/// The most callers that a sentence names.
const CALLERS: usize = 8;

/// Why a module or a publication is refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The delta does not have the format.
    Malformed(Malformed),
    /// The delta is for another namespace than the request.
    OtherNamespace,
    /// The registry is configured for other namespaces only.
    UnknownNamespace,
    /// Another namespace of this registry has the same short identifier.
    NamespaceClash,
    /// The key is not the one that the namespace belongs to.
    UnknownKey,
    /// The signature is not by the namespace's key over the resulting catalogue.
    BadSignature,
    /// The delta does not follow on the present epoch.
    StaleEpoch {
        /// The present epoch.
        current: u32,
    },
    /// A version with this sequence number is already published, with other content.
    VersionExists {
        /// The tasklet.
        name: Name,
        /// The version.
        sequence: u16,
    },
    /// A new version's sequence number is not its predecessor's plus one.
    SequenceGap {
        /// The tasklet.
        name: Name,
        /// The sequence number that is due.
        due: u16,
    },
    /// The entries do not make up a catalogue.
    Catalogue(BadDelta),
    /// Two entries have the same name.
    DuplicateName {
        /// The name.
        name: Name,
    },
    /// An import names no export of a published tasklet, or another signature.
    BadImport {
        /// The tasklet that imports.
        name: Name,
        /// Which of its imports, from 0.
        import: usize,
    },
    /// A tasklet would be withdrawn that another one still calls.
    StillCalled {
        /// The tasklet that would be withdrawn.
        name: Box<TaskletName>,
        /// Those that call it.
        callers: Box<[TaskletName]>,
    },
    /// An entry names a module that is neither here nor uploaded.
    MissingModule {
        /// The module.
        digest: Digest,
    },
    /// A module has another size than its entry says.
    WrongSize {
        /// The tasklet.
        name: Name,
    },
    /// The interpreter does not accept the module.
    InvalidModule {
        /// The tasklet.
        name: Name,
        /// What is wrong with it, and where.
        error: Box<InvalidModule>,
    },
    /// A module cannot be expanded with the dictionary that its entry names, or the entry names none,
    /// or a dictionary would change.
    BadCompression {
        /// The tasklet, or the dictionary.
        name: Name,
    },
    /// The bytes do not have the digest that the request names.
    DigestMismatch,
    /// The module is larger than the registry accepts.
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// The registry holds as many namespaces, or uploads not yet published, as it may.
    Full,
    /// The namespace would have more bytes of modules than it may.
    OverQuota {
        /// Its bytes.
        bytes: u64,
        /// The most that it may have.
        limit: u64,
    },
    /// The disk refused; nothing has changed.
    Storage(StorageFault),
    /// The disk cannot be written.
    ReadOnly,
    /// After a failure of the disk, the store does not hold what was published.
    Damaged,
}

impl Refusal {
    /// The problem that clients are told.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Malformed(_) => Problem::Malformed,
            Self::OtherNamespace => Problem::OtherNamespace,
            Self::UnknownNamespace => Problem::UnknownNamespace,
            Self::NamespaceClash => Problem::NamespaceClash,
            Self::UnknownKey => Problem::UnknownKey,
            Self::BadSignature => Problem::BadSignature,
            Self::StaleEpoch { .. } => Problem::StaleEpoch,
            Self::VersionExists { .. } => Problem::VersionExists,
            Self::SequenceGap { .. } => Problem::SequenceGap,
            Self::Catalogue(_) => Problem::BadCatalogue,
            Self::DuplicateName { .. } => Problem::DuplicateName,
            Self::BadImport { .. } => Problem::BadImport,
            Self::StillCalled { .. } => Problem::StillCalled,
            Self::MissingModule { .. } => Problem::MissingModule,
            Self::WrongSize { .. } => Problem::WrongSize,
            Self::InvalidModule { .. } => Problem::InvalidModule,
            Self::BadCompression { .. } => Problem::BadCompression,
            Self::DigestMismatch => Problem::DigestMismatch,
            Self::TooLarge { .. } => Problem::TooLarge,
            Self::Full | Self::OverQuota { .. } => Problem::RegistryFull,
            Self::Storage(_) | Self::ReadOnly => Problem::StorageFailed,
            Self::Damaged => Problem::StorageDamaged,
        }
    }

    /// The stable code: lower-case words joined by hyphens.
    pub fn code(&self) -> &'static str {
        self.problem().code()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "the delta is malformed: {error}"),
            Self::OtherNamespace => f.write_str("the delta is for another namespace"),
            Self::UnknownNamespace => f.write_str("this registry does not serve the namespace"),
            Self::NamespaceClash => {
                f.write_str("another namespace has the same short identifier; choose another name")
            }
            Self::UnknownKey => f.write_str(
                "the namespace belongs to another key: `nimblenet ls --json` shows which one, and `nimblenet \
                 keygen --show FILE` the public half of yours",
            ),
            Self::BadSignature => {
                f.write_str("the signature does not match the catalogue that would result")
            }
            Self::StaleEpoch { current } => {
                write!(f, "the namespace has moved on to epoch {current}")
            }
            Self::VersionExists { name, sequence } => {
                write!(f, "version {sequence} of {name} exists with other content")
            }
            Self::SequenceGap { name, due } => {
                write!(f, "the next version of {name} must have sequence {due}")
            }
            Self::Catalogue(error) => error.fmt(f),
            Self::DuplicateName { name } => write!(f, "two entries are called {name}"),
            Self::BadImport { name, import } => write!(
                f,
                "import {import} of {name} names no published export with that signature"
            ),
            Self::StillCalled { name, callers } => {
                let names: Vec<_> = callers.iter().take(CALLERS).map(ToString::to_string).collect();
                write!(f, "{name} is called by {}", names.join(", "))?;
                match callers.len().saturating_sub(CALLERS) {
                    0 => {}
                    more => write!(f, " and {more} more")?,
                }
                let is_own = |caller: &TaskletName| caller.namespace == name.namespace;
                f.write_str(match callers.iter().all(is_own) {
                    true => "; withdraw what calls it before or together",
                    false => "; withdraw what calls it before, one namespace after the other",
                })
            }
            Self::MissingModule { digest } => write!(f, "module {digest} was not uploaded"),
            Self::WrongSize { name } => {
                write!(f, "the module of {name} has another size than its entry")
            }
            Self::InvalidModule { name, error } => write!(f, "{name}: {error}"),
            Self::BadCompression { name } => write!(
                f,
                "{name} cannot be expanded with a dictionary of its namespace, or is one and would \
                 change"
            ),
            Self::DigestMismatch => f.write_str("the bytes do not have that digest"),
            Self::TooLarge { bytes, limit } => {
                write!(
                    f,
                    "the module has {bytes} bytes; at most {limit} are accepted"
                )
            }
            Self::Full => f.write_str("the registry has no room for more; try again later"),
            Self::OverQuota { bytes, limit } => write!(
                f,
                "the namespace's modules would have {bytes} bytes; {limit} are accepted \
                 (`namespace_bytes`)"
            ),
            Self::Storage(error) => error.fmt(f),
            Self::ReadOnly => f.write_str("the registry's disk is read-only or full"),
            Self::Damaged => {
                f.write_str("the registry's disk failed; its operator must look at it")
            }
        }
    }
}

impl core::error::Error for Refusal {}

impl From<StorageFault> for Refusal {
    fn from(fault: StorageFault) -> Self {
        Self::Storage(fault)
    }
}

/// The database under the store failed.
#[derive(Debug)]
pub struct StorageFault(pub(super) Box<redb::Error>);

impl fmt::Display for StorageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the registry's database failed: {}", self.0)
    }
}

impl core::error::Error for StorageFault {}
