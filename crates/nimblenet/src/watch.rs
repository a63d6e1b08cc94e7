//! Reports that a tasklet's sources have changed.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time;

/// An editor changes a file several times when it saves; the save is complete when nothing has
/// happened for this long.
const QUIET: Duration = Duration::from_millis(20);
/// The longest wait for a file that changes all the time.
const PATIENCE: Duration = Duration::from_millis(500);

/// Watches folders until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches the files in these folders for which `wanted` is true.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn start(folders: &[PathBuf], wanted: fn(&Path) -> bool) -> anyhow::Result<Self> {
        let changed = Arc::new(Notify::new());
        let heard = Arc::clone(&changed);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An event without details may be a change.
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

    /// Waits for the next change, and until it is complete. A change since the last wait counts
    /// too. The wait may be cancelled and called again.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
        let settled =
            async { while time::timeout(QUIET, self.changed.notified()).await.is_ok() {} };
        // Whether the file is quiet or not, the wait is over.
        let _ = time::timeout(PATIENCE, settled).await;
    }
}

/// Compilers open files too, so only events that may change a file count.
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
