//! The load: the tasklets of a trace as WebAssembly modules of the same lengths, which call each other
//! as the trace says and wait as long as it says.
//!
//! A trace knows nothing of what a module needs. So a chain that is short and calls much has no room
//! for all of its waits: it waits for their sum before its first call, or not at all; and if even its
//! calls need more room than the trace gives, it is longer. [`Room`] counts how many are which.

use core::time::Duration;

use anyhow::Context as _;
use nimblenet_sim::trace::{Chain, TaskSet};
use nimblenet_sim::{NAMESPACE, algorithm_name, chain_name};
use nimblenet_tasklet::{
    Capabilities, Capability, Export, NamedImport, PackageFields, Signature, TaskletName, Terms,
};
use serde::Serialize;

/// The most bytes of a package besides its module.
const PACKAGE_BYTES: usize = 4096;
/// The signature of all tasklets.
pub(super) const SIGNATURE: &str = "func()";
/// The most types that nobody uses, which fill gaps that one-byte instructions cannot.
const TYPES_MAX: usize = 3;

/// The packages of a task set.
#[derive(Debug)]
pub(crate) struct Load {
    /// Chains first, in the order of their ids, then the algorithms.
    pub(crate) packages: Vec<Vec<u8>>,
    /// How the modules fit their lengths.
    pub(crate) room: Room,
    /// How long each chain waits, with all that it calls.
    pub(crate) waits: Vec<Duration>,
    needs: Needs,
}

/// What nodes need of modules and entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Needs {
    /// The longest sleep, in microseconds: a longer wait is several.
    pub(crate) sleep_us: u32,
    /// The fuel that a tasklet declares for each microsecond of its waits; 0 where nobody reads that.
    pub(crate) fuel_us: u64,
}

/// How the modules fit the lengths that the trace gives.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub(crate) struct Room {
    /// All modules.
    pub(crate) modules: usize,
    /// Their bytes.
    pub(crate) module_bytes: usize,
    /// Those that wait for the sum of their times at their start.
    pub(crate) wait_once: usize,
    /// Those that do not wait.
    pub(crate) wait_never: usize,
    /// Those that are longer than the trace says.
    pub(crate) longer: usize,
    /// By how many bytes together.
    pub(crate) longer_bytes: usize,
}

impl Load {
    /// The packages of a task set, for nodes with these needs.
    ///
    /// # Errors
    /// If a tasklet cannot be packed.
    pub(crate) fn of(tasks: &TaskSet, needs: Needs) -> anyhow::Result<Self> {
        let mut load = Self {
            packages: Vec::new(),
            room: Room::default(),
            waits: Vec::new(),
            needs,
        };
        let algorithms = tasks.algorithms.iter();
        let algorithms: Vec<String> = algorithms.map(|it| algorithm_name(it.id)).collect();
        for chain in &tasks.chains {
            let callees = chain
                .calls
                .iter()
                .map(|id| algorithms[*id as usize].as_str());
            let own = load.add(&chain_name(chain.id), chain, callees.collect())?;
            let called = chain.calls.iter().map(|id| &tasks.algorithms[*id as usize]);
            let called_s: f64 = called.map(|algorithm| algorithm.run_s).sum();
            load.waits.push(own + Duration::from_secs_f64(called_s));
        }
        for (algorithm, name) in tasks.algorithms.iter().zip(&algorithms) {
            let alone = Chain {
                id: algorithm.id,
                size_bytes: algorithm.size_bytes,
                segments_s: vec![algorithm.run_s],
                calls: Vec::new(),
            };
            load.add(name, &alone, Vec::new())?;
        }
        Ok(load)
    }

    /// Adds a tasklet; returns how long it waits.
    fn add(&mut self, name: &str, chain: &Chain, callees: Vec<&str>) -> anyhow::Result<Duration> {
        let waits = chain
            .segments_s
            .iter()
            .map(|time| (time * 1e6).round() as u64);
        let waits: Vec<u64> = waits.collect();
        let wanted = chain.size_bytes as usize;
        let (calls, sum) = (chain.calls.len(), waits.iter().sum());
        let Needs { sleep_us, fuel_us } = self.needs;
        let module = Module {
            waits,
            calls,
            sleep_us,
        };
        let (module, waits) = module.of_length(wanted, &mut self.room);
        let (capabilities, waited_us) = match waits {
            true => (Capabilities::NONE.with(Capability::Clock), sum),
            false => (Capabilities::NONE, 0),
        };
        let cost = waited_us * fuel_us;
        let package = pack(name, &module, capabilities, cost, &callees);
        self.packages
            .push(package.with_context(|| format!("packing {name}"))?);
        Ok(Duration::from_micros(waited_us))
    }
}

