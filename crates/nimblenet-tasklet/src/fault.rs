//! Why a call failed, in terms that a caller anywhere can act on.

use core::fmt;

/// Declares an enum whose variants have a stable wire number, code and sentence.
macro_rules! coded {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $number:literal $code:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $doc])+ $variant = $number,)+ }

        impl $name {
            /// Every variant, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code: lower-case words joined by hyphens.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The number that stands for it in frames and images.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The variant with this number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.code())
            }
        }

        impl core::error::Error for $name {}
    };
}

coded! {
    /// Why a call failed. Numbers and codes never change; new ones are added at the end of their
    /// group.
    Fault {
        /// The namespace is not one that this node is configured for.
        UnknownNamespace = 1 "unknown-namespace",
        /// The namespace's catalogue has no entry of that name.
        UnknownTasklet = 2 "unknown-tasklet",
        /// The tasklet has no export of that name.
        UnknownExport = 3 "unknown-export",
        /// The arguments do not fit the signature.
        WrongArguments = 4 "wrong-arguments",
        /// A tasklet calls another with a signature that its entry does not have.
        WrongSignature = 5 "wrong-signature",
        /// No node that can give the tasklet answers, or the node that was to run it does not.
        Unreachable = 10 "unreachable",
        /// The bytes received are not those that the catalogue names.
        DigestMismatch = 11 "digest-mismatch",
        /// The tasklet is larger than this node's cache or the namespace's limit.
        TooLarge = 12 "too-large",
        /// The cache is full of tasklets that are in use.
        CacheFull = 13 "cache-full",
        /// The node has no catalogue for the namespace yet, and no source for one answered.
        NoCatalogue = 14 "no-catalogue",
        /// The catalogue's signature is not by a key of the namespace.
        BadSignature = 15 "bad-signature",
        /// The module is not valid WebAssembly, or uses a feature that is off.
        InvalidModule = 20 "invalid-module",
        /// An import is neither a capability that was granted nor a tasklet of the entry.
        UnknownImport = 21 "unknown-import",
        /// The tasklet wants a capability that the namespace or the node does not grant.
        CapabilityDenied = 22 "capability-denied",
        /// This node has no executor of the tasklet's kind, or no such device function.
        NoExecutor = 23 "no-executor",
        /// The executor's arena has no room for the tasklet.
        NoMemory = 24 "no-memory",
        /// The tasklet used up its fuel.
        OutOfFuel = 25 "out-of-fuel",
        /// The tasklet trapped.
        Trapped = 26 "trapped",
        /// The values do not fit the argument area or the result buffer.
        ValuesTooLarge = 27 "values-too-large",
        /// A device function failed.
        DeviceFailed = 28 "device-failed",
        /// A saved state is damaged, or belongs to another module or interpreter version.
        BadImage = 29 "bad-image",
        /// Tasklets call each other deeper than the limit.
        TooDeep = 30 "too-deep",
        /// The node already runs and queues as many jobs as it may.
        Busy = 31 "busy",
        /// The job did not end before its deadline.
        Deadline = 32 "deadline",
        /// The job was stopped.
        Stopped = 33 "stopped",
        /// A job made more sub-tasklet calls than the limit.
        TooManyCalls = 34 "too-many-calls",
        /// The node has no such call in progress.
        UnknownCall = 35 "unknown-call",
        /// Who made the call has cancelled it.
        Cancelled = 36 "cancelled",
        /// The job could not have ended before its deadline, so it did not begin.
        TooLate = 37 "too-late",
    }
}

