//! The types of a module's functions, and its memory.

use std::fmt;

use anyhow::{Context, bail};
use nimblenet_tasklet::FlatType;
use nimblenet_wasm::{ExternKind, FunctionType, Module, ValType};

/// The imports, exports and memory of a module.
#[derive(Clone, Default, Debug)]
pub(crate) struct Shape {
    /// The functions that it imports, in order, each with the module that it comes from.
    pub(crate) imports: Vec<(String, Function)>,
    /// The functions it exports.
    pub(crate) exports: Vec<Function>,
    /// Its linear memory.
    pub(crate) memory: Option<Memory>,
}

/// A function and its WebAssembly types.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The types of its parameters.
    pub(crate) params: Vec<FlatType>,
    /// The types of its results.
    pub(crate) results: Vec<FlatType>,
}

/// A linear memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Its size at the start, in bytes.
    pub(crate) min_bytes: u64,
    /// The size that it may grow to, in bytes, if the module sets a limit.
    pub(crate) max_bytes: Option<u64>,
    /// Size of a page, in bytes.
    pub(crate) page_bytes: u32,
}

impl Shape {
    /// Reads the shape of a binary module. Exported functions that take or return references are
    /// left out: no call can pass references.
    ///
    /// # Errors
    /// If the module's sections are damaged, or it imports a function with references.
    pub(crate) fn of(code: &[u8]) -> anyhow::Result<Self> {
        let module = Module::parse(code)?;
        let mut imports = Vec::new();
        for import in module.imports() {
            let function = Function::new(import.name, &import.ty);
            let function = function.with_context(|| {
                format!(
                    "the import {:?} {:?} cannot be called",
                    import.module, import.name
                )
            })?;
            imports.push((import.module.to_owned(), function));
        }
        let exports = module
            .exports()
            .filter(|export| export.kind == ExternKind::Function)
            .filter_map(|export| Some((export.name, module.function(export.index)?)))
            .filter_map(|(name, ty)| Function::new(name, &ty).ok());
        let memory = module.memory().map(|memory| {
            let bytes = |pages: u32| u64::from(pages) * u64::from(memory.page_bytes);
            Memory {
                min_bytes: bytes(memory.min),
                max_bytes: memory.max.map(bytes),
                page_bytes: memory.page_bytes,
            }
        });
        Ok(Self {
            imports,
            exports: exports.collect(),
            memory,
        })
    }

    /// The exported function called `name`.
    pub(crate) fn export(&self, name: &str) -> Option<&Function> {
        self.exports.iter().find(|function| function.name == name)
    }
}

impl Function {
    fn new(name: &str, ty: &FunctionType<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            params: ty.params().map(flat).collect::<Result<_, _>>()?,
            results: ty.results().map(flat).collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |ty: &FlatType| match ty {
            FlatType::I32 => "i32",
            FlatType::I64 => "i64",
            FlatType::F32 => "f32",
            FlatType::F64 => "f64",
        };
        let list = |types: &[FlatType]| types.iter().map(name).collect::<Vec<_>>().join(", ");
        write!(f, "({}) -> ({})", list(&self.params), list(&self.results))
    }
}

fn flat(ty: ValType) -> anyhow::Result<FlatType> {
    Ok(match ty {
        ValType::I32 => FlatType::I32,
        ValType::I64 => FlatType::I64,
        ValType::F32 => FlatType::F32,
        ValType::F64 => FlatType::F64,
        ValType::FuncRef | ValType::ExternRef => bail!("references cannot cross"),
    })
}
