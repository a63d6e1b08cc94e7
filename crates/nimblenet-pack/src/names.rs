//! Names of parameters, for people: a field of the package that nodes skip (spec/package.md).

use minicbor::data::Int;
use minicbor::{Decoder, Encoder};
use nimblenet_tasklet::Signature;

use super::PackError;

/// The key of the field. Readers skip keys from 64 on that they do not know.
const KEY: u8 = 64;
/// Where the map's head stands: after the tag that a package starts with.
const HEAD: usize = 3;

/// The names of the parameters in a signature's text, empty where there is none.
///
/// # Errors
/// [`PackError::ParameterName`] for one that is none.
pub(super) fn of(signature: &str) -> Result<Vec<String>, PackError> {
    let params = signature.split_once('(').map_or("", |(_, rest)| rest);
    let params = params.split_once(')').map_or("", |(params, _)| params);
    let params = params.split(',').filter(|param| !param.trim().is_empty());
    params
        .map(|param| {
            let name = param.rsplit_once(':').map_or("", |(name, _)| name.trim());
            let is_name = name
                .chars()
                .all(|it| it.is_ascii_alphanumeric() || "-_".contains(it));
            match is_name {
                true => Ok(name.to_owned()),
                false => Err(PackError::ParameterName(name.to_owned())),
            }
        })
        .collect()
}

/// Adds the names of the parameters of each export, in the order of the exports, to the package in
/// `file`; nothing where there is none.
pub(super) fn append(file: &mut Vec<u8>, exports: &[Vec<String>]) {
    if exports.iter().flatten().all(String::is_empty) {
        return;
    }
    // The map has less than 23 fields, so its head is one byte with their number.
    file[HEAD] += 1;
    let mut encoder = Encoder::new(file);
    let written = encoder.u8(KEY).and_then(|it| it.encode(exports));
    written.expect("a vector takes everything");
}

/// The names of the parameters of each export of the package in `file`, in the order of its
/// exports, empty where a parameter has none. Nothing if it has no names, or is no package.
pub fn param_names(file: &[u8]) -> Option<Vec<Vec<String>>> {
    let mut decoder = Decoder::new(file.get(HEAD..)?);
    for _ in 0..decoder.map().ok()?? {
        let key: Int = decoder.decode().ok()?;
        if key == Int::from(KEY) {
            return decoder.decode().ok();
        }
        decoder.skip().ok()?;
    }
    None
}

/// A signature with the names of its parameters.
pub fn named(signature: &Signature, names: &[String]) -> String {
    let text = signature.to_string();
    let (_, results) = text.split_once(')').unwrap_or(("", ""));
    let params = signature.params().enumerate().map(|(at, ty)| {
        match names.get(at).map_or("", String::as_str) {
            "" => ty.to_string(),
            name => format!("{name}: {ty}"),
        }
    });
    format!("func({}){results}", params.collect::<Vec<_>>().join(", "))
}
