//! The cost of a typical activation, by running the manifest's example on the interpreter.

use nimblenet_tasklet::abi::{Flat, lift_result, lower_args};
use nimblenet_tasklet::{Export, FlatType, Package};
use nimblenet_wasm::{Instance, LoadOptions, Step, Value, aligned};

use super::{Manifest, PackError};
use crate::values::{self, Item};

/// Room for the translated code and the stack, besides the linear memory.
const BLOCK_BYTES: usize = 1 << 20;
/// What the example's results may take as CBOR.
const RESULT_BYTES_MAX: usize = 1 << 20;

/// The fuel that the manifest gives or its example uses, 0 if not known; and why it is not known,
/// if the author should hear of it.
///
/// # Errors
/// [`PackError::Example`] if the example cannot be run to its end.
pub(super) fn cost(file: &[u8], manifest: &Manifest) -> Result<(u64, Option<String>), PackError> {
    let Some(example) = &manifest.example else {
        return Ok((manifest.cost.unwrap_or(0), None));
    };
    let package = Package::decode(file).map_err(PackError::Encoding)?;
    if package.imports().next().is_some() || package.terms.capabilities.iter().next().is_some() {
        let note = "the example is not run, for the tasklet calls others or the node; give `cost`";
        return Ok((0, Some(note.to_owned())));
    }
    let export = package.terms.export("");
    let export = export.ok_or_else(|| PackError::Example("there is no export `run`".to_owned()))?;
    let args = read_args(example).map_err(PackError::Example)?;
    let used = run(&package, &export, &args).map_err(PackError::Example)?;
    Ok((used, None))
}

/// The CBOR array that an array of values in text stands for.
fn read_args(example: &str) -> Result<Vec<u8>, String> {
    match example.parse() {
        Ok(Item::List(items)) => Ok(values::encode(&items)),
        Ok(_) => Err("the arguments are one array, `[...]`".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs `export` to its end and returns the fuel it used.
fn run(package: &Package<'_>, export: &Export<'_>, args: &[u8]) -> Result<u64, String> {
    let (code, terms, signature) = (package.module, package.terms, &export.signature);
    let mut space = vec![0; BLOCK_BYTES + 64 * code.len() + terms.memory_bytes as usize];
    let loaded = Instance::load(aligned(&mut space), code, &LoadOptions::default());
    let mut instance = loaded.map_err(|error| error.to_string())?;
    instance.set_fuel(terms.fuel);
    if instance.has_start() {
        instance.invoke_start().map_err(|error| error.to_string())?;
        finish(&mut instance)?;
    }
    let lowered = lower_args(signature, args, terms.area, instance.memory_mut());
    let lowered = lowered.map_err(|error| error.to_string())?;
    let invoked = instance.invoke(export.name, &values(&lowered, signature.flat_params()));
    invoked.map_err(|error| error.to_string())?;
    finish(&mut instance)?;
    let mut results = vec![Value::I32(0); signature.flat_results().count()];
    instance.results(&mut results);
    let results: Vec<_> = results.iter().map(bits).collect();
    let mut out = vec![0; RESULT_BYTES_MAX];
    lift_result(signature, &lowered, &results, instance.memory(), &mut out)
        .map_err(|error| error.to_string())?;
    Ok(terms.fuel - instance.fuel())
}

fn finish(instance: &mut Instance<'_>) -> Result<(), String> {
    match instance.run() {
        Step::Done => Ok(()),
        Step::OutOfFuel => Err("it needs more than `fuel`".to_owned()),
        Step::Trapped(trap) => Err(format!("it ends in a trap: {trap}")),
        Step::Call(_) => Err("it calls an import".to_owned()),
    }
}

fn values(flat: &Flat, types: impl Iterator<Item = FlatType>) -> Vec<Value> {
    flat.iter()
        .zip(types)
        .map(|(bits, ty)| match ty {
            FlatType::I32 => Value::I32(*bits as i32),
            FlatType::I64 => Value::I64(*bits as i64),
            FlatType::F32 => Value::F32(*bits as u32),
            FlatType::F64 => Value::F64(*bits),
        })
        .collect()
}

fn bits(value: &Value) -> u64 {
    match *value {
        Value::I32(value) => u64::from(value as u32),
        Value::I64(value) => value as u64,
        Value::F32(bits) => u64::from(bits),
        Value::F64(bits) => bits,
        // No signature has references.
        Value::FuncRef(_) | Value::ExternRef(_) => 0,
    }
}