/// A module that calls its imports one after the other and waits before, between and after the calls.
#[derive(Clone, Debug)]
struct Module {
    /// Microseconds, one more than calls.
    waits: Vec<u64>,
    calls: usize,
    /// The longest sleep, in microseconds.
    sleep_us: u32,
}

impl Module {
    /// The module with exactly `wanted` bytes, or the shortest that is longer, and whether it waits.
    fn of_length(self, wanted: usize, room: &mut Room) -> (Vec<u8>, bool) {
        room.modules += 1;
        let sum: u64 = self.waits.iter().sum();
        let none = vec![0; self.waits.len()];
        let mut once = none.clone();
        once[0] = sum;
        let with = |waits| Self { waits, ..self };
        let fits = |module: &Self| module.encode(0, 0).len() <= wanted;
        let mut module = with(self.waits.clone());
        if !fits(&module) {
            module = with(once);
            room.wait_once += 1;
        }
        if !fits(&module) {
            module = with(none);
            room.wait_once -= 1;
            room.wait_never += usize::from(sum > 0);
        }
        let bytes = (0..=TYPES_MAX).find_map(|types| module.padded(wanted, types));
        let bytes = bytes.unwrap_or_else(|| module.encode(0, 0));
        room.longer += usize::from(bytes.len() > wanted);
        room.longer_bytes += bytes.len().saturating_sub(wanted);
        room.module_bytes += bytes.len();
        (bytes, module.waits())
    }

    /// Whether it ever waits.
    fn waits(&self) -> bool {
        self.waits.iter().any(|wait| *wait > 0)
    }

    /// The module with so many spare types, if instructions that do nothing make it as long as wanted.
    fn padded(&self, wanted: usize, types: usize) -> Option<Vec<u8>> {
        let mut spare = wanted.checked_sub(self.encode(0, types).len())?;
        loop {
            let bytes = self.encode(spare, types);
            if bytes.len() == wanted {
                return Some(bytes);
            }
            // Numbers of lengths have become longer too.
            spare = spare.checked_sub(bytes.len() - wanted)?;
            if self.encode(spare, types).len() < wanted {
                return None;
            }
        }
    }

    /// The module with so many instructions that do nothing, and spare types.
    fn encode(&self, idle: usize, types: usize) -> Vec<u8> {
        let waits = self.waits();
        let (run, sleep) = ([0x60, 0, 0], [0x60, 1, 0x7f, 0]);
        let mut all = vec![run.to_vec()];
        all.extend(waits.then(|| sleep.to_vec()));
        all.extend(core::iter::repeat_n(run.to_vec(), types));
        let mut imports: Vec<Vec<u8>> = Vec::new();
        if waits {
            let module = Capability::Clock.module();
            imports.push(import(module, "sleep-us", 1));
        }
        // An executor finds the callee by the import's place; a longer name would only take room.
        imports.extend(core::iter::repeat_n(import("/", "run", 0), self.calls));
        let first = u64::from(waits);
        let own = imports.len() as u64;
        let mut code = vec![0];
        for (at, wait) in (first..).zip(&self.waits) {
            if at > first {
                code.push(0x10);
                number(&mut code, at - 1);
            }
            pause(&mut code, *wait, self.sleep_us);
        }
        code.extend(core::iter::repeat_n(0x01, idle));
        code.push(0x0b);
        let mut body = Vec::new();
        number(&mut body, code.len() as u64);
        body.extend(code);
        let mut export = text("run");
        export.push(0);
        number(&mut export, own);
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        for (id, items) in [
            (1, all),
            (2, imports),
            (3, vec![vec![0]]),
            (7, vec![export]),
            (10, vec![body]),
        ] {
            section(&mut module, id, &items);
        }
        module
    }
}

/// Calls the first import until the time is over, for `sleep_us` at once at most.
fn pause(code: &mut Vec<u8>, mut wait_us: u64, sleep_us: u32) {
    while wait_us > 0 {
        let part = wait_us.min(sleep_us.into());
        wait_us -= part;
        code.push(0x41);
        signed(code, part as i64);
        code.extend([0x10, 0]);
    }
}

fn import(module: &str, name: &str, ty: u8) -> Vec<u8> {
    let mut import = text(module);
    import.extend(text(name));
    import.extend([0, ty]);
    import
}

fn section(module: &mut Vec<u8>, id: u8, items: &[Vec<u8>]) {
    if items.is_empty() {
        return;
    }
    let mut content = Vec::new();
    number(&mut content, items.len() as u64);
    content.extend(items.iter().flatten());
    module.push(id);
    number(module, content.len() as u64);
    module.extend(content);
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    number(&mut bytes, text.len() as u64);
    bytes.extend(text.as_bytes());
    bytes
}

