//! `nimblenet check`: what a node would say about a module or package.

use std::path::PathBuf;

use nimblenet_pack::{Needs, check};
use nimblenet_tasklet::{Capability, FlatType, Package, TaskletName};
use serde_json::{Value as Json, json};

use crate::failure::{Coded, REFUSED};
use crate::local::{Function, Shape, file};
use crate::output;

/// Checks a module or package: validates it, says what it needs at worst, and why a node would
/// refuse it.
///
/// Exits with 1 if it would be refused, or has no room in a node's arena. What a run needs is
/// counted with linear memory grown to its ceiling, as `pack`, `run` and `inspect` do. A module without
/// a package that grows a memory without a maximum needs at least what it starts with.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet check rms.nnp\n  \
    nimblenet check rms.wasm --board --json")]
pub(crate) struct Args {
    /// Package, or WebAssembly module (binary or text).
    #[arg(value_name = "MODULE|PACKAGE")]
    file: PathBuf,
    /// Check against the limits and the arena of a board.
    #[arg(long)]
    board: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the file cannot be read, or a node would refuse it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let content = file::read(&args.file)?;
    let findings = Findings::of(content.module(), content.package().as_ref(), args.board);
    let refusal = (!findings.problems.is_empty()).then(|| {
        let problems = findings.problems.join("; ");
        Coded::new(REFUSED, format!("{} would be refused: {problems}", args.file.display()))
    });
    if args.json {
        let mut document = findings.to_json();
        if let Some(refusal) = &refusal {
            document["error"] = refusal.to_json();
        }
        output::json(&document)?;
    } else {
        output::text(&findings.to_text())?;
    }
    refusal.map_or(Ok(()), |refusal| Err(refusal.told().into()))
}

/// What was found out.
#[derive(Default)]
struct Findings {
    name: Option<TaskletName>,
    native: bool,
    module_bytes: usize,
    board: bool,
    needs: Option<Needs>,
    /// Bytes of linear memory at the start.
    memory_bytes: u64,
    ceiling_bytes: u64,
    imports: Vec<(String, String, String)>,
    exports: Vec<(String, String)>,
    problems: Vec<String>,
}

impl Findings {
    fn of(module: &[u8], package: Option<&Package<'_>>, board: bool) -> Self {
        let mut this = Self {
            name: package.map(|package| package.name),
            native: module.is_empty(),
            module_bytes: module.len(),
            board,
            ..Self::default()
        };
        if this.native {
            let exports = package.into_iter().flat_map(|it| it.terms.exports());
            let exports = exports.map(|it| (it.name.to_owned(), it.signature.to_string()));
            this.exports = exports.collect();
            return this;
        }
        if let Err(error) = check(module) {
            this.problems.push(error.to_string());
            return this;
        }
        let shape = Shape::of(module);
        let needs = match package {
            Some(package) => Needs::of(module, package.terms.memory_bytes),
            None => Needs::of_module(module, 0),
        };
        this.ceiling_bytes = needs.memory_bytes;
        if let Ok(shape) = &shape {
            this.memory(shape, package);
        }
        let refused = needs.problem(board).map(str::to_owned);
        let is_valid = needs.linux_bytes.is_some();
        this.problems.extend(refused);
        this.needs = Some(needs);
        match shape {
            Ok(shape) => {
                this.imports(&shape, package);
                this.exports(&shape, package);
            }
            // An invalid module has been reported already.
            Err(error) if is_valid => this.problems.push(format!("{error:#}")),
            Err(_) => {}
        }
        this
    }

    fn memory(&mut self, shape: &Shape, package: Option<&Package<'_>>) {
        let Some(memory) = &shape.memory else {
            return;
        };
        self.memory_bytes = memory.min_bytes;
        if let Some(package) = package {
            let ceiling = u64::from(package.terms.memory_bytes);
            if memory.min_bytes > ceiling {
                self.problems.push(format!(
                    "it starts with {} bytes of linear memory, above its ceiling of {ceiling}",
                    memory.min_bytes
                ));
            }
        }
    }

