//! Hearing that a tasklet's sources have changed.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time;

/// An editor that saves touches a file several times; it is done when nothing happens for this
/// long.
const QUIET: Duration = Duration::from_millis(20);
/// A file that changes all the time is waited for no longer than this.
const PATIENCE: Duration = Duration::from_millis(500);

/// Watches folders until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches the files in these folders that `wanted` is true of.
    ///
    /// # Errors
    /// If the system does not let it.
    pub(crate) fn start(folders: &[PathBuf], wanted: fn(&Path) -> bool) -> anyhow::Result<Self> {
        let changed = Arc::new(Notify::new());
        let heard = Arc::clone(&changed);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // What cannot be told in detail may be a change.
            let matters = event.map_or(true, |event| {
                is_change(event.kind) && event.paths.iter().any(|path| wanted(path))
            });
            if matters {
                heard.notify_one();
            }
        })
        .context("watching for changes")?;
        for folder in folders {
            watcher
                .watch(folder, RecursiveMode::NonRecursive)
                .with_context(|| format!("watching {} for changes", folder.display()))?;
        }
        Ok(Self {
            changed,
            _watcher: watcher,
        })
    }

    /// Waits for the next change, and until it is complete. A change that came since the last
    /// one was waited for counts. It may be given up and called again.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
        let settled =
            async { while time::timeout(QUIET, self.changed.notified()).await.is_ok() {} };
        // Enough has been waited either way.
        let _ = time::timeout(PATIENCE, settled).await;
    }
}

/// Compilers open files too: only what may change one counts.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
