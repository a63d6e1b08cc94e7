//! What of WebAssembly tasklets may use, and how a compiler is told to leave the rest.

use wasmparser::{Validator, WasmFeatures};

use super::PackError;
use super::survey::invalid;

/// What tasklets may use of WebAssembly.
pub(super) fn allowed() -> WasmFeatures {
    WasmFeatures::WASM1
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::CUSTOM_PAGE_SIZES
}

/// A feature that tasklets have not.
struct Refused {
    features: WasmFeatures,
    /// What it is called.
    name: &'static str,
    /// How an author gets a module without it.
    remedy: &'static str,
}

/// Features that a compiler may have used, the ones that others build on last.
const REFUSED: [Refused; 10] = [
    Refused {
        features: WasmFeatures::RELAXED_SIMD,
        name: "relaxed vector instructions (relaxed SIMD)",
        remedy: "compile C with -mno-relaxed-simd, Rust with -Ctarget-feature=-relaxed-simd",
    },
    Refused {
        features: WasmFeatures::SIMD,
        name: "vector instructions (SIMD)",
        remedy: "compile C with -mno-simd128, Rust with -Ctarget-feature=-simd128, AssemblyScript \
                 without --enable simd",
    },
    Refused {
        features: WasmFeatures::THREADS,
        name: "threads (atomic instructions or shared memory)",
        remedy: "compile C without -pthread and -matomics, Rust with -Ctarget-feature=-atomics, \
                 and link without --shared-memory",
    },
    Refused {
        features: WasmFeatures::TAIL_CALL,
        name: "tail calls",
        remedy: "compile C with -mno-tail-call, Rust with -Ctarget-feature=-tail-call",
    },
    Refused {
        features: WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS),
        name: "exceptions",
        remedy: "compile C++ with -fno-exceptions, Rust with panic = \"abort\"",
    },
    Refused {
        features: WasmFeatures::MEMORY64,
        name: "memory with 64-bit addresses (memory64)",
        remedy: "compile for wasm32, not wasm64",
    },
    Refused {
        features: WasmFeatures::MULTI_MEMORY,
        name: "more than one memory",
        remedy: "link into one memory; compile without -mmultimemory",
    },
    Refused {
        features: WasmFeatures::WIDE_ARITHMETIC,
        name: "128-bit arithmetic instructions",
        remedy: "compile C with -mno-wide-arithmetic, Rust with -Ctarget-feature=-wide-arithmetic",
    },
    Refused {
        features: WasmFeatures::STACK_SWITCHING,
        name: "stack switching",
        remedy: "compile without it",
    },
    Refused {
        features: WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES),
        name: "typed references and garbage collection",
        remedy: "compile for linear memory; Kotlin, Dart and the like cannot",
    },
];

/// Checks that `module`, a WebAssembly binary, is valid within what tasklets may use.
///
/// # Errors
/// [`PackError::Component`] and [`PackError::Features`] for what another compiler's option avoids;
/// else [`PackError::Invalid`] with the place in the binary.
pub(super) fn check(module: &[u8]) -> Result<(), PackError> {
    // The preamble of a component has another version and layer (component model, binary format).
    if module.starts_with(b"\0asm") && module.get(6..8) == Some(&[1, 0]) {
        return Err(PackError::Component);
    }
    let Err(error) = validate(module, allowed()) else {
        return Ok(());
    };
    let all = REFUSED
        .iter()
        .fold(allowed(), |all, refused| all | refused.features);
    if validate(module, all).is_err() {
        return Err(invalid(error));
    }
    let used: Vec<_> = REFUSED
        .iter()
        .filter(|refused| validate(module, all.difference(refused.features)).is_err())
        .map(|refused| (refused.name, refused.remedy))
        .collect();
    Err(match used.is_empty() {
        true => invalid(error),
        false => PackError::Features(used),
    })
}

fn validate(module: &[u8], features: WasmFeatures) -> Result<(), wasmparser::Error> {
    let valid = Validator::new_with_features(features).validate_all(module);
    valid.map(drop)
}
