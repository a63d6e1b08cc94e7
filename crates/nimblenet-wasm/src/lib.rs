//! A WebAssembly interpreter that works in a block of bytes, and suspends, freezes and thaws runs.
//!
//! It is made for microcontrollers that run small programs for others. It allocates nothing, and
//! keeps an instance as a whole in one block that its caller supplies. The block holds offsets and
//! no pointers, so that it may be moved ([`Blocks`]). A call of an import is not a callback but the
//! return of [`Instance::run`]: the instance is then suspended. It can be copied, or frozen into an
//! image of little more than its live state, and continued elsewhere, even on a machine with
//! another word size.
//!
//! ```text
//!            bytes of a module                      image
//!                   |                                 ^  |
//!                 load                         freeze |  | thaw
//!                   v                                 |  v
//!   block: [ tables | translated code | value stack | linear memory ... ]
//!                   |                                        ^
//!                invoke, run  ->  Step::Call(import)  ->  resume, run  ->  Step::Done
//! ```
//!
//! # What it runs
//!
//! WebAssembly 1.0 with sign extension, saturating conversions, bulk memory, multiple values,
//! mutable globals, reference types, extended constant expressions, and custom page sizes, with
//! which a memory may be of any number of bytes. A module brings its own memory, tables and
//! globals: only functions are imported. Other features are refused by name
//! ([`Fault::UnsupportedFeature`]).
//!
//! Runs are deterministic to the bit: a NaN that arithmetic computes is the canonical NaN on every
//! machine.
//!
//! # Fuel
//!
//! Whether code is metered is chosen when it is loaded. Metered code pays when a function or an
//! iteration of a loop begins: one unit for each WebAssembly instruction directly in it, whether or
//! not a branch skips the instruction, without inner loops, which pay for themselves; and 15 more
//! for each call of an import or through a table. It pays for bulk instructions after they were
//! executed, in proportion to their length. An import that is itself invoked costs nothing. If
//! there is too little fuel, all of it is taken, the run is suspended with no fuel left, and pays
//! what it still owes before it goes on. A run without fuel is suspended like a run at a host call,
//! and can be frozen like it.
//!
//! # Limits
//!
//! Everything that a module may ask for has a limit in [`Limits`], and so has the time of
//! validation. The further work of freezing, thawing and resetting is proportional to the module,
//! its memory and its tables. Besides these, a function's frame is below 32 KiB and its translated
//! code at most 32,767 words; a type has at most 255 parameters and as many results. Calls inside
//! the module take only value stack: the machine's stack does not grow with them.
//!
//! # Example
//!
//! ```
//! use nimblenet_wasm::{Instance, LoadOptions, Step, Value, aligned};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let code = wat::parse_str(
//!     r#"(module
//!       (import "sensor" "read" (func $read (result i32)))
//!       (func (export "run") (param i32) (result i32)
//!         (i32.mul (call $read) (local.get 0))))"#,
//! )?;
//! let options = LoadOptions::default();
//!
//! // Load, and run up to the call of the import.
//! let mut here = vec![0; 200_000];
//! let mut instance = Instance::load(aligned(&mut here), &code, &options)?;
//! instance.set_fuel(1000);
//! instance.invoke("run", &[Value::I32(2)])?;
//! let Step::Call(call) = instance.run() else { panic!("the module calls first") };
//! assert_eq!(call.import, 0);
//!
//! // Take the suspended run elsewhere.
//! let mut image = vec![0; instance.image_len()?];
//! let len = instance.freeze(&mut image)?;
//! let mut there = vec![0; 200_000];
//! let mut instance = Instance::thaw(aligned(&mut there), &code, &image[..len], &options)?;
//!
//! // Answer the call there, and run on.
//! instance.resume(&[Value::I32(21)])?;
//! assert_eq!(instance.run(), Step::Done);
//! let mut results = [Value::I32(0)];
//! instance.results(&mut results);
//! assert_eq!(results, [Value::I32(42)]);
//! # Ok(())
//! # }
//! ```
#![no_std]
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("the layout of blocks is that of little-endian machines");

mod block;
mod blocks;
mod bulk;
mod checksum;
mod constant;
mod exec;
mod fault;
mod init;
mod instance;
mod isa;
mod limits;
mod load;
mod module;
mod position;
mod reader;
mod segment;
mod snapshot;
#[cfg(test)]
mod tests;
mod translate;
mod value;

pub use block::{BLOCK_ALIGN, aligned};
pub use blocks::{Blocks, Part};
pub use fault::{
    Fault, Feature, FreezeError, InvalidModule, InvokeError, LoadError, NotAnInstance, Quantity,
    ResumeError, ThawError, Trap,
};
pub use instance::{HostCall, Instance, Step};
pub use isa::IR_VERSION;
pub use limits::{Limits, LoadOptions};
pub use load::{Facts, validate};
pub use module::{
    DataSegment, Export, ExternKind, FunctionType, Import, MemoryType, Module, Section,
};
pub use position::Position;
pub use value::{ValType, Value};
