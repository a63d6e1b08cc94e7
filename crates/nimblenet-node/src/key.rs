//! Ed25519 keys: makes, stores and uses them.
//!
//! A key file is TOML, readable by its owner only. It holds the public key too, so that a person
//! can copy it into a configuration without any tool.

use core::fmt;
use core::str::FromStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use nimblenet_tasklet::{Digest, SIGNED_BYTES, signed_bytes};
use serde::Deserialize;

/// Key files are far smaller; a larger file is no key file.
const MAX_FILE_BYTES: u64 = 4096;
/// The mode that a key file is made with.
const MODE: u32 = 0o600;

/// A public key, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Whether `signature` is this key's over `message`, by the strict rule: small-order points,
    /// non-canonical encodings and scalars beyond the group order are refused, so that every
    /// implementation on every device comes to the same verdict.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else {
            return false;
        };
        let canonical = key.to_edwards().compress().to_bytes() == self.0;
        canonical
            && key
                .verify_strict(message, &Signature::from_bytes(signature))
                .is_ok()
    }

    /// Whether `signature` is this key's over a catalogue with this root.
    pub fn verifies_root(&self, root: &Digest, signature: &[u8; 64]) -> bool {
        self.verifies(&signed_bytes(root), signature)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = BadHex;

    fn from_str(text: &str) -> Result<Self, BadHex> {
        hex_bytes(text).map(Self)
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadHex;

impl fmt::Display for BadHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 hexadecimal digits are expected")
    }
}

impl core::error::Error for BadHex {}

/// Reads 32 bytes from 64 hexadecimal digits, the text form of keys and digests.
///
/// # Errors
/// [`BadHex`] for anything else.
pub fn hex_bytes(text: &str) -> Result<[u8; 32], BadHex> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(BadHex);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(BadHex);
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Ok(bytes)
}

/// A signing key. Its secret appears in no log and no message.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key with this secret.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(secret))
    }

    /// Makes a new key from the system's random numbers.
    ///
    /// # Errors
    /// If the system has none to give.
    pub fn generate() -> io::Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        Ok(Self::from_secret(&secret))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a catalogue, which these bytes stand for.
    pub fn sign(&self, catalogue: &[u8; SIGNED_BYTES]) -> [u8; 64] {
        self.0.sign(catalogue).to_bytes()
    }

    /// Writes the key to a new file that only its owner can read.
    ///
    /// # Errors
    /// If the file exists or cannot be written; a file is never overwritten.
    pub fn create(&self, path: &Path) -> io::Result<()> {
        let secret = PublicKey(self.0.to_bytes());
        let text = format!(
            "# Whoever has this file can publish. Share only the public key.\n\
             kind = \"ed25519\"\npublic = \"{}\"\nsecret = \"{secret}\"\n",
            self.public()
        );
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all());
        if written.is_err() {
            // It is new, and what it has is no key.
            let _ = std::fs::remove_file(path);
        }
        written
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError`], also when others than the owner may read the file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let file = File::open(path).map_err(KeyError::Io)?;
        let mode = file.metadata().map_err(KeyError::Io)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { mode: mode & 0o777 });
        }
        let mut text = String::new();
        let mut limited = file.take(MAX_FILE_BYTES);
        limited.read_to_string(&mut text).map_err(KeyError::Io)?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, KeyError> {
        let stored: Stored = toml::from_str(text).map_err(|_| KeyError::NotAKey)?;
        if stored.kind != "ed25519" {
            return Err(KeyError::NotAKey);
        }
        let secret = hex_bytes(&stored.secret).map_err(|_| KeyError::NotAKey)?;
        let key = Self::from_secret(&secret);
        match stored.public.parse::<PublicKey>() {
            Ok(public) if public == key.public() => Ok(key),
            _ => Err(KeyError::Mismatch),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    kind: String,
    public: String,
    secret: String,
}

/// Why a key file cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read.
    Io(io::Error),
    /// Others than its owner may read it.
    Exposed {
        /// The permissions that it has.
        mode: u32,
    },
    /// It is not a key file.
    NotAKey,
    /// Its public key is not that of its secret key.
    Mismatch,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                write!(f, "{error}; `nimblenet keygen -o FILE` makes a key")
            }
            Self::Io(error) => error.fmt(f),
            Self::Exposed { mode } => write!(
                f,
                "others may read it (mode {mode:03o}); make it private with chmod 600"
            ),
            Self::NotAKey => f.write_str("it is not a key file made by nimblenet keygen"),
            Self::Mismatch => f.write_str("its public key does not belong to its secret key"),
        }
    }
}

impl core::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn key() -> SigningKey {
        SigningKey::from_secret(&[7; 32])
    }

    #[test]
    fn a_key_file_is_private_is_read_back_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.key");
        let made = SigningKey::generate().unwrap();
        made.create(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(SigningKey::load(&path).unwrap().public(), made.public());
        assert_eq!(
            key().create(&path).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.key");
        key().create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = SigningKey::load(&path).unwrap_err();
        assert!(matches!(refused, KeyError::Exposed { mode: 0o644 }));
    }

    #[test]
    fn a_file_that_is_not_there_is_refused_with_what_makes_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = SigningKey::load(&dir.path().join("no.key")).unwrap_err();
        assert!(error.to_string().contains("nimblenet keygen"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let good = format!(
            "kind = \"ed25519\"\npublic = \"{}\"\nsecret = \"{}\"\n",
            key().public(),
            PublicKey([7; 32])
        );
        assert!(SigningKey::parse(&good).is_ok());
        for bad in ["", "hello", &good.replace("ed25519", "rsa"), &good[..80]] {
            assert!(matches!(SigningKey::parse(bad), Err(KeyError::NotAKey)));
        }
        let other = good.replace(&key().public().to_string(), &"ab".repeat(32));
        assert!(matches!(SigningKey::parse(&other), Err(KeyError::Mismatch)));
    }

    #[test]
    fn a_signature_holds_for_its_root_and_its_key_only() {
        let (root, other) = (Digest::of(b"a"), Digest::of(b"b"));
        let signature = key().sign(&signed_bytes(&root));
        assert!(key().public().verifies_root(&root, &signature));
        assert!(!key().public().verifies_root(&other, &signature));
        let stranger = SigningKey::from_secret(&[8; 32]);
        assert!(!stranger.public().verifies_root(&root, &signature));
    }

    #[test]
    fn att_29_malleable_signatures_and_weak_keys_are_refused() {
        let message = b"message";
        let good = key().0.sign(message).to_bytes();
        assert!(key().public().verifies(message, &good));

        // S + L is the same scalar in the group but other bytes.
        let order: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut shifted = good;
        let mut carry: u16 = 0;
        for (byte, add) in shifted[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert!(!key().public().verifies(message, &shifted));

        // With the identity as key and R, and S = 0, the plain equation holds for any message.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut nothing = [0; 64];
        nothing[0] = 1;
        assert!(!PublicKey(identity).verifies(message, &nothing));

        // The same point with its coordinate written as 1 + p.
        let mut encoded = [0xff; 32];
        (encoded[0], encoded[31]) = (0xee, 0x7f);
        assert!(!PublicKey(encoded).verifies(message, &nothing));

        for bit in 0..512 {
            let mut flipped = good;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!key().public().verifies(message, &flipped), "bit {bit}");
        }
    }
}
