//! Why a chain and its sub-tasklets cannot become one module.

use core::fmt;

use nimblenet_tasklet::{Malformed, TaskletName};

use crate::PackError;

/// Why inlining failed.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum InlineError {
    /// The package of the chain, or of this sub-tasklet, cannot be read.
    Package {
        /// The sub-tasklet; nothing for the chain.
        of: Option<TaskletName>,
        /// Why.
        why: Malformed,
    },
    /// The chain is a native tasklet, which has no module.
    NativeChain(TaskletName),
    /// A sub-tasklet is given twice.
    Twice(TaskletName),
    /// The package that is given for the first tasklet is that of the second one.
    OtherName(Box<[TaskletName; 2]>),
    /// The tasklet would have the name of one that it still calls.
    CallsItself(TaskletName),
    /// A sub-tasklet is given that no inlined tasklet calls.
    CalledByNobody(TaskletName),
    /// These tasklets call each other in a circle.
    Circle(Vec<TaskletName>),
    /// A sub-tasklet does not export what is called.
    NoExport {
        /// Who calls.
        caller: String,
        /// Who is called.
        callee: String,
        /// What is called.
        export: String,
    },
    /// A sub-tasklet exports what is called with another signature.
    OtherSignature {
        /// Who calls.
        caller: String,
        /// Who is called.
        callee: String,
        /// What is called.
        export: String,
        /// What the caller was compiled against.
        expected: String,
        /// What the callee has.
        found: String,
    },
    /// A package does not list the imports of its module.
    OtherImports(TaskletName),
    /// The area for lists is not within the memory that the tasklet starts with.
    AreaOutside(TaskletName),
    /// A sub-tasklet keeps values on the node (capability `kv`), which belong to its name.
    KeepsValues(TaskletName),
    /// A sub-tasklet has something that cannot be as at the start for each call.
    NotRepeatable {
        /// Which.
        tasklet: TaskletName,
        /// What it does.
        what: &'static str,
    },
    /// The memories together are too large.
    MemoryTooLarge,
    /// The module or the package that came out is refused, or a part's module is.
    Pack(PackError),
}

impl From<PackError> for InlineError {
    fn from(error: PackError) -> Self {
        Self::Pack(error)
    }
}

impl fmt::Display for InlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package { of, why } => {
                match of {
                    Some(name) => write!(f, "the package of {name}")?,
                    None => f.write_str("the package of the chain")?,
                }
                write!(f, " cannot be read: {why}; pack its module again")
            }
            Self::NativeChain(name) => write!(
                f,
                "{name} is a native tasklet: it has no module that others could be put into"
            ),
            Self::Twice(name) => write!(f, "{name} is given twice"),
            Self::OtherName(names) => {
                let [wanted, found] = **names;
                write!(
                    f,
                    "the package that is given for {wanted} is that of {found}; give the package of \
                     {wanted}, or pack the module under that name"
                )
            }
            Self::CallsItself(name) => write!(
                f,
                "{name} stays a call, so what calls it cannot have its name: choose another one, or \
                 give the package of {name}"
            ),
            Self::CalledByNobody(name) => write!(
                f,
                "neither the chain nor a given sub-tasklet calls {name}; leave it out, or look at \
                 the names with `nimblenet inspect`"
            ),
            Self::Circle(names) => {
                f.write_str("tasklets that call each other in a circle cannot be one module: ")?;
                for name in names {
                    write!(f, "{name} calls ")?;
                }
                let first = names.first().map(ToString::to_string).unwrap_or_default();
                write!(f, "{first}; leave one of them out, so that it stays a call")
            }
            Self::NoExport {
                caller,
                callee,
                export,
            } => write!(
                f,
                "{caller} calls `{export}` of {callee}, which does not export it; give the package \
                 that it was compiled against"
            ),
            Self::OtherSignature {
                caller,
                callee,
                export,
                expected,
                found,
            } => write!(
                f,
                "{caller} calls `{export}` of {callee} as {expected}, but it is {found}; give the \
                 package that it was compiled against"
            ),
            Self::OtherImports(name) => write!(
                f,
                "the package of {name} does not list what its module imports; pack the module again"
            ),
            Self::AreaOutside(name) => write!(
                f,
                "the area for lists of {name} is beyond the memory that it starts with; pack the \
                 module again"
            ),
            Self::KeepsValues(name) => write!(
                f,
                "{name} keeps values on the node (capability kv), which belong to its name and would \
                 be others under the chain's; leave it out, so that it stays a call"
            ),
            Self::NotRepeatable { tasklet, what } => write!(
                f,
                "{tasklet} {what}, which cannot be undone for its next call; leave it out, so that \
                 it stays a call"
            ),
            Self::MemoryTooLarge => f.write_str(
                "the memories of the tasklets together are too large for any node; leave out those \
                 that reserve most (`nimblenet inspect` says how much)",
            ),
            Self::Pack(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for InlineError {}
