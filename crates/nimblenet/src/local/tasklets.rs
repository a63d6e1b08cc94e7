//! The tasklets of a local job: files, resolved against each other, with catalogue entries.

use std::collections::BTreeMap;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nimblenet_node::Device;
use nimblenet_pack::{Names, Needs};
use nimblenet_tasklet::{
    Capabilities, Capability, Digest, Entry, EntryFields, Executor, Export, FlatType, Import,
    NamespaceId, Scalar, Signature, TaskletName, Terms, Type,
};

use super::file::{self, Content};
use super::image::JobImage;
use super::readings::Readings;
use super::shape::{Function, Shape};
use crate::inlet;

/// The most bytes that linear memory may grow to where neither the module nor the command line
/// has a limit.
const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;
/// The most bytes of linear memory that are reserved for a module's own maximum.
const OWN_MEMORY_BYTES_MAX: u64 = 1 << 30;
/// The room for an encoded entry.
const ENTRY_BYTES_MAX: usize = 8 << 10;

/// Functions of native tasklets, by name and export, and their stand-ins.
pub(crate) type Natives = BTreeMap<(TaskletName, String), (Signature, StandIn)>;

/// The stand-in for a native tasklet.
#[derive(Clone, Debug)]
pub(crate) enum StandIn {
    /// Answers from a file.
    Readings(Readings),
    /// A simulated device, as a node has it.
    Device(Device),
}

/// A tasklet that is ready to run.
#[derive(Debug)]
pub(crate) struct Tasklet {
    /// Its name.
    pub(crate) name: TaskletName,
    /// Its module.
    pub(crate) code: Vec<u8>,
    /// Its encoded catalogue entry.
    entry: Vec<u8>,
    /// The targets of its imports: the position of a tasklet, and the export.
    pub(crate) callees: Vec<(usize, String)>,
    /// The capabilities it is granted.
    pub(crate) granted: Capabilities,
    /// Whether its signatures were derived from WebAssembly types.
    pub(crate) derived: bool,
    /// Its stand-in, if it is a native tasklet.
    stand_in: Option<StandIn>,
    /// The names of the parameters of each export, as far as its package has them.
    pub(crate) param_names: BTreeMap<String, Vec<String>>,
    /// The names of its functions.
    pub(crate) names: Names,
}

impl Tasklet {
    /// Its catalogue entry.
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry::decode(&self.entry).expect("entries are made here")
    }

    /// The signature of its export `name`.
    pub(crate) fn signature(&self, name: &str) -> Option<Signature> {
        self.entry()
            .terms
            .export(name)
            .map(|export| export.signature)
    }

    /// What a run of it needs on a node.
    pub(crate) fn needs(&self) -> Needs {
        match self.derived {
            true => Needs::of_module(&self.code, 0),
            false => Needs::of(&self.code, self.memory_bytes()),
        }
    }

    /// What a run of it needs that has taken `taken_bytes` of an arena, alone: of a module without a
    /// package that has grown a memory without a maximum, the size that this had.
    pub(crate) fn needs_after(&self, taken_bytes: usize) -> Needs {
        let needs = self.needs();
        let taken = u64::try_from(taken_bytes).unwrap_or(u64::MAX);
        let grown = taken.saturating_sub(needs.linux_bytes.unwrap_or(taken));
        if !needs.at_least || grown == 0 {
            return needs;
        }
        let reached = u32::try_from(needs.memory_bytes + grown).unwrap_or(u32::MAX);
        Needs::of_module(&self.code, reached)
    }

    /// Ceiling on its linear memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> u32 {
        self.entry().terms.memory_bytes
    }
}

/// What the command line says about tasklets.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    /// The file of the tasklet to run.
    pub(crate) root: &'r Path,
    /// The export to call.
    pub(crate) export: Option<&'r str>,
    /// The files of other tasklets.
    pub(crate) with: &'r [With],
    /// The command line's limit on linear memory.
    pub(crate) memory_bytes: Option<u64>,
    /// The job to continue. Its tasklets keep their memory ceilings.
    pub(crate) frozen: Option<&'r JobImage>,
    /// Whether simulated devices stand in for native tasklets that no file is given for.
    pub(crate) devices: bool,
}

