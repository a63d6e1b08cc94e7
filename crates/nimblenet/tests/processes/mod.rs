//! Runs the built binary as processes: a registry, nodes, and the commands of people.
#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod line;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU16, Ordering};
use core::time::Duration;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nimblenet_tasklet::{
    Capabilities, Export, NamedImport, PackageFields, Signature, TaskletName, Terms,
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_nimblenet");

/// Runs a command to its end.
pub(crate) fn nimblenet(args: &[&str]) -> Output {
    Command::new(BINARY)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs a command that must succeed; returns its output.
pub(crate) fn succeed(args: &[&str]) -> String {
    let output = nimblenet(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?} failed: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail with exit code 1; returns its error output.
pub(crate) fn fail(args: &[&str]) -> String {
    let output = nimblenet(args);
    assert_eq!(output.status.code(), Some(1), "{args:?} was to fail");
    assert!(output.stdout.is_empty(), "{args:?} printed something");
    String::from_utf8(output.stderr).unwrap()
}

/// Waits for something that will happen within half a minute.
pub(crate) fn soon(what: &str, mut happened: impl FnMut() -> bool) {
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 0..600 {
        if happened() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("it does not come to it that {what}");
}

fn not_ready(args: &[&str], said: &str) -> ! {
    panic!("{args:?} is not ready: {said:?}")
}

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    /// The address at which it takes CoAP requests.
    pub(crate) coap: SocketAddr,
}

impl Daemon {
    /// Starts a daemon, and waits until it reports that it is ready.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_to(args, Stdio::inherit()).unwrap_or_else(|line| not_ready(args, &line))
    }

    /// Starts a daemon whose log goes to the file at `log`.
    pub(crate) fn start_with_log(args: &[&str], log: impl AsRef<Path>) -> Self {
        let file = File::create(&log).unwrap();
        Self::start_to(args, file.into()).unwrap_or_else(|line| {
            let log = std::fs::read_to_string(log).unwrap();
            not_ready(args, &format!("{line}{log}"))
        })
    }

    /// The daemon, or what it says in place of its addresses.
    fn start_to(args: &[&str], log: Stdio) -> Result<Self, String> {
        let mut child = Command::new(BINARY)
            .args(args)
            .env_remove("NIMBLENET_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let Some((_, coap)) = line.trim_end().rsplit_once("coap ") else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(line);
        };
        Ok(Self {
            coap: coap.parse().unwrap(),
            child,
        })
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order; it must report success.
    pub(crate) fn terminate(mut self) {
        let id = self.child.id().to_string();
        Command::new("kill").arg(&id).status().unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// Ends it in order; it must report success in so much time.
    pub(crate) fn terminate_within(mut self, time: Duration) {
        const PAUSE: Duration = Duration::from_millis(20);
        let id = self.child.id().to_string();
        Command::new("kill").arg(&id).status().unwrap();
        for _ in 0..time.as_millis() / PAUSE.as_millis() {
            if let Some(status) = self.child.try_wait().unwrap() {
                return assert!(status.success());
            }
            std::thread::sleep(PAUSE);
        }
        panic!("it has not ended within {time:?}");
    }

    /// Kills it; true if it was running until then.
    pub(crate) fn kill(&mut self) -> bool {
        let running = self.child.try_wait().unwrap().is_none();
        let _ = self.child.kill();
        let _ = self.child.wait();
        running
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A directory with a key, packages, and the store of a registry.
pub(crate) struct Bench {
    dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self { dir };
        succeed(&["keygen", "-o", &bench.path("shop.key")]);
        bench
    }

    /// The path of a file here.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// The public half of a key file.
    pub(crate) fn public(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("public = "));
        line.unwrap().trim_matches('"').to_owned()
    }

    /// Writes a file, and returns its path.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A registry for trials, with its store here.
    pub(crate) fn registry(&self) -> Daemon {
        let data = self.path("data");
        Daemon::start(&["registry", "--listen", "127.0.0.1:0", "--data", &data])
    }

    /// The arguments that publish `packages` at `registry`.
    pub(crate) fn publish<'a>(
        &self,
        registry: &str,
        packages: &[&'a str],
        key: &'a str,
    ) -> Result<String, String> {
        let mut args = vec!["publish", "--registry", registry, "--key", key];
        args.extend(packages);
        let output = nimblenet(&args);
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }

    /// A package of `wat` with one export, `run`; each callee has the same signature.
    pub(crate) fn package(
        &self,
        name: &str,
        signature: &str,
        wat: &str,
        callees: &[&str],
    ) -> String {
        let module = wat::parse_str(wat).unwrap();
        let file = name.replace('/', "-") + ".nnp";
        self.write(&file, package(name, signature, &module, callees))
    }
}

/// The bytes of a package.
pub(crate) fn package(name: &str, signature: &str, module: &[u8], callees: &[&str]) -> Vec<u8> {
    package_with_fuel(name, signature, module, callees, 20_000_000)
}

/// The bytes of a package with its own ceiling on fuel.
pub(crate) fn package_with_fuel(
    name: &str,
    signature: &str,
    module: &[u8],
    callees: &[&str],
    fuel: u64,
) -> Vec<u8> {
    package_with(name, signature, module, callees, fuel, Capabilities::NONE)
}

/// The bytes of a package of a tasklet that may have capabilities.
pub(crate) fn package_with_capabilities(
    name: &str,
    signature: &str,
    module: &[u8],
    capabilities: Capabilities,
) -> Vec<u8> {
    package_with(name, signature, module, &[], 1_000_000, capabilities)
}

/// The bytes of a package whose terms are these.
pub(crate) fn package_with(
    name: &str,
    signature: &str,
    module: &[u8],
    callees: &[&str],
    fuel: u64,
    capabilities: Capabilities,
) -> Vec<u8> {
    let signature: Signature = signature.parse().unwrap();
    let mut space = [0; 128];
    let mut terms = Terms::empty();
    (terms.fuel, terms.memory_bytes) = (fuel, 65_536);
    terms.capabilities = capabilities;
    let exports = [Export::run(signature)];
    let terms = terms.with_exports(&exports, &mut space).unwrap();
    let import = |callee: &&str| NamedImport {
        name: TaskletName::new(callee).unwrap(),
        export: "run",
        signature,
    };
    let imports: Vec<_> = callees.iter().map(import).collect();
    let fields = PackageFields {
        name: TaskletName::new(name).unwrap(),
        terms,
        imports: &imports,
        module,
    };
    let mut bytes = vec![0; 1024 + module.len()];
    let len = fields.encode(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

/// a + b + extra.
pub(crate) fn add(extra: u32) -> String {
    format!(
        "(module (func (export \"run\") (param i32 i32) (result i32)
           (i32.add (i32.const {extra}) (i32.add (local.get 0) (local.get 1)))))"
    )
}

/// The signature of [`add`].
pub(crate) const ADD: &str = "func(u32, u32) -> u32";

/// Ports of this machine that are free, all different. They are below those that the system
/// gives to clients, so that they stay free while a daemon is down.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    (0..count).map(|_| free_run(1)).collect()
}

/// A port at which a registry can take requests: the next one, which is its mesh's then, is free too.
pub(crate) fn registry_port() -> u16 {
    free_run(2)
}

/// The first of `count` free ports in a row that no other test of this process gets.
fn free_run(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 100) as u16 * 100;
    let free = |port: u16| UdpSocket::bind(("127.0.0.1", port)).is_ok();
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(count, Ordering::Relaxed)) % 12_000;
        if (port..port + count).all(free) {
            return port;
        }
    }
}

/// The packages of the repository.
pub(crate) fn packed() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tasklets/packed");
    let entries = std::fs::read_dir(dir).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "nnp"));
    paths.sort();
    paths
}
