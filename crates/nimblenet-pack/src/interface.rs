//! What a tasklet offers and calls: signatures matched with WebAssembly types.

use nimblenet_tasklet::{Capabilities, Capability, FlatType, Signature, TaskletName, Type};
use wasmparser::{FuncType, ValType};

use super::manifest::tasklet_name;
use super::survey::{ImportedFunction, Survey};
use super::{Manifest, PackError, capability_names, types};

const CAPABILITY_PREFIX: &str = "nimblenet:";
const DEFAULT_EXPORT: &str = "run";
const MAX_EXPORTS: usize = 8;
pub(super) const MAX_IMPORTS: usize = 16;

/// A call to another tasklet.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) name: TaskletName,
    pub(super) export: String,
    pub(super) signature: Signature,
}

/// Exports, imports and capabilities of a tasklet.
#[derive(Debug)]
pub(super) struct Interface {
    /// In the module's order.
    pub(super) exports: Vec<(String, Signature)>,
    /// In the order in which the module imports them; nodes count on it.
    pub(super) imports: Vec<Import>,
    pub(super) capabilities: Capabilities,
    /// What the author should know.
    pub(super) notes: Vec<String>,
}

impl Interface {
    /// Matches the module's functions with the manifest's signatures.
    ///
    /// # Errors
    /// [`PackError`] names the first that does not match.
    pub(super) fn derive(survey: &Survey<'_>, manifest: &Manifest) -> Result<Self, PackError> {
        let mut notes = Vec::new();
        check_constructor(survey, manifest, &mut notes)?;
        let exports = exports(survey, manifest, &mut notes)?;
        let imports = imports(survey, manifest, &mut notes)?;
        let used = used_capabilities(survey)?;
        let capabilities = manifest.capabilities.unwrap_or(used);
        if capabilities != used {
            return Err(PackError::Capabilities {
                used: capability_names(used),
                listed: capability_names(capabilities),
            });
        }
        Ok(Self {
            exports,
            imports,
            capabilities,
            notes,
        })
    }

    /// Takes the interface of a native tasklet from its manifest.
    ///
    /// # Errors
    /// [`PackError`] if there are no exports, or things that a native tasklet does not have.
    pub(super) fn of_native(manifest: &Manifest) -> Result<Self, PackError> {
        if !manifest.imports.is_empty() || manifest.example.is_some() {
            return Err(PackError::ImportsOfNative);
        }
        if manifest.exports.is_empty() {
            return Err(PackError::NativeWithoutExports);
        }
        let exports = manifest.exports.iter();
        Ok(Self {
            exports: exports.map(|(name, of)| (name.clone(), *of)).collect(),
            imports: Vec::new(),
            capabilities: manifest.capabilities.unwrap_or(Capabilities::NONE),
            notes: Vec::new(),
        })
    }

    /// The functions that run first: exported ones, the start function, the constructor.
    pub(super) fn roots(&self, survey: &Survey<'_>) -> Vec<u32> {
        let exports = survey.exported_functions();
        let exports = exports.filter(|(name, ..)| self.exports_function(name));
        let constructor = survey.constructor().map(|(_, index)| index);
        exports
            .map(|(_, index, _)| index)
            .chain(survey.start)
            .chain(constructor)
            .collect()
    }

    /// Whether `name` is exported under the interface.
    pub(super) fn exports_function(&self, name: &str) -> bool {
        self.exports.iter().any(|(own, _)| own == name)
    }

    /// Whether a list comes in or goes out through an export, so that an area is needed.
    pub(super) fn exports_lists(&self) -> bool {
        self.exports
            .iter()
            .any(|(_, signature)| has_list(signature))
    }

    /// Whether the host copies lists for calls that the tasklet makes.
    pub(super) fn imports_lists(&self) -> bool {
        self.imports
            .iter()
            .any(|import| has_list(&import.signature))
    }
}

/// Checks that what sets up the module's state can be its start function.
fn check_constructor(
    survey: &Survey<'_>,
    manifest: &Manifest,
    notes: &mut Vec<String>,
) -> Result<(), PackError> {
    let Some((name, index)) = survey.constructor() else {
        return Ok(());
    };
    if manifest.exports.contains_key(name) {
        return Err(PackError::ConstructorExported(name.to_owned()));
    }
    let ty = survey.function_type(index);
    if !ty.params().is_empty() || !ty.results().is_empty() {
        return Err(PackError::ConstructorType {
            name: name.to_owned(),
            found: arrow(ty.params(), ty.results()),
        });
    }
    notes.push(format!("`{name}` runs before the first call"));
    Ok(())
}

fn has_list(signature: &Signature) -> bool {
    signature
        .params()
        .chain(signature.results())
        .any(|ty| ty.element().is_some())
}