/// A number in its shortest LEB128 form.
fn number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// A signed number in its shortest LEB128 form.
fn signed(out: &mut Vec<u8>, mut number: i64) {
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if matches!((number, low & 0x40), (0, 0) | (-1, 0x40)) {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn pack(
    name: &str,
    module: &[u8],
    capabilities: Capabilities,
    cost: u64,
    callees: &[&str],
) -> anyhow::Result<Vec<u8>> {
    let full = |name: &str| TaskletName::new(&format!("{NAMESPACE}/{name}"));
    let signature: Signature = SIGNATURE.parse().context("the signature of all tasklets")?;
    let mut terms = Terms::empty();
    terms.capabilities = capabilities;
    terms.cost = cost;
    let mut space = [0; 64];
    let terms = terms.with_exports(&[Export::run(signature)], &mut space);
    let terms = terms.context("one export fits")?;
    let imports = callees.iter().map(|callee| {
        Ok(NamedImport {
            name: full(callee)?,
            export: "run",
            signature,
        })
    });
    let imports: anyhow::Result<Vec<_>> = imports.collect();
    let imports = imports?;
    let fields = PackageFields {
        name: full(name)?,
        terms,
        imports: &imports,
        module,
    };
    let mut bytes = vec![0; PACKAGE_BYTES + module.len()];
    let len = fields.encode(&mut bytes).context("it is too long")?;
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use nimblenet_tasklet::{Package, SLEEP_US_MAX};

    use super::*;

    fn module(waits: Vec<u64>, wanted: usize) -> (Vec<u8>, Room) {
        let mut room = Room::default();
        let module = Module {
            calls: waits.len() - 1,
            waits,
            sleep_us: SLEEP_US_MAX,
        };
        let (bytes, _) = module.of_length(wanted, &mut room);
        wasmparser::validate(&bytes).unwrap();
        (bytes, room)
    }

    #[test]
    fn a_module_has_exactly_the_length_of_the_trace_wherever_that_is_possible() {
        for calls in 0..=12 {
            let waits = || vec![1_234; calls + 1];
            for wanted in (190..500).chain(8_000..8_040).chain([16_500, 60_000]) {
                let (bytes, room) = module(waits(), wanted);
                let fits = room.longer == 0;
                assert_eq!(bytes.len() == wanted, fits, "{calls} calls in {wanted} B");
                assert!(fits || calls > 11, "{calls} calls in {wanted} B: {room:?}");
            }
        }
    }

    #[test]
    fn a_chain_without_room_for_its_waits_waits_once_or_never_and_at_last_is_longer() {
        let waits = vec![100_000; 8];
        let rooms = [200, 150, 110, 100].map(|wanted| module(waits.clone(), wanted).1);
        let kinds = rooms.map(|room| (room.wait_once, room.wait_never, room.longer_bytes));
        assert_eq!(kinds, [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 1, 6)]);
    }

    #[test]
    fn a_wait_of_more_than_a_minute_is_made_of_several() {
        let (bytes, room) = module(vec![150_000_000], 100);
        assert_eq!((bytes.len(), room.longer), (100, 0));
        let sleeps = bytes.windows(2).filter(|it| *it == [0x10, 0]).count();
        assert_eq!(sleeps, 3);
    }

    #[test]
    fn packages_have_the_calls_of_the_trace_and_want_the_clock() {
        let trace = nimblenet_sim::scenario::Scenario::default().trace(1);
        let needs = Needs {
            sleep_us: SLEEP_US_MAX,
            fuel_us: 3,
        };
        let load = Load::of(&trace.taskset, needs).unwrap();
        assert_eq!(load.packages.len(), 250);
        assert_eq!(load.waits.len(), 200);
        for (chain, bytes) in trace.taskset.chains.iter().zip(&load.packages) {
            let package = Package::decode(bytes).unwrap();
            assert_eq!(package.name.name.as_str(), chain_name(chain.id));
            // Seven calls and nothing else take 106 bytes.
            let shortest = if chain.calls.len() == 7 { 106 } else { 0 };
            let length = shortest.max(chain.size_bytes as usize);
            assert_eq!(package.module.len(), length, "{chain:?}");
            let callees = package.imports().map(|import| import.name.name);
            let wanted = chain.calls.iter().map(|id| algorithm_name(*id));
            assert!(callees.map(|name| name.as_str().to_owned()).eq(wanted));
        }
        let inlined = Load::of(&trace.taskset.inlined(), needs).unwrap();
        assert_eq!(inlined.room.longer + inlined.room.wait_once, 0);
        assert_eq!(inlined.packages.len(), 200);
    }
}
