//! Types that no tasklet's function has, and what to write instead.

use std::fmt::Write as _;

use nimblenet_tasklet::{Scalar, Type};
use wasmparser::{FuncType, ValType};

use super::survey::Flow;

/// What is wrong with the types in a signature's text: a sentence each.
pub(super) fn refused(text: &str) -> Vec<String> {
    let Some((params, results)) = text.split_once('(').and_then(|(_, it)| it.split_once(')'))
    else {
        return Vec::new();
    };
    let results = results.trim().trim_start_matches("->").trim();
    let tuple = inside(results, "tuple");
    let params = parts(params).into_iter().enumerate().map(|(at, part)| {
        let (name, ty) = part.split_once(':').unwrap_or(("", part));
        let place = match name.trim() {
            "" => format!("parameter {}", at + 1),
            name => format!("parameter `{name}`"),
        };
        (place, ty.trim())
    });
    let results = parts(tuple.unwrap_or(results)).into_iter();
    let results = results.map(|ty| ("the result".to_owned(), ty.trim()));
    params
        .chain(results)
        .filter(|(_, ty)| !ty.is_empty() && ty.parse::<Type>().is_err())
        .map(|(place, ty)| format!("{place}: tasklets have no `{ty}`; {}", instead_of(ty)))
        .collect()
}

/// Splits at commas that are not within `<>`.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0u32;
    text.split(|character| {
        match character {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .collect()
}

/// What is inside of `name<...>`.
fn inside<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let rest = text.strip_prefix(name)?.trim_start();
    rest.strip_prefix('<')?.strip_suffix('>').map(str::trim)
}

fn instead_of(ty: &str) -> String {
    if let Some(element) = inside(ty, "list") {
        return if element.starts_with("list") {
            "pass one list, and how long its rows are".to_owned()
        } else if element == "string" {
            "pass one string with separators, or call once for each".to_owned()
        } else {
            format!("its elements are numbers or bool: {}", instead_of(element))
        };
    }
    let named = ty.split('<').next().unwrap_or(ty).trim();
    let advice = match named {
        "i8" => "write s8, or u8 without sign",
        "i16" => "write s16, or u16 without sign",
        "i32" | "int" | "isize" => "write s32, or u32 without sign",
        "i64" | "long" => "write s64, or u64 without sign",
        "uint" | "usize" | "size_t" => "write u32",
        "byte" => "write u8",
        "float" | "float32" => "write f32",
        "double" | "float64" => "write f64",
        "char" => "write u32 for a code point, string for text",
        "str" | "text" => "write string",
        "bytes" => "write list<u8>",
        "option" => "pass a bool besides the value, or a list of none or one",
        "result" => "return a code, or a tuple of a code and the value",
        "tuple" | "record" => "pass its parts one by one",
        "variant" | "enum" | "flags" => "pass a number that stands for it",
        "v128" => "pass a list of numbers",
        "funcref" | "externref" => "pass a number that stands for it",
        _ => {
            "a type is bool, u8, s8, u16, s16, u32, s32, u64, s64, f32, f64, string or list<..> of \
             a number or bool"
        }
    };
    advice.to_owned()
}

/// What is wrong with the WebAssembly types of function `of`: a sentence each.
pub(super) fn refused_flat(of: &str, ty: &FuncType) -> Vec<String> {
    let params = ty.params().iter().enumerate();
    let params = params.map(|(at, ty)| (format!("parameter {} of `{of}`", at + 1), ty));
    let results = ty.results().iter().enumerate();
    let results = results.map(|(at, ty)| (format!("result {} of `{of}`", at + 1), ty));
    params
        .chain(results)
        .filter(|(_, ty)| matches!(ty, ValType::V128 | ValType::Ref(_)))
        .map(|(place, ty)| {
            let name = ty.to_string();
            let advice = instead_of(&name);
            format!("{place} is {name}, which cannot cross to a tasklet; {advice}")
        })
        .collect()
}

/// The signature with lists that a function may have, going by what it does with its parameters;
/// nothing if none is an address.
pub(super) fn with_lists(ty: &FuncType, flow: &Flow) -> Option<String> {
    let params = ty.params();
    let (mut text, mut result) = (Vec::new(), None);
    let mut at = 0;
    while let Some(param) = params.get(at) {
        let pointer = flow.pointers.get(&(at as u32));
        let counted = params.get(at + 1) == Some(&ValType::I32)
            && !flow.pointers.contains_key(&(at as u32 + 1));
        match pointer.filter(|_| counted) {
            Some((element, true)) if at + 2 == params.len() && ty.results() == [ValType::I32] => {
                result = Some(Type::List(*element));
                at += 1;
            }
            Some((element, _)) => {
                text.push(Type::List(*element));
                at += 1;
            }
            None => text.push(Type::Scalar(scalar(*param)?)),
        }
        at += 1;
    }
    let is_list = |ty: &Type| ty.element().is_some();
    if result.is_none() && !text.iter().any(is_list) {
        return None;
    }
    let joined = |types: &[Type]| {
        let types: Vec<_> = types.iter().map(ToString::to_string).collect();
        types.join(", ")
    };
    let mut signature = format!("func({})", joined(&text));
    let results = match result {
        Some(list) => vec![list],
        None => {
            let results = ty.results().iter();
            let scalars: Option<Vec<_>> = results.map(|ty| scalar(*ty)).collect();
            scalars?.into_iter().map(Type::Scalar).collect()
        }
    };
    match &results[..] {
        [] => {}
        [one] => write!(signature, " -> {one}").expect("a string takes everything"),
        several => {
            write!(signature, " -> tuple<{}>", joined(several)).expect("a string takes everything")
        }
    }
    Some(signature)
}

/// The scalar that a WebAssembly type is taken for where nobody says more.
pub(super) fn scalar(value: ValType) -> Option<Scalar> {
    match value {
        ValType::I32 => Some(Scalar::S32),
        ValType::I64 => Some(Scalar::S64),
        ValType::F32 => Some(Scalar::F32),
        ValType::F64 => Some(Scalar::F64),
        ValType::V128 | ValType::Ref(_) => None,
    }
}
