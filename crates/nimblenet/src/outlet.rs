//! What a verb makes goes to a path of the user's choosing, in one way for all verbs.
//!
//! A file is replaced as a whole: its new content goes to a temporary file beside it, which takes its
//! place when it is durable, so that a full disk or a crash leaves what was there, and nothing else.
//! Whatever is not a regular file, as a device, a pipe, or what this process has open, is written to and
//! stays what it is. Links are followed and stay links.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The mode of a new file, of which the system takes away what the user's mask has.
const MODE: u32 = 0o666;
/// The mode of a file that only its owner reads.
const SECRET_MODE: u32 = 0o600;
/// Links that are followed one after the other; the system follows as many.
const LINKS_MAX: usize = 40;
/// How often a name is tried that nothing else has.
const ATTEMPTS: u32 = 1000;
/// What is open in processes, as files.
const OPEN_FILES: &str = "/proc";

/// Writes all of `content`, or leaves what is at `path` as it is.
///
/// # Errors
/// If the system refuses; the words say what can be done.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    Outlet::of(path)
        .and_then(|outlet| outlet.write(content.as_ref(), None))
        .map_err(|failed| failed.of(path))
}

/// Like [`write()`], and only the file's owner can read it.
///
/// # Errors
/// As for [`write()`].
pub(crate) fn write_secret(path: &Path, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    Outlet::of(path)
        .and_then(|outlet| outlet.write(content.as_ref(), Some(SECRET_MODE)))
        .map_err(|failed| failed.of(path))
}

/// Makes the folder of a file, and sees that the file can be written. What is there stays as it is.
///
/// # Errors
/// If it cannot.
pub(crate) fn prepare(path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
        make_folder(folder)?;
    }
    Outlet::of(path)
        .and_then(|outlet| outlet.try_out())
        .map_err(|failed| failed.of(path))
}

/// Makes a folder, and sees that files can be written into it.
///
/// # Errors
/// If they cannot.
pub(crate) fn prepare_folder(folder: &Path) -> anyhow::Result<()> {
    make_folder(folder)?;
    let outlet = Outlet::File(folder.join("file"));
    outlet.try_out().map_err(|failed| failed.of(folder))
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    let place = folder.display();
    if folder.exists() && !folder.is_dir() {
        let error = anyhow::Error::new(io::Error::from(ErrorKind::NotADirectory));
        let what = format!("making the folder {place}: a file has that name: name another folder");
        return Err(error.context(what));
    }
    fs::create_dir_all(folder).with_context(|| format!("making the folder {place}"))
}

/// What a path leads to.
#[derive(Debug)]
enum Outlet {
    /// A regular file of this path, which is no link, or nothing yet.
    File(PathBuf),
    /// Something else: it is written to.
    Stream(PathBuf),
}

