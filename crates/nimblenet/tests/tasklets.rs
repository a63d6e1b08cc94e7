//! The packed tasklets of the repository do what their descriptions say: each is run on the
//! interpreter and compared with a plain Rust reference; sensors are fixed lists.
#![allow(clippy::unwrap_used)]

extern crate alloc;

mod tasklets {
    pub(crate) mod floor;
    pub(crate) mod reference;
}

use std::fs;
use std::path::PathBuf;

use nimblenet_tasklet::{Executor, Package};
use tasklets::floor::{Floor, Values, packed_directory};
use tasklets::reference;
use wasmparser::{Validator, WasmFeatures};

/// Frames that a sensor could have seen.
fn frames() -> Vec<Vec<f32>> {
    let mut state = 12345u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as f32 / 65536.0 - 0.5
    };
    let noisy: Vec<f32> = (0..128).map(|_| noise()).collect();
    let sine = |cycles: f32| {
        (0..128)
            .map(|k| 0.7 * (core::f32::consts::TAU * cycles * k as f32 / 128.0).sin())
            .collect()
    };
    let ramp = (0..100).map(|k| 3.0 + 0.25 * k as f32).collect();
    vec![
        noisy,
        sine(5.0),
        sine(21.0),
        ramp,
        vec![2.5; 16],
        vec![-1.0],
    ]
}

fn close(found: f32, expected: f64, what: &str) {
    let error = (f64::from(found) - expected).abs();
    let allowed = 2e-3 * expected.abs().max(0.05);
    assert!(error <= allowed, "{what}: {found} instead of {expected}");
}

#[test]
fn every_packed_tasklet_decodes_validates_and_is_small() {
    let mut names = Vec::new();
    for entry in fs::read_dir(packed_directory()).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let package = Package::decode(&bytes).unwrap();
        let expected = format!("{}-{}.nnp", package.name.namespace, package.name.name);
        assert_eq!(path.file_name().unwrap().to_str(), Some(expected.as_str()));
        if package.terms.executor == Executor::Wasm {
            let features = WasmFeatures::WASM2 | WasmFeatures::CUSTOM_PAGE_SIZES;
            let valid = Validator::new_with_features(features).validate_all(package.module);
            valid.unwrap_or_else(|error| panic!("{}: {error}", package.name));
            assert!(package.module.len() <= 1024, "{}", package.name);
            assert!(package.terms.memory_bytes <= 2048, "{}", package.name);
        }
        names.push(package.name);
    }
    assert!(names.len() >= 27, "{} tasklets", names.len());
}

#[test]
fn callers_were_compiled_against_the_signatures_of_their_callees() {
    let floor = Floor::new();
    for file in floor.packages.values() {
        let package = Package::decode(file).unwrap();
        for import in package.imports() {
            let callee = floor.package(&import.name.to_string());
            let export = callee.terms.export(import.export);
            let signature = export.map(|export| export.signature);
            assert_eq!(signature, Some(import.signature), "{}", package.name);
        }
    }
}

#[test]
fn features_of_frames_are_those_of_the_reference() {
    let floor = Floor::new();
    for frame in frames() {
        let samples = || Values::new().floats(&frame);
        let scalar = |name: &str| floor.call(name, samples()).float();
        close(scalar("std/rms"), reference::rms(&frame), "rms");
        close(scalar("std/peak"), reference::peak(&frame), "peak");
        close(scalar("std/mean"), reference::mean(&frame), "mean");
        close(scalar("std/crest"), reference::crest(&frame), "crest");
        close(scalar("std/zscore"), reference::zscore(&frame), "zscore");
        close(scalar("std/slope"), reference::slope(&frame), "slope");
        for bin in [5.0, 9.0] {
            let coefficient = 2.0 * (core::f32::consts::TAU * bin / 128.0).cos();
            let found = floor
                .call("std/goertzel", samples().f32(coefficient))
                .float();
            let expected = reference::goertzel(&frame, f64::from(coefficient));
            close(found, expected, "goertzel");
        }
    }
}