impl Request<'_> {
    /// The memory ceiling of a tasklet at position `at` in the frozen job.
    fn frozen_ceiling(&self, at: usize, name: TaskletName) -> Option<u32> {
        let saved = &self.frozen?.activations;
        let saved = match at {
            0 => saved.first(),
            _ => saved.iter().find(|saved| saved.name == name),
        };
        saved.map(|saved| saved.memory_bytes)
    }
}

/// `--with NS/NAME=FILE`. What a file that ends in `.csv` holds are the answers of a native
/// tasklet, line by line.
#[derive(Clone, Debug)]
pub(crate) struct With {
    /// The tasklet.
    pub(crate) name: TaskletName,
    /// Its file.
    pub(crate) file: PathBuf,
}

impl std::str::FromStr for With {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = text
            .split_once('=')
            .ok_or("the form is NAMESPACE/NAME=FILE")?;
        let name = TaskletName::new(name).map_err(|error| format!("{name:?}: {error}"))?;
        Ok(Self {
            name,
            file: file.into(),
        })
    }
}

/// The tasklets of a job; the first is the one to run.
#[derive(Debug)]
pub(crate) struct Tasklets {
    tasklets: Vec<Tasklet>,
    /// The export of the first to call.
    pub(crate) export: String,
}

impl std::ops::Deref for Tasklets {
    type Target = [Tasklet];

    fn deref(&self) -> &[Tasklet] {
        &self.tasklets
    }
}

impl Tasklets {
    /// Reads all files and resolves imports.
    ///
    /// # Errors
    /// If a file is not valid, or an import has no file.
    pub(crate) fn load(request: &Request<'_>) -> anyhow::Result<Self> {
        let mut sources = vec![Source::read(request.root, None)?];
        for with in request.with {
            if sources[1..].iter().any(|source| source.name == with.name) {
                bail!("--with names {} twice", with.name);
            }
            sources.push(Source::read(&with.file, Some(with.name))?);
        }
        if request.devices {
            add_devices(&mut sources)?;
        }
        let export = sources[0].chosen_export(request.export)?;
        sources[0].wanted.entry(export.clone()).or_insert(None);
        let callees = resolve(&mut sources)?;
        let mut tasklets = Vec::new();
        for (at, (source, callees)) in sources.iter().zip(callees).enumerate() {
            let memory_bytes = match request.frozen_ceiling(at, source.name) {
                Some(ceiling) => ceiling,
                None => source.memory_bytes(request.memory_bytes)?,
            };
            tasklets.push(source.tasklet(callees, memory_bytes)?);
        }
        Ok(Self { tasklets, export })
    }

    /// The stand-ins for functions of native tasklets.
    pub(crate) fn natives(&self) -> Natives {
        let mut natives = Natives::new();
        for tasklet in &self.tasklets {
            for export in tasklet.entry().terms.exports() {
                if let Some(stand_in) = &tasklet.stand_in {
                    let function = (tasklet.name, export.name.to_owned());
                    natives.insert(function, (export.signature, stand_in.clone()));
                }
            }
        }
        natives
    }

    /// The position of the tasklet called `name`.
    pub(crate) fn position(&self, name: TaskletName) -> Option<usize> {
        self.tasklets
            .iter()
            .position(|tasklet| tasklet.name == name)
    }
}

/// A call to another tasklet: by position, export and signature.
struct Callee {
    tasklet: usize,
    export: String,
    signature: Signature,
}

/// A file that was read.
struct Source {
    name: TaskletName,
    path: PathBuf,
    content: Content,
    shape: Shape,
    /// Its stand-in, if it is a native tasklet; readings have every export that is called.
    stand_in: Option<StandIn>,
    /// The exports that someone calls, with the signature they are called with, if it is known. A
    /// package contains all of this itself.
    wanted: BTreeMap<String, Option<Signature>>,
}