    fn imports(&mut self, shape: &Shape, package: Option<&Package<'_>>) {
        let mut promised = package.into_iter().flat_map(Package::imports);
        for (module, function) in &shape.imports {
            let name = function.name.clone();
            let problem = match Capability::from_module(module) {
                Some(capability) => capability_problem(capability, function, package),
                None if TaskletName::new(module).is_err() => Some(
                    "which is neither a capability (nimblenet:NAME) nor a tasklet \
                     (NAMESPACE/NAME)"
                        .to_owned(),
                ),
                None => None,
            };
            let mut signature = function.to_string();
            if let (true, Ok(callee)) = (package.is_some(), TaskletName::new(module)) {
                match promised
                    .next()
                    .filter(|it| it.name == callee && it.export == name)
                {
                    Some(promised) if function.has(&promised.signature) => {
                        signature = promised.signature.to_string();
                    }
                    Some(promised) => self.problems.push(format!(
                        "it imports {name} of {callee} as {function}, its package says {}",
                        promised.signature
                    )),
                    None => self.problems.push(format!(
                        "it imports {name} of {callee}, its package does not say so"
                    )),
                }
            }
            if self.name.is_some_and(|own| TaskletName::new(module).is_ok_and(|it| it == own)) {
                self.problems.push(format!(
                    "it calls itself ({name} of {module}), so its chain has no end; pack it under another \
                     name, or call within the module"
                ));
            }
            if let Some(problem) = problem {
                self.problems
                    .push(format!("it imports {name} from {module}, {problem}"));
            }
            self.imports.push((module.clone(), name, signature));
        }
    }

    fn exports(&mut self, shape: &Shape, package: Option<&Package<'_>>) {
        let Some(package) = package else {
            for function in &shape.exports {
                let signature = function.signature();
                let signature =
                    signature.map_or_else(|_| function.to_string(), |it| it.to_string());
                self.exports.push((function.name.clone(), signature));
            }
            if shape.exports.is_empty() {
                self.problems
                    .push("it exports no function to call".to_owned());
            }
            return;
        };
        for export in package.terms.exports() {
            let (name, signature) = (export.name.to_owned(), export.signature);
            match shape.export(&name) {
                Some(function) if function.has(&signature) => {}
                Some(function) => self.problems.push(format!(
                    "its package says that {name} is {signature}, but it is {function}"
                )),
                None => self.problems.push(format!("it does not export {name}")),
            }
            self.exports.push((name, signature.to_string()));
        }
    }

    /// Bytes of an arena that one run needs at worst.
    fn worst_case_bytes(&self) -> Option<u64> {
        let needs = self.needs.as_ref()?;
        match self.board {
            true => needs.board_bytes,
            false => needs.linux_bytes,
        }
    }

    fn to_json(&self) -> Json {
        let imports = self.imports.iter().map(|(module, name, signature)| {
            json!({"module": module, "name": name, "signature": signature})
        });
        let exports = self
            .exports
            .iter()
            .map(|(name, signature)| json!({"name": name, "signature": signature}));
        json!({
            "ok": self.problems.is_empty(),
            "name": self.name.map(|name| name.to_string()),
            "executor": if self.native { "native" } else { "wasm" },
            "module_bytes": self.module_bytes,
            "worst_case_bytes": self.worst_case_bytes(),
            "interpreter_bytes": self.worst_case_bytes().map(|all| all.saturating_sub(self.ceiling_bytes)),
            "memory_bytes": self.worst_case_bytes().map(|_| self.memory_bytes),
            "needs": self.needs,
            "memory_ceiling_bytes": self.ceiling_bytes,
            "imports": imports.collect::<Json>(),
            "exports": exports.collect::<Json>(),
            "problems": self.problems,
        })
    }

    fn to_text(&self) -> String {
        let mut page = String::new();
        let mut row = |label, text: String| output::row(&mut page, label, &text);
        if let Some(name) = self.name {
            row("tasklet", name.to_string());
        }
        match self.native {
            true => row("executor", "native: a function of the device".to_owned()),
            false => row("module", format!("{} bytes", self.module_bytes)),
        }
        if let Some(needs) = self.needs.as_ref().filter(|needs| needs.linux_bytes.is_some()) {
            row(
                "memory",
                match needs.at_least {
                    true => format!("{} bytes at the start, and it grows", self.memory_bytes),
                    false => {
                        format!("{} bytes, {} at the start", self.ceiling_bytes, self.memory_bytes)
                    }
                },
            );
            row("run", needs.to_string());
        }
        for (module, name, signature) in &self.imports {
            row("import", format!("{module} {name}: {signature}"));
        }
        for (name, signature) in &self.exports {
            row("export", format!("{name}: {signature}"));
        }
        if self.problems.is_empty() {
            page.push_str("accepted\n");
        }
        page
    }
}

/// Why a node would refuse a capability's function.
fn capability_problem(
    capability: Capability,
    function: &Function,
    package: Option<&Package<'_>>,
) -> Option<String> {
    let functions = capability.functions().iter();
    let Some(known) = functions.clone().find(|it| it.name == function.name) else {
        let names: Vec<_> = functions.map(|it| it.name).collect();
        return Some(format!("which has only {}", names.join(", ")));
    };
    let results: Vec<FlatType> = known.result.into_iter().collect();
    if function.params != known.params || function.results != results {
        return Some("with other types than the device's function".to_owned());
    }
    let wanted = package.map(|package| package.terms.capabilities);
    if wanted.is_some_and(|wanted| !wanted.has(capability)) {
        return Some("but its package does not want that capability".to_owned());
    }
    None
}