#[test]
fn an_empty_frame_has_features_of_zero() {
    let floor = Floor::new();
    let names = ["rms", "peak", "mean", "crest", "zscore", "slope"];
    for name in names.map(|name| format!("std/{name}")) {
        let found = floor.call(&name, Values::new().floats(&[])).float();
        assert_eq!(found, 0.0, "{name}");
    }
}

#[test]
fn windows_and_filters_are_those_of_the_reference() {
    let floor = Floor::new();
    let samples: Vec<i16> = (0..128)
        .map(|k| (k * 517 % 20_000 - 10_000) as i16)
        .collect();
    let found = floor
        .call("std/window", Values::new().shorts(&samples))
        .floats_out();
    let expected = reference::window(&samples);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-3,
            "{found} {expected}"
        );
    }

    let coefficients = [0.2066, 0.4131, 0.2066, -0.3695, 0.1958];
    for frame in frames() {
        let args = Values::new().floats(&frame);
        let args = coefficients.iter().fold(args, |args, c| args.f32(*c));
        let found = floor.call("std/biquad", args).floats_out();
        let expected = reference::biquad(&frame, coefficients.map(f64::from));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            close(*found, expected, "biquad");
        }
    }
}

#[test]
fn means_of_windows_are_exact() {
    let floor = Floor::new();
    let samples: Vec<i32> = (0..100).map(|k| k * k - 2000).collect();
    for window in [1, 2, 7, 100, 101, 0] {
        let args = Values::new().ints(&samples).u32(window as u32);
        let found = floor.call("std/moving-average", args).ints_out();
        assert_eq!(
            found,
            reference::moving_average(&samples, window),
            "{window}"
        );
    }
    let sum = floor
        .call("std/add", Values::new().u32(u32::MAX).u32(2))
        .uint();
    assert_eq!(sum, 1);
}

#[test]
fn tightening_curves_are_judged() {
    let floor = Floor::new();
    let curve = |end: f32| -> Vec<f32> { (0..64).map(|k| end * k as f32 / 63.0).collect() };
    let mut slipped = curve(45.0);
    slipped[40] = 10.0;
    for (curve, expected) in [
        (curve(45.0), 0),
        (curve(30.0), 1),
        (curve(55.0), 2),
        (slipped, 4),
        (Vec::new(), 1),
    ] {
        let args = Values::new().floats(&curve).f32(40.0).f32(50.0);
        assert_eq!(floor.call("shop/torque-check", args).uint(), expected);
        let floor = floor.with_torque(curve);
        let verdict = floor
            .call("shop/bolt-torque", Values::new().f32(40.0).f32(50.0))
            .uint();
        // The low-pass filter may add an overshoot to a slip, never hide it.
        assert_eq!(verdict & expected, expected);
        assert_eq!(floor.lamp(), if verdict == 0 { [0] } else { [2] });
    }
}

#[test]
fn a_weld_is_as_hot_as_its_current_and_voltage_say() {
    let floor = Floor::new().with_weld(vec![150_000; 64], vec![24_000; 64]);
    // 0.8 * 150 A * 24 V / 6 mm/s = 480 J/mm.
    let heat = floor
        .call("shop/weld-inspect", Values::new().f32(0.5).f32(6.0))
        .float();
    close(heat, 0.48, "heat");
    assert_eq!(floor.lamp(), [0]);
    let heat = floor
        .call("shop/weld-inspect", Values::new().f32(0.5).f32(5.0))
        .float();
    close(heat, 0.576, "heat");
    assert_eq!(floor.lamp(), [0, 2]);
}