impl Outlet {
    fn of(path: &Path) -> Result<Self, Failed> {
        let kept = |error| Failed { error, kept: true };
        let is_file = match fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                return Err(kept(io::Error::from(ErrorKind::IsADirectory)));
            }
            Ok(found) => found.is_file(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(kept(error)),
        };
        if !is_file {
            return Ok(Self::Stream(path.to_owned()));
        }
        let mut place = path.to_owned();
        for _ in 0..LINKS_MAX {
            let folder = folder(&place);
            if fs::canonicalize(folder).is_ok_and(|it| it.starts_with(OPEN_FILES)) {
                return Ok(Self::Stream(path.to_owned()));
            }
            match fs::read_link(&place) {
                Ok(target) => place = folder.join(target),
                Err(_) => return Ok(Self::File(place)),
            }
        }
        let circle = format!("there are more than {LINKS_MAX} links to follow");
        Err(kept(io::Error::new(ErrorKind::InvalidInput, circle)))
    }

    /// Writes all of it; a new file has the mode, if there is one.
    fn write(&self, content: &[u8], mode: Option<u32>) -> Result<(), Failed> {
        match self {
            Self::File(place) => {
                let replaced = Temporary::beside(place, mode).and_then(|temporary| {
                    let mut file = &temporary.file;
                    file.write_all(content)?;
                    temporary.take_the_place_of(place)
                });
                replaced.map_err(|error| Failed { error, kept: true })
            }
            Self::Stream(path) => {
                let opened = OpenOptions::new().write(true).truncate(true).open(path);
                let written = opened.and_then(|mut stream| stream.write_all(content));
                written.map_err(|error| Failed { error, kept: false })
            }
        }
    }

    /// Sees whether a file can be written; a stream may do something when it is opened.
    fn try_out(&self) -> Result<(), Failed> {
        let Self::File(place) = self else {
            return Ok(());
        };
        let tried = Temporary::beside(place, None);
        tried
            .map(drop)
            .map_err(|error| Failed { error, kept: true })
    }
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// A file that is removed again, unless it takes the place of another.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    /// Makes one in the folder of `place`, with the owner and the mode of the file there.
    fn beside(place: &Path, mode: Option<u32>) -> io::Result<Self> {
        let there = match OpenOptions::new().append(true).open(place) {
            Ok(there) => Some(there.metadata()?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let temporary = Self::new(folder(place), mode.unwrap_or(MODE))?;
        if let Some(there) = there {
            let own = temporary.file.metadata()?;
            if (own.uid(), own.gid()) != (there.uid(), there.gid()) {
                // Only root can, and for others it is their own file in any case.
                let _ = fchown(&temporary.file, Some(there.uid()), Some(there.gid()));
            }
            let mode = mode.unwrap_or_else(|| there.mode());
            temporary
                .file
                .set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(temporary)
    }

    fn new(folder: &Path, mode: u32) -> io::Result<Self> {
        let process = std::process::id();
        let mut last = io::Error::from(ErrorKind::AlreadyExists);
        for attempt in 0..ATTEMPTS {
            let path = folder.join(format!(".nimblenet-{process}-{attempt}"));
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).mode(mode).open(&path) {
                Ok(file) => return Ok(Self { path, file }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn take_the_place_of(mut self, place: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, place)?;
        // Nothing is left to remove.
        self.path = PathBuf::new();
        // The file is whole in any case; where folders cannot be synchronised, it is durable later.
        let _ = File::open(folder(place)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.path != Path::new("") {
            // It is a file of no use; that it stays is better than an error that hides the first one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why nothing, or not all, was written.
#[derive(Debug)]
struct Failed {
    error: io::Error,
    /// Whether what was there is as it was.
    kept: bool,
}

impl Failed {
    /// The error with what, where, and what to do.
    fn of(self, path: &Path) -> anyhow::Error {
        let remedies: [(&[ErrorKind], &str); 4] = [
            (
                &[
                    ErrorKind::StorageFull,
                    ErrorKind::QuotaExceeded,
                    ErrorKind::FileTooLarge,
                ],
                "make room there, or name a file elsewhere",
            ),
            (
                &[ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem],
                "name a file in a folder that you may write to",
            ),
            (
                &[ErrorKind::NotFound, ErrorKind::NotADirectory],
                "make its folder first, or name a file in one that is there",
            ),
            (
                &[ErrorKind::IsADirectory],
                "it is a folder: name a file in it",
            ),
        ];
        let kind = self.error.kind();
        let known = remedies
            .into_iter()
            .find(|(kinds, _)| kinds.contains(&kind));
        let remedy = match known {
            // Its folder is there, and takes none.
            _ if kind == ErrorKind::NotFound && folder(path).is_dir() => {
                "name a file in a folder that takes new ones"
            }
            Some((_, remedy)) => remedy,
            None => "name another file",
        };
        let kept = match (self.kept, path.exists()) {
            (true, true) => "; what is there is left as it was",
            (true, false) => "; nothing is left there",
            (false, _) => "; a part may have been written",
        };
        let place = path.display();
        anyhow::Error::new(self.error).context(format!("writing {place} failed{kept}: {remedy}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_keeps_its_mode_and_the_links_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        write(&link, "new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        write_secret(&file, "secret").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, SECRET_MODE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_to_nothing_leads_to_the_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink("there", &link).unwrap();
        write(&link, "new").unwrap();
        assert_eq!(fs::read(dir.path().join("there")).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_is_tried_out_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("deep/file");
        prepare(&place).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("deep")).unwrap().count(), 0);
        assert!(prepare(&dir.path().join("deep")).is_err(), "it is a folder");
        symlink("round", dir.path().join("round")).unwrap();
        assert!(prepare(&dir.path().join("round")).is_err(), "a circle");
    }
}
