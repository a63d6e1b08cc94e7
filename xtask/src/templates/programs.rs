//! Programs of others, as package registries have them, become tasklets with what the templates say:
//! each packs, gives a result that is known from elsewhere, and leaves no stack unused.
//!
//! `xtask/programs` has a source around each, and the versions of all that is fetched.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Desk, exists, twice};
use crate::workspace;

/// A program of a Rust package.
struct Program {
    name: &'static str,
    source: &'static str,
    /// The line of the package's manifest.
    dependency: &'static str,
    signature: &'static str,
    arg: &'static str,
    expected: fn() -> Value,
}

/// What `inflate` gets, which Python's `zlib` has made of [`PANGRAMS`].
const DEFLATED: &str = "h'78da2bc94855282ccd4cce56482aca2fcf5348cbaf50c82acd2d2856c82f4b2d5228\
    014ae72456552aa4e4a75b8379688a4b06583f00a5494696'";
const PANGRAMS: &str = "the quick brown fox jumps over the lazy dog; the quick brown fox\
     the quick brown fox jumps over the lazy dog; the quick brown fox\
     the quick brown fox jumps over the lazy dog; the quick brown fox";

const PROGRAMS: [Program; 10] = [
    Program {
        name: "crc",
        source: include_str!("../../programs/crc.rs"),
        dependency: "crc = \"=3.4.0\"",
        signature: "func(bytes: list<u8>) -> u32",
        arg: "h'313233343536373839'",
        // The check value of CRC-32/ISO-HDLC.
        expected: || json!([0xcbf4_3926_u32]),
    },
    Program {
        name: "inflate",
        source: include_str!("../../programs/inflate.rs"),
        dependency: "miniz_oxide = { version = \"=0.9.1\", default-features = false }",
        signature: "func(packed: list<u8>) -> list<u8>",
        arg: DEFLATED,
        expected: || json!([PANGRAMS.as_bytes()]),
    },
    Program {
        name: "special",
        source: include_str!("../../programs/special.rs"),
        dependency: "libm = \"=0.2.16\"",
        signature: "func(x: f64) -> f64",
        arg: "2.5",
        // Python's math.erf and math.gamma, and the integral that defines the Bessel function.
        expected: || json!([2.545_533_827_200_806_3]),
    },
    Program {
        name: "shortest",
        source: include_str!("../../programs/shortest.rs"),
        dependency: "ryu = \"=1.0.23\"",
        signature: "func(x: f64) -> list<u8>",
        arg: "5e-324",
        expected: || json!([b"5e-324"]),
    },
    Program {
        name: "lowpass",
        source: include_str!("../../programs/lowpass.rs"),
        dependency: "biquad = { version = \"=0.6.0\", default-features = false }",
        signature: "func(samples: list<f32>) -> list<f32>",
        arg: "[1, 1, 1, 1]",
        // The difference equation with the coefficients of the Audio EQ Cookbook, in f64.
        expected: || {
            json!([[
                0.000_944_691_8,
                0.004_639_567_8,
                0.011_781_525_6,
                0.022_050_492_1
            ]])
        },
    },
    Program {
        name: "digest",
        source: include_str!("../../programs/digest.rs"),
        dependency: "sha2 = { version = \"=0.11.1\", default-features = false }",
        signature: "func(bytes: list<u8>) -> list<u8>",
        arg: "h'616263'",
        // FIPS 180-4, example for "abc".
        expected: || {
            json!([[
                0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
                0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61,
                0xf2, 0x00, 0x15, 0xad
            ]])
        },
    },
    Program {
        name: "inverse",
        source: include_str!("../../programs/inverse.rs"),
        dependency: "glam = { version = \"=0.34.3\", default-features = false, features = [\"libm\"] }",
        signature: "func(matrix: list<f32>) -> list<f32>",
        arg: "[2, 0, 0, 0, 0, 4, 0, 0, 0, 0, 8, 0, 1, 2, 3, 1]",
        expected: || {
            json!([[
                0.5, 0, 0, 0, 0, 0.25, 0, 0, 0, 0, 0.125, 0, -0.5, -0.5, -0.375, 1
            ]])
        },
    },
    Program {
        name: "number",
        source: include_str!("../../programs/number.rs"),
        dependency: "fast-float2 = { version = \"=0.2.4\", default-features = false }",
        signature: "func(text: string) -> f64",
        arg: "\"2.2250738585072011e-308\"",
        expected: || json!([2.225_073_858_507_201e-308]),
    },
    Program {
        name: "spectrum",
        source: include_str!("../../programs/spectrum.rs"),
        dependency: "microfft = { version = \"=0.6.0\", default-features = false, features = [\"size-64\"] }",
        signature: "func(samples: list<f32>) -> list<f32>",
        arg: "[1]",
        // An impulse has every frequency alike; the first holds the highest one too.
        expected: || {
            let mut powers = [1; 32];
            powers[0] = 2;
            json!([powers])
        },
    },
    Program {
        name: "position",
        source: include_str!("../../programs/position.rs"),
        dependency: "nmea = { version = \"=0.8.0\", default-features = false, features = [\"GGA\"] }",
        signature: "func(sentence: string) -> f64",
        arg: "\"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\"",
        // 48 degrees and 7.038 minutes.
        expected: || json!([48.117_3]),
    },
];