#[test]
fn heat_lights_the_lamp_while_the_mean_is_above_the_limit() {
    let readings: Vec<i32> = (0..64).map(|at| 30_000 + 137 * at).collect();
    for (asked, taken) in [(0, 1), (1, 1), (3, 3), (64, 64), (1000, 64)] {
        let expected = readings[..taken].iter().sum::<i32>() / taken as i32;
        for (limit, level) in [(expected - 1, 1), (expected, 0)] {
            let floor = Floor::new().with_temperatures(readings.clone());
            let args = Values::new().u32(asked).int(limit);
            let mean = floor.call("shop/heat-alarm", args).int();
            assert_eq!(mean, expected);
            assert_eq!(floor.pins(), [(25, level)]);
        }
    }
    let floor = Floor::new().with_temperatures(vec![-20_000, -19_000]);
    let args = Values::new().u32(2).int(-19_400);
    assert_eq!(floor.call("shop/heat-alarm", args).int(), -19_500);
}

#[test]
fn paint_is_dry_when_vapour_is_low_and_steady() {
    let reading = |ppm: fn(usize) -> f32| (0..64).map(ppm).collect::<Vec<_>>();
    let mut faulty = reading(|_| 40.0);
    faulty[20] = 4000.0;
    for (readings, verdict, lamp) in [
        (reading(|k| 40.0 + (k % 3) as f32), 1, 0),
        (reading(|k| 80.0 - k as f32), 0, 1),
        (reading(|k| 300.0 + (k % 3) as f32), 0, 1),
        (faulty, 2, 2),
    ] {
        let floor = Floor::new().with_paint(readings);
        let found = floor
            .call("shop/paint-dry", Values::new().f32(100.0))
            .uint();
        assert_eq!((found, floor.lamp()), (verdict, vec![lamp]));
    }
}

#[test]
fn bearings_are_told_apart_by_their_sound() {
    for (hits, amplitude, class) in [(0, 0.0, 0), (1, 0.25, 1), (5, 0.7, 2)] {
        let floor = Floor::new().with_vibration(reference::bearing(hits, amplitude));
        let found = floor
            .call("shop/bearing-check", Values::new().u32(128))
            .uint();
        assert_eq!(found, class, "{hits} hits of {amplitude}");
    }
}

#[test]
fn a_spindle_is_watched_at_the_frequencies_asked_for() {
    let tone: Vec<i16> = (0..128)
        .map(|k| (16_000.0 * (core::f32::consts::TAU * 8.0 * k as f32 / 128.0).sin()) as i16)
        .collect();
    let floor = Floor::new().with_vibration(tone);
    let bins = [8.0, 16.0, 24.0];
    let coefficients = bins.map(|bin: f32| 2.0 * (core::f32::consts::TAU * bin / 128.0).cos());
    let levels = floor
        .call("shop/spindle-watch", Values::new().floats(&coefficients))
        .floats_out();
    assert_eq!(levels.len(), 4);
    assert!(levels[1] > 0.05, "{levels:?}");
    assert!(levels[2] < 1e-3 && levels[3] < 1e-3, "{levels:?}");
}

#[test]
fn declared_costs_are_near_what_is_used() {
    let floor = Floor::new()
        .with_vibration(reference::bearing(1, 0.25))
        .with_temperatures(vec![27_000; 8]);
    let arguments = [
        ("std/crest", Values::new().floats(&[0.5; 16])),
        ("shop/bearing-check", Values::new().u32(128)),
        ("shop/spindle-watch", Values::new().floats(&[1.0, 0.5, 0.1])),
        ("shop/weld-inspect", Values::new().f32(0.5).f32(6.0)),
        ("shop/bolt-torque", Values::new().f32(40.0).f32(50.0)),
        ("shop/paint-dry", Values::new().f32(100.0)),
        ("shop/heat-alarm", Values::new().u32(8).int(40_000)),
    ];
    for (name, args) in arguments {
        let used = floor.own_fuel(name, args);
        let declared = floor.package(name).terms.cost;
        assert!(
            declared >= used && declared <= 2 * used + 20,
            "{name} uses {used}, its manifest says {declared}"
        );
    }
}