impl Source {
    fn read(path: &Path, name: Option<TaskletName>) -> anyhow::Result<Self> {
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|it| it == "csv")) {
            let readings = StandIn::Readings(Readings::read(path)?);
            return Ok(Self::native(name, path, readings));
        }
        let content = file::read(path)?;
        let context = || format!("reading {}", path.display());
        let own = content.package().map(|package| package.name);
        if let Some(own) = own.filter(|_| content.module().is_empty()) {
            let device = Device::of(&own).with_context(|| {
                format!(
                    "{} is a native tasklet: only a node whose device has it can run it; a \
                     stand-in is --with NAMESPACE/NAME=FILE.csv, with its answers line by line",
                    path.display()
                )
            })?;
            return Ok(Self::device(name.unwrap_or(own), path, device));
        }
        let content = match content {
            Content::Module(bytes) => Content::Module(runnable(&bytes).with_context(context)?),
            package @ Content::Package(_) => package,
        };
        let shape = Shape::of(content.module()).with_context(context)?;
        Ok(Self {
            name: name.or(own).unwrap_or_else(|| file::local_name(path)),
            path: path.to_owned(),
            content,
            shape,
            stand_in: None,
            wanted: BTreeMap::new(),
        })
    }

    fn device(name: TaskletName, path: &Path, device: Device) -> Self {
        let mut source = Self::native(name, path, StandIn::Device(device));
        let run = ("run".to_owned(), Some(device.signature()));
        source.wanted.extend([run]);
        source
    }

    fn native(name: TaskletName, path: &Path, stand_in: StandIn) -> Self {
        Self {
            name,
            path: path.to_owned(),
            content: Content::Module(Vec::new()),
            shape: Shape::default(),
            stand_in: Some(stand_in),
            wanted: BTreeMap::new(),
        }
    }

    /// The export to call: the one asked for, else `run`, else the only one.
    fn chosen_export(&self, asked: Option<&str>) -> anyhow::Result<String> {
        let names = self.export_names();
        let path = self.path.display();
        let chosen = match asked {
            Some(asked) => names.iter().find(|name| *name == asked),
            None => names
                .iter()
                .find(|name| *name == "run")
                .or(if names.len() == 1 {
                    names.first()
                } else {
                    None
                }),
        };
        if let Some(chosen) = chosen {
            return Ok(chosen.clone());
        }
        let there = match names.as_slice() {
            [] => "it exports no function".to_owned(),
            names => format!("it exports {}", names.join(", ")),
        };
        match asked {
            Some(asked) => bail!("{path} exports no function {asked:?}; {there}"),
            None => bail!(
                "{path} has no function `run` to call by default; {there}: choose one with --invoke"
            ),
        }
    }

    fn export_names(&self) -> Vec<String> {
        match self.content.package() {
            Some(package) => package
                .terms
                .exports()
                .map(|it| it.name.to_owned())
                .collect(),
            None if self.stand_in.is_some() => self.wanted.keys().cloned().collect(),
            None => self
                .shape
                .exports
                .iter()
                .map(|it| it.name.clone())
                .collect(),
        }
    }

    /// The signature of an export, as far as it is known.
    fn signature(&self, export: &str) -> anyhow::Result<Option<Signature>> {
        let path = self.path.display();
        if let Some(package) = self.content.package() {
            let promised = package.terms.export(export);
            let promised =
                promised.with_context(|| format!("{path} exports no function {export:?}"))?;
            return Ok(Some(promised.signature));
        }
        ensure!(
            self.has_any_export() || self.export_names().iter().any(|name| name == export),
            "{path} exports no function {export:?}; it exports {}",
            self.export_names().join(", ")
        );
        Ok(self.wanted.get(export).copied().flatten())
    }

    fn has_any_export(&self) -> bool {
        matches!(self.stand_in, Some(StandIn::Readings(_)))
    }

    fn tasklet(&self, callees: Vec<Callee>, memory_bytes: u32) -> anyhow::Result<Tasklet> {
        let context = || format!("in {}", self.path.display());
        let mut exports = Vec::new();
        let package = self.content.package();
        match &package {
            Some(package) => exports.extend(package.terms.exports()),
            None => {
                for (name, signature) in &self.wanted {
                    let function = self.shape.export(name);
                    let signature = match (signature, function) {
                        (Some(signature), _) => *signature,
                        (None, Some(function)) => function.signature().with_context(context)?,
                        (None, None) => bail!("{} is called by nobody", self.name),
                    };
                    if let Some(StandIn::Readings(readings)) = &self.stand_in {
                        readings.check_results(&signature).with_context(context)?;
                    }
                    exports.push(Export { name, signature });
                }
            }
        }
        let (wanted, area) = match &package {
            Some(package) => (package.terms.capabilities, package.terms.area),
            None => (Capabilities::ALL, Terms::empty().area),
        };
        let mut terms = Terms::empty();
        (terms.memory_bytes, terms.capabilities, terms.area) = (memory_bytes, wanted, area);
        if self.stand_in.is_some() {
            terms.executor = Executor::Native;
        }
        let mut space = [0; ENTRY_BYTES_MAX];
        let terms = terms.with_exports(&exports, &mut space);
        let terms = terms.with_context(|| {
            format!(
                "{} has more exports in use than the 8 of a tasklet",
                self.path.display()
            )
        })?;
        let entry = self.entry(terms, &callees)?;
        Ok(Tasklet {
            name: self.name,
            code: self.content.module().to_vec(),
            entry,
            callees: callees
                .into_iter()
                .map(|it| (it.tasklet, it.export))
                .collect(),
            granted: wanted,
            derived: package.is_none(),
            stand_in: self.stand_in.clone(),
            param_names: self
                .export_names()
                .into_iter()
                .map(|name| (name.clone(), self.content.param_names(&name)))
                .collect(),
            names: self.names(),
        })
    }

    /// The names of its functions: those in the module, or those in the file beside its package, if
    /// that file is for the same module.
    fn names(&self) -> Names {
        let module = self.content.module();
        let own = Names::of(self.name, module, module);
        if self.content.package().is_none() {
            return own;
        }
        let beside = inlet::text(&Names::beside(&self.path), inlet::FILE_BYTES).ok();
        let beside = beside.and_then(|text| Names::parse(&text));
        beside.filter(|it| it.digest == own.digest).unwrap_or(own)
    }

    fn entry(&self, terms: Terms<'_>, callees: &[Callee]) -> anyhow::Result<Vec<u8>> {
        let imports: Vec<Import<'_>> = callees
            .iter()
            .map(|callee| Import {
                namespace: NamespaceId::of(&self.name.namespace),
                number: callee.tasklet as u16,
                export: &callee.export,
                signature: callee.signature,
            })
            .collect();
        let fields = EntryFields {
            number: 0,
            name: self.name.name,
            sequence: 1,
            digest: Digest::of(self.content.module()),
            size: self.content.module().len() as u32,
            compression: None,
            terms,
            imports: &imports,
        };
        let mut bytes = vec![0; 2 * ENTRY_BYTES_MAX];
        let len = fields.encode(&mut bytes);
        let len = len.with_context(|| {
            format!(
                "{} imports more than 16 tasklet functions",
                self.path.display()
            )
        })?;
        bytes.truncate(len);
        Entry::decode(&bytes)
            .with_context(|| format!("{} cannot run with these limits", self.path.display()))?;
        Ok(bytes)
    }

    /// The ceiling on linear memory: the lowest of what the command line, the package and the
    /// module allow.
    fn memory_bytes(&self, limit: Option<u64>) -> anyhow::Result<u32> {
        let Some(memory) = &self.shape.memory else {
            return Ok(0);
        };
        let declared = match self.content.package() {
            Some(package) => Some(u64::from(package.terms.memory_bytes)),
            None => memory.max_bytes,
        };
        let ceiling = match (limit, declared) {
            (Some(limit), Some(declared)) => limit.min(declared),
            (Some(limit), None) => limit,
            (None, Some(declared)) => declared.min(OWN_MEMORY_BYTES_MAX.max(memory.min_bytes)),
            (None, None) => DEFAULT_MEMORY_BYTES.max(memory.min_bytes),
        };
        ensure!(
            memory.min_bytes <= ceiling,
            "{} needs {} bytes of linear memory and may have {ceiling}; raise --memory-limit",
            self.path.display(),
            memory.min_bytes
        );
        Ok(u32::try_from(ceiling).unwrap_or(u32::MAX))
    }
}

