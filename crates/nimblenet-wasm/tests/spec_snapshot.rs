//! The code writes the example of `spec/snapshot.md`.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod support;

use nimblenet_wasm::{HostCall, Instance, LoadOptions, Step, Value};
use support::Block;

const SPEC: &str = include_str!("../../../spec/snapshot.md");

/// The bytes of the block that starts with this line.
fn hex(fence: &str) -> Vec<u8> {
    let start = SPEC.find(fence).unwrap() + fence.len();
    let end = start + SPEC[start..].find("```").unwrap();
    let digits: String = SPEC[start..end].split_whitespace().collect();
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn the_example_freezes_to_its_image_and_thaws_from_it() {
    let code = hex("```hex module\n");
    let image = hex("```hex image\n");
    let options = LoadOptions {
        digest: core::array::from_fn(|index| index as u8),
        ..LoadOptions::default()
    };
    let mut block = Block::new(300_000);
    let mut instance = Instance::load(block.bytes(), &code, &options).unwrap();
    instance.set_fuel(100);
    instance.invoke("run", &[Value::I32(5)]).unwrap();
    assert_eq!(instance.run(), Step::Call(HostCall { import: 0 }));
    let mut frozen = vec![0; instance.image_len().unwrap()];
    instance.freeze(&mut frozen).unwrap();
    assert_eq!(frozen, image, "{frozen:02x?}");

    let mut other = Block::new(300_000);
    let mut instance = Instance::thaw(other.bytes(), &code, &image, &options).unwrap();
    instance.resume(&[Value::I32(11)]).unwrap();
    assert_eq!(instance.run(), Step::Done);
    let mut out = [Value::I32(0)];
    instance.results(&mut out);
    assert_eq!(out, [Value::I32(11)]);
}
