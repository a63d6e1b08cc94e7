//! A shop floor of one machine: runs packed tasklets on the interpreter, answers their calls by
//! running the callees, and answers calls of native tasklets from fixed lists.

use alloc::collections::BTreeMap;
use core::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};

use minicbor::{Decoder, Encoder};
use nimblenet_tasklet::abi::{lift_args, lift_result, lower_args, lower_result};
use nimblenet_tasklet::{Executor, FlatType, Package, Signature};
use nimblenet_wasm::{Instance, LoadOptions, Step, Value, aligned};

/// The folder of the packed outputs.
pub(crate) fn packed_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tasklets/packed")
}

/// Tasklets by name, and the readings of the sensors.
#[derive(Clone)]
pub(crate) struct Floor {
    pub(crate) packages: BTreeMap<String, Vec<u8>>,
    vibration: Vec<i16>,
    torque: Vec<f32>,
    weld: [Vec<i32>; 2],
    paint: Vec<f32>,
    temperatures: Vec<i32>,
    /// How many of them were read.
    taken: Cell<usize>,
    lamp: RefCell<Vec<u32>>,
    pins: RefCell<Vec<(u32, u32)>>,
}

impl Floor {
    pub(crate) fn new() -> Self {
        let files = fs::read_dir(packed_directory()).unwrap();
        let packages = files.map(|entry| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let name = Package::decode(&bytes).unwrap().name.to_string();
            (name, bytes)
        });
        Self {
            packages: packages.collect(),
            vibration: vec![0; 128],
            torque: vec![0.0; 96],
            weld: [vec![0; 64], vec![0; 64]],
            paint: vec![0.0; 64],
            temperatures: Vec::new(),
            taken: Cell::new(0),
            lamp: RefCell::new(Vec::new()),
            pins: RefCell::new(Vec::new()),
        }
    }

    pub(crate) fn with_vibration(self, vibration: Vec<i16>) -> Self {
        Self { vibration, ..self }
    }

    pub(crate) fn with_torque(&self, torque: Vec<f32>) -> Self {
        Self {
            torque,
            lamp: RefCell::default(),
            ..self.clone()
        }
    }

    pub(crate) fn with_weld(self, current: Vec<i32>, voltage: Vec<i32>) -> Self {
        Self {
            weld: [current, voltage],
            ..self
        }
    }

    pub(crate) fn with_paint(self, paint: Vec<f32>) -> Self {
        Self { paint, ..self }
    }

    pub(crate) fn with_temperatures(self, temperatures: Vec<i32>) -> Self {
        Self {
            temperatures,
            ..self
        }
    }

    /// The pins that were driven, and to which level.
    pub(crate) fn pins(&self) -> Vec<(u32, u32)> {
        self.pins.borrow().clone()
    }

    /// The states that the lamp has shown.
    pub(crate) fn lamp(&self) -> Vec<u32> {
        self.lamp.borrow().clone()
    }

    pub(crate) fn package(&self, name: &str) -> Package<'_> {
        let file = self
            .packages
            .get(name)
            .unwrap_or_else(|| panic!("no {name}"));
        Package::decode(file).unwrap()
    }

    /// Runs a tasklet to its result.
    pub(crate) fn call(&self, name: &str, args: Values) -> Outcome {
        Outcome(self.activate(name, &args.finish()).0)
    }

    /// The fuel that a tasklet uses itself, without that of its callees.
    pub(crate) fn own_fuel(&self, name: &str, args: Values) -> u64 {
        self.activate(name, &args.finish()).1
    }

    fn activate(&self, name: &str, args: &[u8]) -> (Vec<u8>, u64) {
        let package = self.package(name);
        if package.terms.executor == Executor::Native {
            return (self.native(name, args), package.terms.cost);
        }
        let (code, terms) = (package.module, package.terms);
        let signature = terms.export("").unwrap().signature;
        let mut space = vec![0; 256 << 10];
        let options = LoadOptions::default();
        let mut instance = Instance::load(aligned(&mut space), code, &options).unwrap();
        assert_eq!(
            instance.memory().len(),
            terms.memory_bytes as usize,
            "{name}"
        );
        instance.set_fuel(terms.fuel);
        let lowered = lower_args(&signature, args, terms.area, instance.memory_mut());
        let lowered = lowered.unwrap_or_else(|error| panic!("{name}: {error}"));
        instance
            .invoke("run", &values(&lowered, signature.flat_params()))
            .unwrap();
        loop {
            match instance.run() {
                Step::Done => break,
                Step::Call(call) => self.serve(&package, usize::from(call.import), &mut instance),
                step @ (Step::OutOfFuel | Step::Trapped(_)) => panic!("{name}: {step:?}"),
            }
        }
        let mut results = vec![Value::I32(0); signature.flat_results().count()];
        instance.results(&mut results);
        let results: Vec<_> = results.iter().map(bits).collect();
        let mut out = vec![0; 16 << 10];
        let memory = instance.memory();
        let len = lift_result(&signature, &lowered, &results, memory, &mut out).unwrap();
        out.truncate(len);
        (out, terms.fuel - instance.fuel())
    }

    fn serve(&self, caller: &Package<'_>, number: usize, instance: &mut Instance<'_>) {
        let import = caller.imports().nth(number).unwrap();
        let signature: Signature = import.signature;
        let mut flat = vec![Value::I32(0); signature.flat_params().count()];
        instance.call_args(&mut flat);
        let flat: Vec<_> = flat.iter().map(bits).collect();
        let mut args = vec![0; 16 << 10];
        let len = lift_args(&signature, &flat, instance.memory(), &mut args).unwrap();
        let (results, _) = self.activate(&import.name.to_string(), &args[..len]);
        let lowered = lower_result(&signature, &flat, &results, instance.memory_mut());
        let lowered = lowered.unwrap_or_else(|error| panic!("{}: {error}", import.name));
        instance
            .resume(&values(&lowered, signature.flat_results()))
            .unwrap();
    }

    fn native(&self, name: &str, args: &[u8]) -> Vec<u8> {
        let mut decoder = Decoder::new(args);
        decoder.array().unwrap();
        let mut number = || decoder.u32().unwrap();
        match name {
            "shop/vibration" => {
                let count = number() as usize;
                Values::new().shorts(&self.vibration[..count]).finish()
            }
            "shop/torque-sensor" => {
                let count = (number() as usize).min(self.torque.len());
                Values::new().floats(&self.torque[..count]).finish()
            }
            "shop/weld-sensor" => {
                let (channel, count) = (number() as usize, number() as usize);
                Values::new().ints(&self.weld[channel][..count]).finish()
            }
            "shop/paint-sensor" => {
                let count = number() as usize;
                Values::new().floats(&self.paint[..count]).finish()
            }
            "shop/signal-lamp" => {
                self.lamp.borrow_mut().push(number());
                Values::new().finish()
            }
            "shop/board-temperature" => {
                let at = self.taken.replace(self.taken.get() + 1);
                Values::new().int(self.temperatures[at]).finish()
            }
            "shop/board-gpio" => {
                self.pins.borrow_mut().push((number(), number()));
                Values::new().finish()
            }
            _ => panic!("no native {name}"),
        }
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

fn bits(value: &Value) -> u64 {
    match *value {
        Value::I32(value) => u64::from(value as u32),
        Value::I64(value) => value as u64,
        Value::F32(bits) => u64::from(bits),
        Value::F64(bits) => bits,
        Value::FuncRef(_) | Value::ExternRef(_) => panic!("a reference"),
    }
}

type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

/// Values on their way to a tasklet.
pub(crate) struct Values {
    body: Encoder<Vec<u8>>,
    count: u64,
}

impl Values {
    pub(crate) fn new() -> Self {
        let body = Encoder::new(Vec::new());
        Self { body, count: 0 }
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.with(|body| body.u32(value).map(|_| ()))
    }

    pub(crate) fn int(self, value: i32) -> Self {
        self.with(|body| body.i32(value).map(|_| ()))
    }

    pub(crate) fn f32(self, value: f32) -> Self {
        self.with(|body| body.f32(value).map(|_| ()))
    }

    pub(crate) fn floats(self, values: &[f32]) -> Self {
        self.with(|body| {
            body.array(values.len() as u64)?;
            values
                .iter()
                .try_for_each(|value| body.f32(*value).map(|_| ()))
        })
    }

    pub(crate) fn shorts(self, values: &[i16]) -> Self {
        self.ints(&values.iter().copied().map(i32::from).collect::<Vec<_>>())
    }

    pub(crate) fn ints(self, values: &[i32]) -> Self {
        self.with(|body| {
            body.array(values.len() as u64)?;
            values
                .iter()
                .try_for_each(|value| body.i32(*value).map(|_| ()))
        })
    }

    fn with(mut self, write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written) -> Self {
        write(&mut self.body).unwrap();
        self.count += 1;
        self
    }

    fn finish(self) -> Vec<u8> {
        let mut all = Encoder::new(Vec::new());
        all.array(self.count).unwrap();
        let mut all = all.into_writer();
        all.extend(self.body.into_writer());
        all
    }
}

/// A tasklet's results.
pub(crate) struct Outcome(Vec<u8>);

impl Outcome {
    pub(crate) fn float(&self) -> f32 {
        self.open().f32().unwrap()
    }

    pub(crate) fn uint(&self) -> u32 {
        self.open().u32().unwrap()
    }

    pub(crate) fn int(&self) -> i32 {
        self.open().i32().unwrap()
    }

    pub(crate) fn floats_out(&self) -> Vec<f32> {
        let mut decoder = self.open();
        let values = decoder.array_iter::<f32>().unwrap();
        values.map(Result::unwrap).collect()
    }

    pub(crate) fn ints_out(&self) -> Vec<i32> {
        let mut decoder = self.open();
        let values = decoder.array_iter::<i32>().unwrap();
        values.map(Result::unwrap).collect()
    }

    fn open(&self) -> Decoder<'_> {
        let mut decoder = Decoder::new(&self.0);
        assert_eq!(decoder.array().unwrap(), Some(1));
        decoder
    }
}
