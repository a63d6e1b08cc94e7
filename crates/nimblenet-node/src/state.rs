//! Files of the state directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use nimblenet_tasklet::Digest;

/// Hexadecimal digits of the checksum in front of a text that is kept twice.
const CHECK_DIGITS: usize = 16;

/// No file of the state is longer.
const FILE_BYTES: u64 = 16 << 20;

/// The file that a process locks which uses a directory.
const LOCK: &str = "lock";

/// A directory that no other daemon uses as long as this lives. The system ends that with the process,
/// however it ends; the file stays and says nothing.
#[derive(Debug)]
pub(crate) struct Hold {
    /// What is locked.
    file: File,
}

impl Hold {
    /// Takes the directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceBusy`](io::ErrorKind::ResourceBusy) if another daemon has it, or if the system
    /// refuses.
    pub(crate) fn take(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join(LOCK);
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let dir = dir.display();
                let why = format!(
                    "another node or registry uses {dir}; stop it, or give each a directory of its own"
                );
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
            }
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!(path = %path.display(), "this file system has no locks");
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self { file })
    }
}

/// The lock ends with the hold and not with the last copy of its descriptor: a process that another
/// thread is about to start has one until it runs its program.
impl Drop for Hold {
    fn drop(&mut self) {
        // Where locks are not supported there is none to give back.
        let _ = self.file.unlock();
    }
}

/// What a file of the state has. Of one that is longer than any, and so is damaged, it is the beginning.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A text that must not be lost or fall back, such as a number that only rises: two files have it, each
/// with a checksum, and what either has counts.
#[derive(Clone, Debug)]
pub(crate) struct Twin {
    files: [PathBuf; 2],
}

impl Twin {
    /// The files `name` and `name.2` in `dir`.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        Self {
            files: [dir.join(name), dir.join(format!("{name}.2"))],
        }
    }

    /// What the files have that are whole: none if there are no files.
    ///
    /// # Errors
    /// If there are files, but none is whole; `loss` says what it means to remove them. Or if they
    /// cannot be read.
    pub(crate) fn read<T>(
        &self,
        parse: impl Fn(&str) -> Option<T>,
        loss: &str,
    ) -> io::Result<Vec<T>> {
        let (mut whole, mut damaged) = (Vec::new(), Vec::new());
        for file in &self.files {
            match read(file) {
                Ok(bytes) => match checked(&bytes).and_then(&parse) {
                    Some(value) => whole.push(value),
                    None => damaged.push(file.display()),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let error_in = format!("{}: {error}", file.display());
                    return Err(io::Error::new(error.kind(), error_in));
                }
            }
        }
        if whole.is_empty() && !damaged.is_empty() {
            let [one, other] = self.files.each_ref().map(|file| file.display());
            let why = match &damaged[..] {
                [alone] => {
                    format!("{alone} is damaged, and there is no copy of it; remove it: {loss}")
                }
                _ => format!("{one} and {other} are damaged; remove both: {loss}"),
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        for path in damaged {
            tracing::warn!(%path, "damaged; its copy is used");
        }
        Ok(whole)
    }

    /// Writes both files; the first one is durable before the second one is touched.
    ///
    /// # Errors
    /// If the system cannot write them.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let bytes = format!("{} {text}", check(text));
        for file in &self.files {
            replace(file, bytes.as_bytes()).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", file.display()))
            })?;
        }
        Ok(())
    }
}

fn check(text: &str) -> String {
    let mut digits = Digest::of(text.as_bytes()).to_string();
    digits.truncate(CHECK_DIGITS);
    digits
}

/// The text of a file whose checksum is right.
fn checked(bytes: &[u8]) -> Option<&str> {
    let (digits, text) = core::str::from_utf8(bytes).ok()?.split_once(' ')?;
    (digits == check(text)).then_some(text)
}

/// Replaces a file as a whole: after a crash at any moment the old or the new content is there.
///
/// # Errors
/// If the system cannot write the new file or rename it; the old content is then still there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    let mut file = File::create(new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    path.parent()
        .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_lock_that_a_starting_process_has_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let held = Hold::take(dir.path()).unwrap();
        let inherited = held.file.try_clone().unwrap();
        drop(held);
        Hold::take(dir.path()).unwrap();
        drop(inherited);
    }

    #[test]
    fn a_directory_is_held_once_and_a_lock_file_alone_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOCK), b"").unwrap();
        let held = Hold::take(dir.path()).unwrap();
        let refused = Hold::take(dir.path()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        assert!(
            refused
                .to_string()
                .contains(&dir.path().display().to_string())
        );
        drop(held);
        Hold::take(dir.path()).unwrap();
    }

    #[test]
    fn either_file_is_enough_and_two_damaged_ones_are_no_empty_ones() {
        let dir = tempfile::tempdir().unwrap();
        let twin = Twin::new(dir.path(), "number");
        let read = || twin.read(|text| text.trim().parse::<u32>().ok(), "it begins anew");
        assert_eq!(read().unwrap(), []);
        twin.write("7\n").unwrap();
        assert_eq!(read().unwrap(), [7, 7]);
        let whole = fs::read(&twin.files[0]).unwrap();
        // Every bit flipped, and every cut.
        let flipped = (0..whole.len() * 8).map(|bit| {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        let cut = (0..whole.len()).map(|len| whole[..len].to_vec());
        for damaged in flipped.chain(cut) {
            fs::write(&twin.files[0], &damaged).unwrap();
            assert_eq!(read().unwrap(), [7], "{damaged:?}");
        }
        fs::write(&twin.files[1], b"").unwrap();
        let refused = read().unwrap_err().to_string();
        assert!(refused.contains("remove both: it begins anew"), "{refused}");
        fs::remove_file(&twin.files[1]).unwrap();
        let refused = read().unwrap_err().to_string();
        assert!(refused.contains("no copy of it; remove it"), "{refused}");
        twin.write("8\n").unwrap();
        assert_eq!(read().unwrap(), [8, 8]);
    }
}
