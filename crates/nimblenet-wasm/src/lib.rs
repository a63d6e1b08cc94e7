//! A WebAssembly interpreter that lives in a block of bytes, suspends, freezes and thaws.
#![no_std]
#![deny(unsafe_code)]

mod block;
mod bulk;
mod constant;
mod exec;
mod executor;
mod fault;
mod init;
mod instance;
mod isa;
mod limits;
mod load;
mod module;
mod reader;
mod segment;
mod snapshot;
mod translate;
mod value;

pub use block::{BLOCK_ALIGN, aligned};
pub use executor::{
    ACTIVATIONS, CodeSource, Counts, Executor, ExecutorOptions, Freezing, HOST_CALL_FUEL,
};
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
pub use value::{ValType, Value};