/// The module as it would run in a package: the function that sets up its state is its start
/// function.
fn runnable(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    nimblenet_pack::check(module)?;
    Ok(nimblenet_pack::with_constructor(module)?.into_owned())
}

/// Adds the simulated devices that are called and for which no file is given.
fn add_devices(sources: &mut Vec<Source>) -> anyhow::Result<()> {
    for at in 0..sources.len() {
        for (name, ..) in calls(&sources[at])? {
            let device = Device::of(&name);
            let device = device.filter(|_| sources.iter().all(|source| source.name != name));
            sources.extend(
                device.map(|device| Source::device(name, name.to_string().as_ref(), device)),
            );
        }
    }
    Ok(())
}

/// Finds the callee of each import of each source, and the signatures of exports that modules
/// without a package do not say.
fn resolve(sources: &mut [Source]) -> anyhow::Result<Vec<Vec<Callee>>> {
    // Packages come first: their imports have signatures, and not only types.
    let (mut callees, mut order): (Vec<_>, Vec<_>) = (Vec::new(), (0..sources.len()).collect());
    callees.resize_with(sources.len(), Vec::new);
    order.sort_by_key(|at| sources[*at].content.package().is_none());
    for at in order {
        for (name, function, promised) in calls(&sources[at])? {
            let caller = sources[at].path.display().to_string();
            let tasklet = sources.iter().position(|source| source.name == name);
            let tasklet = tasklet.with_context(|| {
                format!("{caller} calls {name}, which is not given; add --with {name}=FILE")
            })?;
            let export = &function.name;
            let settled = sources[tasklet].signature(export);
            let settled = settled.with_context(|| format!("{caller} calls {name}"))?;
            let signature = match promised.or(settled) {
                Some(signature) => signature,
                None => function
                    .signature()
                    .with_context(|| format!("in {caller}"))?,
            };
            let types = sources[tasklet].shape.export(export);
            let fits = function.has(&signature)
                && types.is_none_or(|types| types.has(&signature))
                && settled.is_none_or(|settled| settled == signature);
            ensure!(
                fits,
                "{caller} calls {export:?} of {name} as {}, but it is {}",
                promised.map_or_else(|| function.to_string(), |it| it.to_string()),
                settled.map_or_else(
                    || types.map_or_else(String::new, ToString::to_string),
                    |it| it.to_string()
                ),
            );
            let stand_in = sources[tasklet].stand_in.is_some();
            let wanted = sources[tasklet]
                .wanted
                .entry(export.clone())
                .or_insert(None);
            // A stand-in has no types of its own.
            *wanted = wanted.or(promised).or(stand_in.then_some(signature));
            callees[at].push(Callee {
                tasklet,
                export: function.name,
                signature,
            });
        }
    }
    Ok(callees)
}

