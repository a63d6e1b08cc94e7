//! A machine for tests: runs packages on the interpreter, each call as an activation of its own, and
//! answers what is native.

use alloc::collections::BTreeMap;

use nimblenet_tasklet::abi::{lift_args, lift_result, lower_args, lower_result};
use nimblenet_tasklet::{Capability, FlatType, Package};
use nimblenet_wasm::{Instance, Limits, LoadOptions, Module, Step, Trap, Value, aligned};

/// Answers a call of a native tasklet: its name, and its arguments as a CBOR array.
pub(crate) type Native<'f> = &'f dyn Fn(&str, &[u8]) -> Vec<u8>;

/// How a call has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// With these results, and with this memory of the outermost tasklet.
    Done { results: Vec<u8>, memory: Vec<u8> },
    /// With a trap of a tasklet's own code.
    Trapped(Trap),
    /// With values that a node does not carry.
    Refused,
}

/// Packages by name.
pub(crate) struct Floor<'f> {
    packages: BTreeMap<String, Package<'f>>,
    native: Native<'f>,
    /// What native tasklets and the node have heard, in order.
    pub(crate) heard: Vec<(String, Vec<u8>)>,
    limits: Limits,
    space: Vec<Vec<u8>>,
}

impl<'f> Floor<'f> {
    pub(crate) fn new(files: impl IntoIterator<Item = &'f [u8]>, native: Native<'f>) -> Self {
        let packages = files.into_iter().map(|file| {
            let package = Package::decode(file).unwrap();
            (package.name.to_string(), package)
        });
        Self {
            packages: packages
                .filter(|(_, package)| !package.module.is_empty())
                .collect(),
            native,
            heard: Vec::new(),
            limits: Limits::default(),
            space: Vec::new(),
        }
    }

    /// The same machine as a microcontroller.
    pub(crate) fn small(mut self) -> Self {
        self.limits = Limits::small();
        self
    }

    /// Runs export `export` of tasklet `name` on the CBOR array `args`.
    pub(crate) fn call(&mut self, name: &str, export: &str, args: &[u8]) -> End {
        let package = self.packages[name];
        let promised = package.terms.export(export).unwrap();
        let (export, signature, area) = (promised.name, promised.signature, package.terms.area);
        let mut space = self.space.pop().unwrap_or_else(|| vec![0; 2 << 20]);
        let mut options = LoadOptions {
            limits: self.limits,
            ..LoadOptions::default()
        };
        options.limits.memory_bytes = package.terms.memory_bytes;
        let mut instance = Instance::load(aligned(&mut space), package.module, &options).unwrap();
        instance.set_fuel(u64::MAX / 4);
        let end = self.activate(&package, &mut instance, export, args, &signature, area);
        self.space.push(space);
        end.unwrap_or_else(|end| end)
    }

    fn activate(
        &mut self,
        package: &Package<'f>,
        instance: &mut Instance<'_>,
        export: &str,
        args: &[u8],
        signature: &nimblenet_tasklet::Signature,
        area: nimblenet_tasklet::Area,
    ) -> Result<End, End> {
        if instance.has_start() {
            instance.invoke_start().unwrap();
            self.run(package, instance)?;
        }
        let lowered = lower_args(signature, args, area, instance.memory_mut());
        let lowered = lowered.map_err(|_| End::Refused)?;
        let flat = values(&lowered, signature.flat_params());
        instance.invoke(export, &flat).unwrap();
        self.run(package, instance)?;
        let mut results = vec![Value::I32(0); signature.flat_results().count()];
        instance.results(&mut results);
        let results: Vec<_> = results.into_iter().map(Value::to_bits).collect();
        let mut out = vec![0; 8 << 10];
        let memory = instance.memory();
        let len = lift_result(signature, &lowered, &results, memory, &mut out);
        out.truncate(len.map_err(|_| End::Refused)?);
        Ok(End::Done {
            results: out,
            memory: memory.to_vec(),
        })
    }

    fn run(&mut self, package: &Package<'f>, instance: &mut Instance<'_>) -> Result<(), End> {
        loop {
            match instance.run() {
                Step::Done => return Ok(()),
                Step::Trapped(trap) => return Err(End::Trapped(trap)),
                Step::Call(call) => self.serve(package, usize::from(call.import), instance)?,
                Step::OutOfFuel => panic!("{} does not end", package.name),
            }
        }
    }

    fn serve(
        &mut self,
        caller: &Package<'f>,
        number: usize,
        instance: &mut Instance<'_>,
    ) -> Result<(), End> {
        let module = Module::parse(caller.module).unwrap();
        let imports: Vec<_> = module.imports().collect();
        let capability = Capability::from_module(imports[number].module);
        if capability.is_some() {
            return self.log(instance);
        }
        let before = imports[..number].iter();
        let tasklet = before.filter(|it| Capability::from_module(it.module).is_none());
        let import = caller.imports().nth(tasklet.count()).unwrap();
        let signature = import.signature;
        let mut flat = vec![Value::I32(0); signature.flat_params().count()];
        instance.call_args(&mut flat);
        let flat: Vec<_> = flat.into_iter().map(Value::to_bits).collect();
        let mut args = vec![0; 8 << 10];
        let len = lift_args(&signature, &flat, instance.memory(), &mut args);
        args.truncate(len.map_err(|_| End::Refused)?);
        let name = import.name.to_string();
        let results = if self.packages.contains_key(&name) {
            match self.call(&name, import.export, &args) {
                End::Done { results, .. } => results,
                end @ (End::Trapped(_) | End::Refused) => return Err(end),
            }
        } else {
            let results = (self.native)(&name, &args);
            self.heard.push((name, args));
            results
        };
        let lowered = lower_result(&signature, &flat, &results, instance.memory_mut());
        let lowered = lowered.map_err(|_| End::Refused)?;
        let values = values(&lowered, signature.flat_results());
        instance.resume(&values).unwrap();
        Ok(())
    }

    /// Hears a line of the log.
    fn log(&mut self, instance: &mut Instance<'_>) -> Result<(), End> {
        let mut flat = [Value::I32(0); 2];
        instance.call_args(&mut flat);
        let [from, len] = flat.map(|it| it.to_bits() as usize);
        let line = instance.memory().get(from..from + len);
        let line = line.ok_or(End::Refused)?.to_vec();
        self.heard.push(("log".to_owned(), line));
        instance.resume(&[]).unwrap();
        Ok(())
    }
}

fn values(flat: &[u64], types: impl Iterator<Item = FlatType>) -> Vec<Value> {
    let values = flat.iter().zip(types).map(|(bits, ty)| match ty {
        FlatType::I32 => Value::I32(*bits as i32),
        FlatType::I64 => Value::I64(*bits as i64),
        FlatType::F32 => Value::F32(*bits as u32),
        FlatType::F64 => Value::F64(*bits),
    });
    values.collect()
}
