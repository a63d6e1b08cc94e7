//! Daemons with serial lines, which are pseudo-terminals with a cable between them.

use super::*;
use crate::link::{LinkPlan, LinkStatus, SerialConfig};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

/// With noise, one byte in this many is lost, and other bytes take its place.
const NOISE_EVERY: usize = 1000;
const NOISE: &[u8] = &[0x55, 0, 0xff];
const ENDS: [&str; 2] = ["a", "b"];

/// A cable with two ends that can be plugged into the machine and out of it.
struct Cable {
    dir: TempDir,
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Inner {
    ends: Mutex<[Option<File>; 2]>,
    noise: AtomicBool,
    stop: AtomicBool,
}

impl Cable {
    /// A cable with nothing at its ends.
    fn new() -> Self {
        let inner = Arc::<Inner>::default();
        let carried = Arc::clone(&inner);
        Self {
            dir: tempfile::tempdir().unwrap(),
            inner,
            thread: Some(thread::spawn(move || carried.carry())),
        }
    }

    /// A cable with both ends plugged in.
    fn plugged() -> Self {
        let cable = Self::new();
        cable.plug(0);
        cable.plug(1);
        cable
    }

    fn device(&self, end: usize) -> PathBuf {
        self.dir.path().join(ENDS[end])
    }

    fn plug(&self, end: usize) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        rustix::io::ioctl_fionbio(&terminal, true).unwrap();
        // Until somebody opens it, it must not answer like a terminal.
        let mut line = tcgetattr(&terminal).unwrap();
        line.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &line).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let name = name.into_string().unwrap();
        self.inner.ends.lock().unwrap()[end] = Some(terminal.into());
        std::os::unix::fs::symlink(name, self.device(end)).unwrap();
    }

    fn unplug(&self, end: usize) {
        self.inner.ends.lock().unwrap()[end] = None;
        std::fs::remove_file(self.device(end)).unwrap();
    }
}

impl Inner {
    fn carry(&self) {
        let mut bytes = [0; 256];
        let mut count = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let mut ends = self.ends.lock().unwrap();
            let mut moved = false;
            for (from, onto) in [(0, 1), (1, 0)] {
                let Some(source) = &mut ends[from] else {
                    continue;
                };
                let length = source.read(&mut bytes).unwrap_or(0);
                moved |= length > 0;
                let mut line = Vec::new();
                for byte in &bytes[..length] {
                    count += 1;
                    if self.noise.load(Ordering::Relaxed) && count % NOISE_EVERY == 0 {
                        line.extend(NOISE);
                    } else {
                        line.push(*byte);
                    }
                }
                if let Some(sink) = &mut ends[onto] {
                    // A receiver that is too slow loses bytes, as on a cable.
                    let _ = sink.write(&line);
                }
            }
            drop(ends);
            if !moved {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Asks again and again until there is an answer.
fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(PAUSE);
    }
    panic!("no {what} in time");
}

fn line(daemon: &Daemon) -> LinkStatus {
    daemon.status().unwrap().links.remove(1)
}

fn plan(cable: &Cable, end: usize) -> Arc<dyn LinkPlan> {
    Arc::new(SerialConfig::new(cable.device(end)))
}

/// A registry and a node with nothing but a cable between them.
fn across(cable: &Cable) -> Mesh {
    Mesh::with(1, |at, mesh| {
        mesh.neighbours.clear();
        mesh.links = vec![plan(cable, at)];
    })
}

#[test]
fn a_cable_is_enough_to_fetch_and_run() {
    let cable = Cable::plugged();
    let mesh = across(&cable);
    mesh.publish(&[chain(), add(0)]).unwrap();
    assert_eq!(mesh.call(1, "shop/chain", &[2, 3]), Ok(10));
    let node = mesh.nodes[0].status().unwrap();
    let [udp, line] = &node.links[..] else {
        panic!("a node without a socket or a line");
    };
    assert!(line.up && line.sent > 0 && line.received > 0);
    assert!(line.sent_bytes > line.sent && line.received_bytes > line.received);
    // One frame may have been under way when the device was opened.
    assert!(line.damaged <= 1 && line.dropped == 0, "{line:?}");
    assert_eq!((udp.kind, udp.sent, udp.received), ("udp", 0, 0));
    let shown = Reply::Status(Box::new(node.clone())).document().bytes;
    let device = cable.device(1).display().to_string();
    for text in ["serial", &device, "tx_frames"] {
        let shows = shown.windows(text.len()).any(|it| it == text.as_bytes());
        assert!(shows, "{text} in /status");
    }
}

#[test]
fn a_node_passes_on_between_datagrams_and_a_cable() {
    let cable = Cable::plugged();
    let mesh = Mesh::with(2, |at, mesh| match at {
        0 => {}
        1 => {
            mesh.neighbours.truncate(1);
            mesh.links = vec![plan(&cable, 0)];
        }
        _ => {
            mesh.neighbours.clear();
            mesh.links = vec![plan(&cable, 1)];
        }
    });
    mesh.publish(&[chain(), add(0)]).unwrap();
    assert_eq!(mesh.call(2, "shop/chain", &[2, 3]), Ok(10));
    assert_eq!(
        mesh.call_at(1, Some(NodeId(2)), "shop/chain", &[1, 1]),
        Ok(4)
    );
    let registry = mesh.registry.as_ref().unwrap().status().unwrap();
    assert!(registry.links.len() == 1 && registry.links[0].sent > 0);
}

#[test]
fn noise_on_the_line_costs_frames_and_no_calls() {
    let cable = Cable::plugged();
    cable.inner.noise.store(true, Ordering::Relaxed);
    let mesh = across(&cable);
    mesh.publish(&[chain(), add(0)]).unwrap();
    wait("call over noise", || {
        mesh.call(1, "shop/chain", &[2, 3])
            .ok()
            .map(|sum| assert_eq!(sum, 10))
    });
    let registry = mesh.registry.as_ref().unwrap();
    wait("damaged frame", || {
        (line(&mesh.nodes[0]).damaged + line(registry).damaged > 0).then_some(())
    });
}

#[test]
fn a_device_that_is_not_there_yet_or_goes_away_is_found_again() {
    let cable = Cable::new();
    let mesh = across(&cable);
    mesh.publish(&[add(0)]).unwrap();
    let node = &mesh.nodes[0];
    assert!(!line(node).up && node.is_running());
    cable.plug(0);
    cable.plug(1);
    wait("line", || line(node).up.then_some(()));
    let works = || mesh.call(1, "shop/add", &[2, 3]).ok();
    assert_eq!(wait("call", works), 5);

    cable.unplug(1);
    wait("end of the line", || (!line(node).up).then_some(()));
    wait("dropped frame", || (line(node).dropped > 0).then_some(()));
    assert_eq!(
        mesh.call(1, "shop/add", &[2, 3]),
        Ok(5),
        "it has what it has"
    );

    cable.plug(1);
    wait("line", || line(node).up.then_some(()));
    let moved = mesh.publish(&[add(1)]).unwrap();
    assert_eq!(moved[0].epoch, 2);
    wait("newer tasklet", || (works() == Some(6)).then_some(()));
}
