//! Public keys as people name them.

use core::str::FromStr;
use std::path::PathBuf;

use anyhow::bail;
use nimblenet_node::{PublicKey, SigningKey};

/// A public key: its 64 hexadecimal digits, or the file of a key, of which only the public half is used.
#[derive(Clone, Debug)]
pub(crate) enum KeyArgument {
    /// The key.
    Public(PublicKey),
    /// The file.
    File(PathBuf),
}

impl FromStr for KeyArgument {
    type Err = core::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.parse() {
            Ok(key) => Self::Public(key),
            Err(_) => Self::File(PathBuf::from(text)),
        })
    }
}

impl KeyArgument {
    /// The public key.
    ///
    /// # Errors
    /// If it is a file that holds no key, or cannot be read.
    pub(crate) fn public(&self) -> anyhow::Result<PublicKey> {
        let path = match self {
            Self::Public(key) => return Ok(*key),
            Self::File(path) => path,
        };
        match SigningKey::load(path) {
            Ok(key) => Ok(key.public()),
            Err(error) => bail!(
                "{} is neither 64 hexadecimal digits nor a key file: {error}",
                path.display()
            ),
        }
    }
}
