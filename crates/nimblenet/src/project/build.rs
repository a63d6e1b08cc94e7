//! Builds a package from sources: compiler, linker, optimiser, packer.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, bail};
use nimblenet_pack::{Manifest, PackError, Packed, pack};

use super::programs::WASM_OPT;
use super::{Language, Programs, Project, compile};
use crate::local::file::write_package;

/// The features of WebAssembly beyond its first version that tasklets may use: nodes run them, and
/// they make code shorter.
pub(super) const OPTIMISER_FLAGS: [&str; 6] = [
    "-Oz",
    // Keeps names, which the packer puts into a file of their own.
    "-g",
    "--converge",
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
];

/// One build of a project.
#[derive(Debug)]
pub(crate) struct Build<'b> {
    /// The project that is built.
    pub(crate) project: &'b Project,
    /// The places of compilers.
    pub(crate) programs: &'b Programs,
    /// The folder for all outputs.
    pub(crate) target: &'b Path,
    /// The path of the package, if it is not in that folder.
    pub(crate) output: Option<&'b Path>,
    /// Whether each command is shown on standard error.
    pub(crate) verbose: bool,
}

/// The stack to link with where the manifest names none, until the packer has said what is needed:
/// its bytes keep data away from address 0.
const LEAST_STACK_BYTES: u32 = 16;

/// What the packer takes.
struct Compiled {
    module: Vec<u8>,
    /// What the author should know.
    note: Option<String>,
}

/// The result of a build.
#[derive(Debug)]
pub(crate) struct Built {
    /// The package and its derived properties.
    pub(crate) packed: Packed,
    /// The package's file.
    pub(crate) file: PathBuf,
}

impl Build<'_> {
    /// Compiles and packs; the package is `NAMESPACE-NAME.nnp` in the target folder unless
    /// [`output`](Self::output) says otherwise.
    ///
    /// # Errors
    /// If a program is missing or fails, or the module cannot be packed.
    pub(crate) fn package(&self) -> anyhow::Result<Built> {
        fs::create_dir_all(self.target)
            .with_context(|| format!("making the folder {}", self.target.display()))?;
        let packed = self.link_and_pack()?;
        let file = match self.output {
            Some(file) => file.to_owned(),
            None => self.place("nnp"),
        };
        write_package(&file, &packed)?;
        Ok(Built { packed, file })
    }

    /// Compiles and packs, linked with the stack that the manifest says. Where it says none, that is
    /// the least, and if the packer finds that more is needed, it is linked again with that.
    fn link_and_pack(&self) -> anyhow::Result<Packed> {
        let given = self.project.manifest.stack_bytes.filter(|bytes| *bytes > 0);
        let mut stack = given.unwrap_or(LEAST_STACK_BYTES);
        loop {
            let Compiled { module, note } = self.compile(stack)?;
            let links = self.project.source.as_ref();
            let links = links.is_some_and(|source| source.language.has_stack());
            let manifest = Manifest {
                linked_stack_bytes: links.then_some(stack),
                ..self.project.manifest.clone()
            };
            match pack(&module, &manifest) {
                Err(PackError::StackTooSmall { needed, .. })
                    if given.is_none() && needed > stack =>
                {
                    stack = needed.next_multiple_of(LEAST_STACK_BYTES);
                }
                packed => {
                    let name = self.project.name();
                    let mut packed = packed.with_context(|| format!("packing {name}"))?;
                    packed.report.notes.extend(note);
                    return Ok(packed);
                }
            }
        }
    }

    /// Compiles, links with so many bytes of stack, and optimises.
    fn compile(&self, stack_bytes: u32) -> anyhow::Result<Compiled> {
        let mut note = None;
        let module = match &self.project.source {
            None => Vec::new(),
            Some(source) => {
                let compiled = compile::module(self, source, stack_bytes)?;
                let path = match source.language == Language::Text {
                    true => compiled,
                    false => self.optimise(compiled, &mut note)?,
                };
                fs::read(&path).with_context(|| format!("reading {}", path.display()))?
            }
        };
        Ok(Compiled { module, note })
    }

    /// The module as the optimiser leaves it. Without an optimiser the module stays as it is, with
    /// a note.
    fn optimise(&self, module: PathBuf, note: &mut Option<String>) -> anyhow::Result<PathBuf> {
        let Some(program) = self.programs.newest(WASM_OPT.name) else {
            *note = Some(WASM_OPT.missing().to_string());
            return Ok(module);
        };
        let optimised = self.place("opt.wasm");
        let mut command = Command::new(program);
        command.args(OPTIMISER_FLAGS).arg(&module);
        self.run(command.arg("-o").arg(&optimised))?;
        Ok(optimised)
    }

    /// A file of the target folder, named after the tasklet.
    pub(super) fn place(&self, ending: impl AsRef<OsStr>) -> PathBuf {
        let name = self.project.name();
        let mut file = format!("{}-{}.", name.namespace, name.name);
        file.push_str(&ending.as_ref().to_string_lossy());
        self.target.join(file)
    }

    /// Runs a command to its end. Its output goes to standard error.
    ///
    /// # Errors
    /// If it cannot be started or reports a failure.
    pub(super) fn run(&self, command: &mut Command) -> anyhow::Result<()> {
        self.show(command);
        let started = command.stdin(Stdio::null()).stdout(io::stderr()).status();
        let status = started.with_context(|| format!("starting {}", name(command)))?;
        succeeded(command, status)
    }

    /// Runs a command to its end, and returns its standard output.
    ///
    /// # Errors
    /// If it cannot be started or reports a failure.
    pub(super) fn read(&self, command: &mut Command) -> anyhow::Result<String> {
        self.show(command);
        let started = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output();
        let output = started.with_context(|| format!("starting {}", name(command)))?;
        succeeded(command, output.status)?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs a command to its end; its output goes to standard error, and `hint` may add to the
    /// error.
    ///
    /// # Errors
    /// If it cannot be started or reports a failure.
    pub(super) fn run_with_hint(
        &self,
        command: &mut Command,
        hint: impl FnOnce(&str) -> Option<&'static str>,
    ) -> anyhow::Result<()> {
        self.show(command);
        let started = command.stdin(Stdio::null()).output();
        let output = started.with_context(|| format!("starting {}", name(command)))?;
        let mut said = output.stdout;
        said.extend(output.stderr);
        // Standard error may be closed.
        let _ = io::stderr().write_all(&said);
        let ended = succeeded(command, output.status);
        ended.map_err(|error| match hint(&String::from_utf8_lossy(&said)) {
            Some(hint) => error.context(hint),
            None => error,
        })
    }

    fn show(&self, command: &Command) {
        if self.verbose {
            let words = [command.get_program()].into_iter();
            let words = words.chain(command.get_args()).map(OsStr::to_string_lossy);
            eprintln!("{}", words.collect::<Vec<_>>().join(" "));
        }
    }
}

fn succeeded(command: &Command, status: ExitStatus) -> anyhow::Result<()> {
    if !status.success() {
        bail!("{} failed and has said why above", name(command));
    }
    Ok(())
}

/// A program's name without its folder.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    name.to_string_lossy().into_owned()
}