/// The tasklet functions that a source imports, in the module's order, with the signatures that
/// its package promises.
fn calls(source: &Source) -> anyhow::Result<Vec<(TaskletName, Function, Option<Signature>)>> {
    let path = source.path.display();
    let package = source.content.package();
    let mut promised = package.iter().flat_map(|package| package.imports());
    let mut calls = Vec::new();
    for (module, function) in &source.shape.imports {
        if Capability::from_module(module).is_some() {
            continue;
        }
        let Ok(name) = TaskletName::new(module) else {
            bail!(
                "{path} imports {:?} from {module:?}, which is neither a capability \
                 (nimblenet:NAME) nor a tasklet (NAMESPACE/NAME)",
                function.name
            );
        };
        let signature = if package.is_some() {
            let promised = promised
                .next()
                .filter(|it| it.name == name && it.export == function.name);
            let promised = promised.with_context(|| {
                format!("{path} imports {name}, but the package does not say so; pack it again")
            })?;
            Some(promised.signature)
        } else {
            None
        };
        calls.push((name, function.clone(), signature));
    }
    Ok(calls)
}

impl Function {
    /// The signature that is derived from the types: integers are signed.
    pub(crate) fn signature(&self) -> anyhow::Result<Signature> {
        let types = |flat: &[FlatType]| -> Vec<Type> {
            let scalar = |ty: &FlatType| match ty {
                FlatType::I32 => Scalar::S32,
                FlatType::I64 => Scalar::S64,
                FlatType::F32 => Scalar::F32,
                FlatType::F64 => Scalar::F64,
            };
            flat.iter().map(|ty| Type::Scalar(scalar(ty))).collect()
        };
        let signature = Signature::new(&types(&self.params), &types(&self.results));
        signature.with_context(|| format!("the function {:?} cannot be called", self.name))
    }

    pub(crate) fn has(&self, signature: &Signature) -> bool {
        signature.flat_params().eq(self.params.iter().copied())
            && signature.flat_results().eq(self.results.iter().copied())
    }
}