fn exports(
    survey: &Survey<'_>,
    manifest: &Manifest,
    notes: &mut Vec<String>,
) -> Result<Vec<(String, Signature)>, PackError> {
    for wanted in manifest.exports.keys() {
        if !survey.exported_functions().any(|(name, ..)| name == wanted) {
            return Err(PackError::NotExported(wanted.clone()));
        }
    }
    let mut exports = Vec::new();
    for (name, index, ty) in survey.exported_functions() {
        let signature = if manifest.exports.is_empty() {
            let derived = derived(name, ty)?;
            notes.push(format!("signature of `{name}` derived: {derived}"));
            let lists = survey
                .flow(index)
                .and_then(|flow| types::with_lists(ty, flow));
            if let Some(lists) = lists {
                notes.push(format!(
                    "`{name}` takes parameters for addresses: if these are lists, say so in the \
                     manifest: exports = {{ {name} = \"{lists}\" }}"
                ));
            }
            derived
        } else if let Some(signature) = manifest.exports.get(name) {
            check(name, signature, ty)?;
            *signature
        } else {
            continue;
        };
        exports.push((name.to_owned(), signature));
    }
    match exports.len() {
        0 => Err(PackError::NothingExported),
        1..=MAX_EXPORTS => Ok(exports),
        _ => Err(PackError::TooManyExports),
    }
}

fn imports(
    survey: &Survey<'_>,
    manifest: &Manifest,
    notes: &mut Vec<String>,
) -> Result<Vec<Import>, PackError> {
    let mut imports = Vec::new();
    let mut missing: Vec<_> = manifest.imports.keys().map(String::as_str).collect();
    for function in &survey.imports {
        if function.module.starts_with(CAPABILITY_PREFIX) {
            continue;
        }
        if !function.module.contains('/') {
            return Err(foreign(function));
        }
        let name = tasklet_name(function.module)?;
        let full = format!("{}/{}", function.module, function.field);
        let short = (function.field == DEFAULT_EXPORT).then_some(function.module);
        let written = [Some(full.as_str()), short]
            .into_iter()
            .flatten()
            .find_map(|key| manifest.imports.get_key_value(key));
        let signature = if let Some((key, signature)) = written {
            missing.retain(|missing| missing != key);
            check(key, signature, &function.ty)?;
            *signature
        } else {
            let derived = derived(&full, &function.ty)?;
            notes.push(format!("signature of import `{full}` derived: {derived}"));
            derived
        };
        imports.push(Import {
            name,
            export: function.field.to_owned(),
            signature,
        });
    }
    if let Some(key) = missing.first() {
        return Err(PackError::NotImported((*key).to_owned()));
    }
    if imports.len() > MAX_IMPORTS {
        return Err(PackError::TooManyImports);
    }
    Ok(imports)
}

fn used_capabilities(survey: &Survey<'_>) -> Result<Capabilities, PackError> {
    let mut used = Capabilities::NONE;
    for function in &survey.imports {
        if let Some(name) = function.module.strip_prefix(CAPABILITY_PREFIX) {
            let capability = Capability::from_name(name);
            let capability =
                capability.ok_or_else(|| PackError::UnknownCapability(name.to_owned()))?;
            check_capability(capability, function)?;
            used = used.with(capability);
        }
    }
    Ok(used)
}

/// Checks that `capability` has the imported function, with its types.
fn check_capability(
    capability: Capability,
    function: &ImportedFunction<'_>,
) -> Result<(), PackError> {
    let mut functions = capability.functions().iter();
    let known = functions.find(|known| known.name == function.field);
    let known = known.ok_or_else(|| foreign(function))?;
    let params: Vec<_> = known.params.iter().copied().map(flat).collect();
    let results: Vec<_> = known.result.into_iter().map(flat).collect();
    if params == function.ty.params() && results == function.ty.results() {
        return Ok(());
    }
    Err(PackError::Mismatch {
        of: format!("{}.{}", function.module, function.field),
        signature: "in the table of capabilities".to_owned(),
        expected: arrow(&params, &results),
        found: arrow(function.ty.params(), function.ty.results()),
    })
}

fn foreign(function: &ImportedFunction<'_>) -> PackError {
    PackError::ForeignImport {
        module: function.module.to_owned(),
        field: function.field.to_owned(),
    }
}

/// The signature of scalars that a function of WebAssembly type `ty` has.
fn derived(of: &str, ty: &FuncType) -> Result<Signature, PackError> {
    let types = |values: &[ValType]| -> Option<Vec<Type>> {
        let scalars = values.iter().map(|value| types::scalar(*value));
        scalars.map(|scalar| scalar.map(Type::Scalar)).collect()
    };
    let (Some(params), Some(results)) = (types(ty.params()), types(ty.results())) else {
        return Err(PackError::Types(types::refused_flat(of, ty)));
    };
    Signature::new(&params, &results).map_err(|why| PackError::Signature {
        of: of.to_owned(),
        why,
    })
}

/// Checks that a function of WebAssembly type `ty` can have `signature`.
fn check(of: &str, signature: &Signature, ty: &FuncType) -> Result<(), PackError> {
    let params: Vec<_> = signature.flat_params().map(flat).collect();
    let results: Vec<_> = signature.flat_results().map(flat).collect();
    if params == ty.params() && results == ty.results() {
        return Ok(());
    }
    Err(PackError::Mismatch {
        of: of.to_owned(),
        signature: signature.to_string(),
        expected: arrow(&params, &results),
        found: arrow(ty.params(), ty.results()),
    })
}

fn flat(ty: FlatType) -> ValType {
    match ty {
        FlatType::I32 => ValType::I32,
        FlatType::I64 => ValType::I64,
        FlatType::F32 => ValType::F32,
        FlatType::F64 => ValType::F64,
    }
}

/// `(i32, i32) -> (f32)`.
fn arrow(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| {
        let names: Vec<_> = types.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    format!("({}) -> ({})", list(params), list(results))
}
