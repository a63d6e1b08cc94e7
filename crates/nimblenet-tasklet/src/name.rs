//! Names of namespaces and tasklets.

use core::fmt;
use core::str::FromStr;

/// The longest name of a namespace or of a tasklet within it, in bytes.
pub const MAX_NAME_BYTES: usize = 32;

/// One segment of a tasklet's full name: 1 to 32 of `a-z 0-9 . _ -`, not starting with a dot.
///
/// The alphabet has no look-alikes, case variants, path separators or control bytes, so two names
/// are the same exactly if their bytes are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    bytes: [u8; MAX_NAME_BYTES],
    len: u8,
}

impl Name {
    /// Checks `text` and keeps a copy.
    ///
    /// # Errors
    /// [`BadName`] for anything outside the alphabet or the length.
    pub const fn new(text: &str) -> Result<Self, BadName> {
        Self::from_bytes(text.as_bytes())
    }

    /// Checks the bytes of a text and keeps a copy.
    pub(crate) const fn from_bytes(source: &[u8]) -> Result<Self, BadName> {
        if source.is_empty() || source.len() > MAX_NAME_BYTES {
            return Err(BadName::Length);
        }
        if source[0] == b'.' {
            return Err(BadName::Alphabet);
        }
        let mut bytes = [0; MAX_NAME_BYTES];
        let mut at = 0;
        while at < source.len() {
            if !matches!(source[at], b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-') {
                return Err(BadName::Alphabet);
            }
            bytes[at] = source[at];
            at += 1;
        }
        Ok(Self {
            bytes,
            len: source.len() as u8,
        })
    }

    /// A copy of a name that was checked before; nothing if it is too long for one.
    pub(crate) fn recopied(source: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_NAME_BYTES];
        bytes.get_mut(..source.len())?.copy_from_slice(source);
        let len = source.len() as u8;
        Some(Self { bytes, len })
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).expect("the alphabet is ASCII")
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A tasklet's full name, `namespace/name`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskletName {
    /// The namespace that the tasklet is published in.
    pub namespace: Name,
    /// The tasklet's name within its namespace.
    pub name: Name,
}

impl TaskletName {
    /// Checks and splits `namespace/name`.
    ///
    /// # Errors
    /// [`BadName`] unless there is exactly one slash between two valid segments.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let (namespace, name) = text.split_once('/').ok_or(BadName::NoNamespace)?;
        Ok(Self {
            namespace: Name::new(namespace)?,
            name: Name::new(name)?,
        })
    }
}

impl FromStr for TaskletName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::new(text)
    }
}

impl fmt::Display for TaskletName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for TaskletName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a text is not a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadName {
    /// Empty, or longer than [`MAX_NAME_BYTES`].
    Length,
    /// A byte outside `a-z 0-9 . _ -`, or a leading dot.
    Alphabet,
    /// A full name has the form `namespace/name`.
    NoNamespace,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "a name has 1 to 32 characters",
            Self::Alphabet => "a name has only a-z 0-9 . _ - and does not start with a dot",
            Self::NoNamespace => "a full name has the form namespace/name",
        })
    }
}

impl core::error::Error for BadName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_has_exactly_two_valid_segments() {
        let name = TaskletName::new("floor/rms-2.a_b").unwrap();
        assert_eq!(
            (name.namespace.as_str(), name.name.as_str()),
            ("floor", "rms-2.a_b")
        );
    }

    #[test]
    fn att_37_confusing_names_are_refused() {
        for text in [
            "fft",
            "floor//fft",
            "floor/../core",
            "Floor/fft",
            "floor/f\u{0}t",
            "floor/",
            "/fft",
            "floor/..",
            "floor/\u{0444}ft",
            "floor/a b",
            "floor/.hidden",
            "a/b/c",
        ] {
            assert!(TaskletName::new(text).is_err(), "{text:?} was accepted");
        }
        assert!(Name::new(core::str::from_utf8(&[b'a'; 33]).unwrap()).is_err());
        assert!(Name::new(core::str::from_utf8(&[b'a'; 32]).unwrap()).is_ok());
    }
}
