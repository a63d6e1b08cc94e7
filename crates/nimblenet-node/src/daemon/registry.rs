//! The registry's store, on a thread of its own, so that writing to disk delays no frame.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use nimblenet_tasklet::{Digest, Name};
use tokio::sync::mpsc::UnboundedSender;

use super::api;
use crate::key::PublicKey;
use crate::store::{EpochSummary, Published, Refusal, Store};

/// A task for the store that serves a request.
#[derive(Debug)]
pub(super) enum Task {
    Stage {
        digest: Digest,
        module: Vec<u8>,
    },
    Publish {
        namespace: Name,
        key: Option<PublicKey>,
        delta: Vec<u8>,
    },
    History {
        namespace: Name,
    },
    At {
        namespace: Name,
        epoch: u32,
    },
}

/// The result of a task.
#[derive(Debug)]
pub(super) enum Done {
    Staged,
    Published(Publication),
    History(Name, Vec<EpochSummary>),
    At(u32, Option<Vec<u8>>),
}

/// A publication that the node's archive takes up.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) outcome: Published,
    pub(super) namespace: Name,
    pub(super) key: PublicKey,
    pub(super) delta: Vec<u8>,
    /// Modules that are forgotten.
    pub(super) gone: Vec<Digest>,
}

/// The result of a task, and where to send the reply.
pub(super) type Answer = (api::Answer, Result<Done, Refusal>);

#[derive(Debug)]
pub(super) struct StoreThread {
    queue: Option<Sender<(api::Answer, Task)>>,
    thread: Option<JoinHandle<()>>,
}

impl StoreThread {
    pub(super) fn start(store: Store, answers: UnboundedSender<Answer>) -> io::Result<Self> {
        // Carriers bound the number of requests in progress, and so the queue's length.
        let (queue, due) = channel();
        let thread = Builder::new()
            .name("store".into())
            .spawn(move || serve(store, &due, &answers))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    pub(super) fn give(&self, answer: api::Answer, task: Task) {
        if let Some(queue) = &self.queue {
            let _ = queue.send((answer, task));
        }
    }

    /// Finishes what is queued and closes the store.
    pub(super) fn stop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut store: Store, due: &Receiver<(api::Answer, Task)>, answers: &UnboundedSender<Answer>) {
    while let Ok((answer, task)) = due.recv() {
        let result = carry_out(&mut store, task);
        if answers.send((answer, result)).is_err() {
            return;
        }
    }
}

fn carry_out(store: &mut Store, task: Task) -> Result<Done, Refusal> {
    match task {
        Task::Stage { digest, module } => store.stage(&digest, &module).map(|()| Done::Staged),
        Task::Publish {
            namespace,
            key,
            delta,
        } => publish(store, namespace, key, delta).map(Done::Published),
        Task::History { namespace } => {
            let epochs = store.history(&namespace)?;
            Ok(Done::History(namespace, epochs))
        }
        Task::At { namespace, epoch } => {
            let catalogue = store.at(&namespace, epoch)?;
            Ok(Done::At(epoch, catalogue))
        }
    }
}

fn publish(
    store: &mut Store,
    namespace: Name,
    key: Option<PublicKey>,
    delta: Vec<u8>,
) -> Result<Publication, Refusal> {
    let outcome = store.publish(&delta, &namespace, key)?;
    let key = store.key(&namespace).ok_or(Refusal::UnknownNamespace)?;
    Ok(Publication {
        outcome,
        namespace,
        key,
        delta,
        gone: store.take_gone(),
    })
}