/// What a program may leave of the stack that it was linked with, in bytes, all together.
const UNUSED_BYTES_MAX: u64 = 300;
/// What numbers in results may differ by, for the sake of single precision.
const TOLERANCE: f64 = 1e-6;

/// Builds and runs them.
///
/// # Errors
/// If one does not build, gives another result, or they leave more stack unused than they may.
pub(crate) fn run() -> Result<()> {
    workspace::run(workspace::cargo().args(["build", "--quiet", "-p", "nimblenet"]))?;
    let desk = Desk::clear("programs")?;
    println!("{:<9} {:>8} {:>8} {:>17}", "", "module", "memory", "stack");
    let mut unused = 0;
    for program in &PROGRAMS {
        let name = program.name;
        unused += desk
            .try_program(program)
            .with_context(|| format!("the program {name}"))?;
    }
    desk.try_assemblyscript().context("the program base64")?;
    println!("{unused} B of stack are not used");
    ensure!(
        unused < UNUSED_BYTES_MAX,
        "the programs leave {unused} bytes of stack unused"
    );
    Ok(())
}

impl Desk {
    /// Makes a tasklet of a Rust package; returns the bytes of stack that it does not need.
    fn try_program(&self, program: &Program) -> Result<u64> {
        self.json(&["new", program.name, "--lang", "rust"])?;
        let folder = self.folder.join(program.name);
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
        let heading = "[dependencies]\n";
        let more = format!("{heading}{}\n", program.dependency);
        fs::write(folder.join("Cargo.toml"), manifest.replace(heading, &more))?;
        fs::write(folder.join("src/lib.rs"), program.source)?;
        fs::write(
            folder.join("Cargo.lock"),
            include_str!("../../programs/Cargo.lock"),
        )?;
        self.try_folder(
            program.name,
            program.signature,
            "",
            program.arg,
            &(program.expected)(),
        )
    }

    /// Makes a tasklet of an npm package, if there is npm.
    fn try_assemblyscript(&self) -> Result<()> {
        let name = "base64";
        if !exists("npm") {
            println!("{name:<9} is left out: npm is not installed here");
            return Ok(());
        }
        self.json(&["new", name, "--lang", "as"])?;
        let folder = self.folder.join(name);
        let files = [
            ("base64.ts", include_str!("../../programs/base64.ts")),
            ("package.json", include_str!("../../programs/package.json")),
            (
                "package-lock.json",
                include_str!("../../programs/package-lock.json"),
            ),
        ];
        for (file, text) in files {
            fs::write(folder.join(file), text)?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-fund", "--no-audit", "--loglevel=error"]);
        twice(npm.current_dir(&folder))?;
        let signature = "func(text: string) -> list<u8>";
        let expected = json!([b"hello"]);
        // It allocates.
        self.try_folder(name, signature, "heap = 65536\n", "\"aGVsbG8=\"", &expected)?;
        Ok(())
    }

    /// Builds and runs the tasklet of a folder; returns the bytes of stack that it does not need.
    fn try_folder(
        &self,
        name: &str,
        signature: &str,
        terms: &str,
        arg: &str,
        expected: &Value,
    ) -> Result<u64> {
        let manifest = format!("exports = {{ run = \"{signature}\" }}\n{terms}");
        fs::write(self.folder.join(name).join("tasklet.toml"), manifest)?;
        let report = self.json(&["build", name])?;
        let package = format!("{name}/target/local-{name}.nnp");
        let ran = self.json(&["run", &package, arg])?;
        ensure!(
            is_near(&ran["results"], expected),
            "it gives {}, not {expected}",
            ran["results"]
        );
        let bytes = |value: &Value| value.as_u64().unwrap_or(0);
        let stack = &report["stack"];
        let (linked, needed) = (bytes(&stack["linked_bytes"]), bytes(&stack["needed_bytes"]));
        println!(
            "{name:<9} {:>6} B {:>6} B {needed:>6} of {linked:>5} B",
            bytes(&report["module_bytes"]),
            bytes(&report["memory_bytes"]),
        );
        Ok(linked.saturating_sub(needed))
    }
}

/// Whether values are the same but for the last places of numbers.
fn is_near(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) => {
            let mut both = found.iter().zip(expected);
            found.len() == expected.len() && both.all(|(found, expected)| is_near(found, expected))
        }
        _ => match (found.as_f64(), expected.as_f64()) {
            (Some(found), Some(expected)) => (found - expected).abs() <= TOLERANCE * expected.abs(),
            _ => found == expected,
        },
    }
}