impl Fault {
    /// What the client or the node's operator can do about it, in one clause.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::UnknownNamespace => "add the namespace to the node's configuration, with its key",
            Self::UnknownTasklet => "look its name up with `nimblenet ls`, or publish it",
            Self::UnknownExport => "look the export's name up with `nimblenet ls`",
            Self::WrongArguments => "give the values that the signature names",
            Self::WrongSignature => "pack and publish the caller anew for the callee's signature",
            Self::Unreachable => "look whether the node, or the namespace's registry, is up",
            Self::DigestMismatch => "try again; if it persists, publish the tasklet again",
            Self::TooLarge => "give the node more `cache_bytes`, or make the tasklet smaller",
            Self::CacheFull => "try again later, or give the node more `cache_bytes`",
            Self::NoCatalogue => "look whether the namespace's registry is up",
            Self::BadSignature => "compare the namespace's key at the node and at the registry",
            Self::InvalidModule => "check the module with `nimblenet check`",
            Self::UnknownImport => "pack the module anew; its package names what it calls",
            Self::CapabilityDenied => "grant the capability to the namespace at the node",
            Self::NoExecutor => {
                "add the tasklet to the node's `natives`, or call a node that has it"
            }
            Self::NoMemory => "give the node more `arena_bytes`, or the tasklet less memory",
            Self::OutOfFuel => "give the package more `fuel`, or look for a loop without end",
            Self::Trapped => "run the tasklet with the same values in `nimblenet run`",
            Self::ValuesTooLarge => "pass less at a time, or give the package a larger area",
            Self::DeviceFailed => "look at the device and at the channel that the tasklet names",
            Self::BadImage => "take the image and the module that were saved together",
            Self::TooDeep => "let the tasklets call each other less deep",
            Self::Busy => "try again later, or call another node",
            Self::Deadline => "allow more time with `call_ms`, or let the tasklet do less",
            Self::Stopped => "call again once the node is back",
            Self::TooManyCalls => "let the tasklet make fewer calls",
            Self::UnknownCall => "list the calls in progress with `nimblenet ps`",
            Self::Cancelled => "call again under another number if it is wanted after all",
            Self::TooLate => "allow more time, give it a higher priority, or call another node",
        }
    }
}

coded! {
    /// Why WebAssembly code trapped (WebAssembly core specification, section 4.4 and appendix).
    Trap {
        /// The code reached an `unreachable` instruction.
        Unreachable = 1 "unreachable",
        /// An integer was divided by zero.
        DivideByZero = 2 "divide-by-zero",
        /// A quotient or a conversion does not fit its integer type.
        IntegerOverflow = 3 "integer-overflow",
        /// A NaN was converted to an integer.
        BadConversion = 4 "bad-conversion",
        /// An access lies outside the linear memory.
        OutOfBoundsMemory = 5 "out-of-bounds-memory",
        /// An access lies outside a table.
        OutOfBoundsTable = 6 "out-of-bounds-table",
        /// An indirect call names an element beyond the table's end.
        UndefinedElement = 7 "undefined-element",
        /// An indirect call meets an empty table element.
        UninitialisedElement = 8 "uninitialised-element",
        /// An indirect call meets a function of another type.
        IndirectCallType = 9 "indirect-call-type",
        /// The call depth or the value stack is used up.
        StackExhausted = 10 "stack-exhausted",
        /// A host function refused the call.
        Host = 11 "host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_unique_and_reversible() {
        for (at, fault) in Fault::ALL.iter().enumerate() {
            assert_eq!(Fault::from_number(fault.number()), Some(*fault));
            assert!(
                Fault::ALL[..at]
                    .iter()
                    .all(|other| other.code() != fault.code())
            );
            assert!(!fault.meaning().is_empty() && !fault.remedy().ends_with('.'));
        }
        for trap in Trap::ALL {
            assert_eq!(Trap::from_number(trap.number()), Some(*trap));
        }
    }

    #[test]
    fn the_specification_has_every_number_code_and_meaning() {
        extern crate alloc;
        use alloc::format;
        use alloc::string::String;
        let spec = include_str!("../../../spec/faults.md");
        let (faults, traps) = spec.split_once("## 2. Traps").unwrap();
        let rows = |part: &str| -> String {
            let rows = part.lines().filter(|line| line.starts_with("| "));
            rows.skip(1).map(|row| format!("{row}\n")).collect()
        };
        let row = |number: u8, code, meaning: &str| {
            let meaning = meaning.trim();
            format!("| {number} | `{code}` | {meaning} |\n")
        };
        let expected = Fault::ALL.iter();
        let expected: String = expected
            .map(|it| row(it.number(), it.code(), it.meaning()))
            .collect();
        assert_eq!(rows(faults), expected, "spec/faults.md has:\n{expected}");
        let expected = Trap::ALL.iter();
        let expected: String = expected
            .map(|it| row(it.number(), it.code(), it.meaning()))
            .collect();
        assert_eq!(rows(traps), expected, "spec/faults.md has:\n{expected}");
    }
}
