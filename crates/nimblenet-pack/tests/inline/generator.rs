//! Chains of tasklets that a seed makes: memories, globals, tables, segments, traps, values of every
//! type, growing memories and start functions.

use core::fmt::Write as _;

use nimblenet_pack::values::{self, Item};
use nimblenet_pack::{Manifest, PackError, Packed, pack};
use nimblenet_tasklet::{FlatType, Scalar, Signature, TaskletName, Type};

/// A generator of numbers (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

const SCALARS: [Scalar; 11] = [
    Scalar::Bool,
    Scalar::U8,
    Scalar::S8,
    Scalar::U16,
    Scalar::S16,
    Scalar::U32,
    Scalar::S32,
    Scalar::U64,
    Scalar::S64,
    Scalar::F32,
    Scalar::F64,
];

/// What may be an element of a list here. A node may make another NaN of a signalling one in 32
/// bits, so they are left out.
const ELEMENTS: [Scalar; 10] = [
    Scalar::Bool,
    Scalar::U8,
    Scalar::S8,
    Scalar::U16,
    Scalar::S16,
    Scalar::U32,
    Scalar::S32,
    Scalar::U64,
    Scalar::S64,
    Scalar::F64,
];

/// A chain: its packages, the outermost first.
pub(crate) struct Chain {
    pub(crate) files: Vec<(TaskletName, Vec<u8>)>,
    pub(crate) sources: Vec<String>,
    pub(crate) signature: Signature,
    /// Bytes of the modules together.
    pub(crate) module_bytes: usize,
}

impl Chain {
    /// The chain that `seed` makes.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random(seed);
        let count = 2 + random.below(4) as usize;
        let signatures: Vec<_> = (0..count).map(|_| signature(&mut random)).collect();
        let mut chain = Self {
            files: Vec::new(),
            sources: Vec::new(),
            signature: signatures[0],
            module_bytes: 0,
        };
        for at in 0..count {
            let (source, packed) = tasklet(&mut random, &signatures, at);
            chain.module_bytes += packed.report.module_bytes;
            chain.files.push((name(at), packed.file));
            chain.sources.push(source);
        }
        chain
    }

    /// Arguments for the outermost tasklet, as a CBOR array.
    pub(crate) fn arguments(&self, random: &mut Random) -> Vec<u8> {
        let items = self.signature.params().map(|ty| match ty {
            Type::Scalar(scalar) => item(random, scalar),
            Type::List(scalar) => {
                let most = if random.once_in(20) { 60 } else { 9 };
                let count = random.below(most);
                Item::List((0..count).map(|_| item(random, scalar)).collect())
            }
            Type::String => {
                let parts = ["", "a", "Gr\u{fc}n", "\u{20ac}", "\u{1f980}", "no"];
                Item::Text((0..random.below(4)).map(|_| random.pick(&parts)).collect())
            }
        });
        values::encode(&items.collect::<Vec<_>>())
    }
}

/// The source of tasklet `at`, and what it is packed.
fn tasklet(random: &mut Random, signatures: &[Signature], at: usize) -> (String, Packed) {
    loop {
        let mut writer = Writer {
            random,
            signatures,
            out: String::new(),
            memory: 0,
            at,
            callees: Vec::new(),
            has_native: false,
            logs: false,
            sizes: false,
        };
        let (source, manifest) = writer.tasklet();
        let manifest = Manifest::parse(&manifest).unwrap();
        match pack(source.as_bytes(), &manifest) {
            Ok(packed) => return (source, packed),
            // It has computed an address that turns out to be fixed.
            Err(PackError::StaticBeyond { .. }) => {}
            Err(error) => panic!("{error}\n{source}"),
        }
    }
}

fn name(at: usize) -> TaskletName {
    format!("gen/t{at}").parse().unwrap()
}

fn item(random: &mut Random, scalar: Scalar) -> Item {
    let bits = match random.below(4) {
        0 => random.below(4),
        1 => random.below(64),
        2 => random.below(64).wrapping_neg(),
        _ => random.next(),
    };
    match scalar {
        Scalar::Bool => Item::Bool(bits & 1 == 1),
        Scalar::U8 => Item::Int(i128::from(bits as u8)),
        Scalar::S8 => Item::Int(i128::from(bits as i8)),
        Scalar::U16 => Item::Int(i128::from(bits as u16)),
        Scalar::S16 => Item::Int(i128::from(bits as i16)),
        Scalar::U32 => Item::Int(i128::from(bits as u32)),
        Scalar::S32 => Item::Int(i128::from(bits as i32)),
        Scalar::U64 => Item::Int(i128::from(bits)),
        Scalar::S64 => Item::Int(i128::from(bits as i64)),
        Scalar::F32 => Item::Single(bits as i32 as f32 / 3.0),
        Scalar::F64 => Item::Float(bits as i64 as f64 / 3.0),
    }
}

fn signature(random: &mut Random) -> Signature {
    let params = random.below(5);
    let params: Vec<_> = (0..params).map(|_| ty(random)).collect();
    let results = match random.below(4) {
        0 => vec![match random.once_in(4) {
            true => Type::String,
            false => Type::List(random.pick(&ELEMENTS)),
        }],
        1 => (0..random.below(4))
            .map(|_| Type::Scalar(random.pick(&SCALARS)))
            .collect(),
        _ => vec![Type::Scalar(random.pick(&SCALARS))],
    };
    Signature::new(&params, &results).unwrap()
}

fn ty(random: &mut Random) -> Type {
    match random.below(8) {
        0..3 => Type::List(random.pick(&ELEMENTS)),
        3 if random.once_in(2) => Type::String,
        _ => Type::Scalar(random.pick(&SCALARS)),
    }
}

const fn wat(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::F32 => "f32",
        Scalar::F64 => "f64",
        Scalar::U64 | Scalar::S64 => "i64",
        Scalar::Bool
        | Scalar::U8
        | Scalar::S8
        | Scalar::U16
        | Scalar::S16
        | Scalar::U32
        | Scalar::S32 => "i32",
    }
}

/// What native tasklet `dev/native` is.
pub(crate) const NATIVE: &str = "func(list<u16>, u32) -> list<u8>";

struct Writer<'w> {
    random: &'w mut Random,
    signatures: &'w [Signature],
    out: String,
    /// Bytes of memory, about.
    memory: u64,
    at: usize,
    callees: Vec<usize>,
    has_native: bool,
    logs: bool,
    /// Whether it asks for the size of its memory.
    sizes: bool,
}

/// What a function has: the names of its locals are `a b c` (i32), `l` (i64), `f`, `d`.
#[derive(Clone, Copy)]
struct Within {
    /// Helpers below this may be called.
    helpers: u64,
    /// Whether it is the export.
    outer: bool,
    /// Whether it has a frame.
    frame: bool,
    depth: u32,
}

impl Writer<'_> {
    /// A module and its manifest.
    fn tasklet(&mut self) -> (String, String) {
        let signature = self.signatures[self.at];
        for other in self.at + 1..self.signatures.len() {
            // Each is called by the one before, so none is left out.
            if other == self.at + 1 || self.random.once_in(3) {
                self.callees.push(other);
            }
        }
        self.has_native = self.random.once_in(3);
        self.logs = self.random.once_in(4);
        self.sizes = self.random.once_in(8);
        let data = 96 + 8 * self.random.below(20) + self.random.below(3);
        self.memory = data + 128;
        let mut text = String::from("(module\n");
        for callee in self.callees.clone() {
            let ty = flat(&self.signatures[callee]);
            writeln!(
                text,
                "(import \"gen/t{callee}\" \"run\" (func $t{callee} {ty}))"
            )
            .unwrap();
        }
        if self.has_native {
            let ty = flat(&NATIVE.parse().unwrap());
            writeln!(text, "(import \"dev/native\" \"run\" (func $native {ty}))").unwrap();
        }
        if self.logs {
            let log = "(import \"nimblenet:log\" \"write\" (func $log (param i32 i32)))";
            writeln!(text, "{log}").unwrap();
        }
        text += "(type $h (func (param i32) (result i32)))\n";
        text += "(type $other (func (param i64) (result i64)))\n";
        // The area stands behind 4 kB in a memory of pages.
        let (pages, area) = (1 + self.random.below(2), 64 + self.random.below(90));
        let end = match self.sizes {
            true => 60_000,
            false => data,
        };
        match self.sizes {
            true => {
                let most = pages + self.random.below(3);
                writeln!(text, "(memory {pages} {most})").unwrap();
                text += "(global (export \"nimblenet_area\") i32 (i32.const 4096))\n";
            }
            false => text += "(memory 1)\n",
        }
        writeln!(
            text,
            "(global (export \"__data_end\") i32 (i32.const {end}))"
        )
        .unwrap();
        text += "(global $sp (mut i32) (i32.const 64))\n";
        writeln!(
            text,
            "(global $g (mut i32) (i32.const {}))",
            self.random.next() as i32
        )
        .unwrap();
        writeln!(
            text,
            "(global $w (mut i64) (i64.const {}))",
            self.random.next() as i64
        )
        .unwrap();
        writeln!(
            text,
            "(global $x (mut f64) (f64.const {}))",
            self.random.below(99)
        )
        .unwrap();
        text += "(table $t 6 funcref)\n(elem (table $t) (i32.const 1) func $h0 $h1 $o)\n";
        text += "(elem $e func $h1 $h0)\n";
        let first: String = (0..24)
            .map(|_| format!("\\{:02x}", self.random.below(256)))
            .collect();
        let word = self
            .random
            .pick(&["abc", "Gr\\c3\\bcn", "\\e2\\82\\ac\\f0\\9f\\a6\\80", "x"]);
        writeln!(text, "(data (i32.const 64) \"{first}{word}\")").unwrap();
        let passive = self.random.once_in(3);
        if passive {
            text += "(data $p \"\\01\\02\\03\\04\\05\\06\\07\\08\\09\\0a\")\n";
        }
        text += "(func $o (type $other) (i64.add (local.get 0) (i64.const 1)))\n";
        for helper in 0..2 {
            let frame = self.random.once_in(2);
            let within = Within {
                helpers: helper,
                outer: false,
                frame,
                depth: 0,
            };
            writeln!(text, "(func $h{helper} (type $h) {LOCALS}").unwrap();
            self.body(within);
            text += &core::mem::take(&mut self.out);
            text += "(local.get $a))\n";
        }
        if self.random.once_in(4) {
            let store = self.random.below(64);
            writeln!(
                text,
                "(func $start (i32.store (i32.const {store}) (i32.const 77)) \
                 (global.set $g (i32.add (global.get $g) (i32.const 1))))\n(start $start)"
            )
            .unwrap();
        }
        writeln!(text, "(func (export \"run\") {} {LOCALS}", flat(&signature)).unwrap();
        self.look(&signature, data);
        let frame = self.random.once_in(2);
        self.body(Within {
            helpers: 2,
            outer: true,
            frame,
            depth: 0,
        });
        if passive && self.random.once_in(2) {
            let (to, from, len) = (self.address(2), self.random.below(4), self.random.below(8));
            self.line(&format!(
                "(memory.init $p {to} (i32.const {from}) (i32.const {len}))"
            ));
        }
        self.result(&signature);
        text += &core::mem::take(&mut self.out);
        text += ")\n)\n";
        let imports = self.manifest_imports();
        let manifest = format!(
            "name = \"gen/t{}\"\nexports = {{ run = \"{signature}\" }}\narea = {area}\nstack = 64\n\
             [imports]\n{imports}",
            self.at
        );
        (text, manifest)
    }

    fn manifest_imports(&self) -> String {
        let callees = self.callees.iter();
        let mut lines: String = callees
            .map(|callee| format!("\"gen/t{callee}\" = \"{}\"\n", self.signatures[*callee]))
            .collect();
        if self.has_native {
            lines += &format!("\"dev/native\" = \"{NATIVE}\"\n");
        }
        lines
    }

    /// Makes locals of what the export finds: its arguments, globals, table and memory.
    fn look(&mut self, signature: &Signature, data: u64) {
        for (param, ty) in signature.flat_params().enumerate() {
            let line = match ty {
                FlatType::I32 => {
                    format!("(local.set $a (i32.add (local.get $a) (local.get {param})))")
                }
                FlatType::I64 => {
                    format!("(local.set $l (i64.xor (local.get $l) (local.get {param})))")
                }
                FlatType::F32 => {
                    format!("(local.set $f (f32.add (local.get $f) (local.get {param})))")
                }
                FlatType::F64 => {
                    format!("(local.set $d (f64.add (local.get $d) (local.get {param})))")
                }
            };
            self.line(&line);
        }
        self.line("(local.set $l (i64.add (local.get $l) (global.get $w)))");
        self.line("(local.set $d (f64.add (local.get $d) (global.get $x)))");
        self.line("(global.set $x (f64.add (global.get $x) (f64.const 1)))");
        let sum = "(i32.add (i32.mul (local.get $a) (i32.const 31)) \
                   (i32.load8_u (i32.sub (local.get $n) (i32.const 1))))";
        let end = data;
        self.line(&format!(
            "(local.set $n (i32.const {end})) (loop $sum (local.set $a {sum})"
        ));
        self.line("(br_if $sum (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))");
        for at in 0..6 {
            self.line(&format!(
                "(local.set $b (i32.add (i32.shl (local.get $b) (i32.const 1)) \
                 (ref.is_null (table.get $t (i32.const {at})))))"
            ));
        }
        self.line("(global.set $g (i32.add (global.get $g) (local.get $a)))");
    }

    fn line(&mut self, line: &str) {
        self.out += line;
        self.out.push('\n');
    }

    fn body(&mut self, within: Within) {
        if within.frame {
            self.line("(global.set $sp (local.tee $s (i32.sub (global.get $sp) (i32.const 16))))");
        }
        for _ in 0..2 + self.random.below(6) {
            self.statement(within);
            if within.outer && self.random.once_in(2) {
                self.call();
            }
        }
        if within.frame {
            self.line("(global.set $sp (i32.add (local.get $s) (i32.const 16)))");
        }
    }

    fn statement(&mut self, within: Within) {
        match self.random.below(15) {
            0 | 1 => {
                let value = self.i32(2);
                let local = self.random.pick(&["a", "b", "c"]);
                self.line(&format!("(local.set ${local} {value})"));
            }
            2 | 3 => self.store(within),
            4 => {
                let value = self.i64(2);
                self.line(&format!("(local.set $l {value})"));
            }
            5 => {
                let value = self.i32(1);
                self.line(&format!("(local.set $f (f32.convert_i32_s {value}))"));
                self.line(
                    "(local.set $d (f64.div (f64.promote_f32 (local.get $f)) (global.get $x)))",
                );
            }
            6 => {
                let (to, wide) = (self.i32(2), self.i64(1));
                self.line(&format!("(global.set $g {to}) (global.set $w {wide})"));
            }
            7 if within.depth < 2 => {
                let condition = self.i32(1);
                self.line(&format!("(if {condition} (then"));
                self.statement(Within {
                    depth: within.depth + 1,
                    ..within
                });
                self.line("))");
            }
            8 if within.depth < 1 => {
                let times = 1 + self.random.below(4);
                self.line(&format!("(local.set $n (i32.const {times})) (loop $again"));
                self.statement(Within { depth: 2, ..within });
                self.line("(br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))");
            }
            9 => self.bulk(),
            10 if within.helpers > 0 => {
                let (helper, argument) = (self.random.below(within.helpers), self.i32(1));
                self.line(&format!("(local.set $b (call $h{helper} {argument}))"));
            }
            11 if within.outer => self.through_table(),
            12..15 if within.outer && within.depth < 3 => self.call(),
            _ => {
                let value = self.i32(2);
                self.line(&format!("(local.set $a (i32.add (local.get $a) {value}))"));
            }
        }
    }

    fn through_table(&mut self) {
        let (index, argument) = (self.i32(1), self.i32(1));
        let index = match self.random.below(60) {
            0 => index,
            1 => format!("(i32.const {})", self.random.below(5)),
            _ => format!("(i32.const {})", 1 + self.random.below(2)),
        };
        if self.random.once_in(3) {
            let at = self.random.below(6);
            self.line(&format!(
                "(table.set $t (i32.const {at}) (table.get $t (i32.const 2)))"
            ));
        } else if self.random.once_in(5) {
            self.line("(table.init $t $e (i32.const 2) (i32.const 0) (i32.const 2))");
        }
        self.line(&format!(
            "(local.set $a (call_indirect $t (type $h) {argument} {index}))"
        ));
    }

    /// A call of another tasklet, of the native one, or of the log.
    fn call(&mut self) {
        if self.logs && self.random.once_in(4) {
            let (address, len) = (self.address(1), self.random.below(9));
            return self.line(&format!("(call $log {address} (i32.const {len}))"));
        }
        if self.has_native && self.random.once_in(3) {
            let signature = NATIVE.parse().unwrap();
            return self.call_of("native", &signature);
        }
        if self.callees.is_empty() {
            return;
        }
        let callee = self.random.pick(&self.callees);
        let signature = self.signatures[callee];
        self.call_of(&format!("t{callee}"), &signature);
    }

    fn call_of(&mut self, callee: &str, signature: &Signature) {
        let mut args = String::new();
        for ty in signature.params() {
            match ty {
                Type::Scalar(scalar) => args += &self.value(wat(scalar)),
                Type::String => args += "(i32.const 88) (i32.const 3)",
                Type::List(_) => {
                    let (address, count) = (self.address(1), self.count());
                    args += &format!("{address} {count}");
                }
            }
            args.push(' ');
        }
        if signature.list_result().is_some() {
            let (address, count) = (self.address(1), 4 + self.random.below(14));
            args += &format!("{address} (i32.const {count})");
        }
        self.line(&format!("(call ${callee} {args})"));
        let results: Vec<_> = signature.flat_results().collect();
        for result in results.iter().rev() {
            let local = match result {
                FlatType::I32 => "c",
                FlatType::I64 => "l",
                FlatType::F32 => "f",
                FlatType::F64 => "d",
            };
            self.line(&format!("(local.set ${local})"));
        }
    }

    fn count(&mut self) -> String {
        match self.random.below(10) {
            0 => "(i32.and (local.get $a) (i32.const 7))".to_owned(),
            1 if self.random.once_in(8) => "(local.get $b)".to_owned(),
            _ => format!("(i32.const {})", self.random.below(7)),
        }
    }

    /// An address that is mostly within the memory; `slack` times eight bytes are left.
    fn address(&mut self, slack: u64) -> String {
        let end = self.memory.saturating_sub(8 * slack);
        match self.random.below(150) {
            0 => "(local.get $b)".to_owned(),
            1 => {
                let beyond = self.memory + self.random.below(64);
                format!("(i32.add (i32.const {beyond}) (i32.and (local.get $a) (i32.const 7)))")
            }
            2 => format!(
                "(i32.xor (i32.const {}) (local.get $a))",
                self.random.next() as i32
            ),
            3..39 => {
                let (from, value) = (self.random.below(end - 64), self.i32(1));
                format!("(i32.add (i32.const {from}) (i32.and {value} (i32.const 63)))")
            }
            39 if self.random.once_in(2) => {
                // In the stack by its looks.
                let end = self.memory + self.random.below(40) - 120;
                format!("(i32.add (local.get $s) (i32.const {end}))")
            }
            40..60 => format!(
                "(i32.add (local.get $s) (i32.const {}))",
                self.random.below(9)
            ),
            // The packer refuses code that uses a fixed address beyond the data.
            _ => {
                let fixed = (self.memory - 128).saturating_sub(8 * slack + 80);
                format!("(i32.const {})", self.random.below(fixed.max(1)))
            }
        }
    }

    fn store(&mut self, within: Within) {
        let address = match within.frame && self.random.once_in(2) {
            true => "(local.get $s)".to_owned(),
            false => self.address(2),
        };
        let offset = match self.random.below(60) {
            _ if address.starts_with("(i32.const") => self.random.below(8),
            0 => self.random.below(200),
            1 => u64::from(u32::MAX) - self.random.below(300),
            _ => self.random.below(8),
        };
        let (ty, width) = self.random.pick(&[
            ("i32", "32"),
            ("i32", "8"),
            ("i32", "16"),
            ("i64", "64"),
            ("i64", "8"),
            ("i64", "32"),
            ("f64", "64"),
            ("f32", "32"),
        ]);
        let suffix = if ty.ends_with(width) { "" } else { width };
        let value = self.value(ty);
        self.line(&format!(
            "({ty}.store{suffix} offset={offset} {address} {value})"
        ));
    }

    fn bulk(&mut self) {
        let (to, from, len) = (self.address(2), self.address(2), self.count());
        match self.random.below(4) {
            0 if self.sizes => {
                let by = self.random.below(3);
                self.line(&format!("(local.set $b (memory.grow (i32.const {by})))"));
            }
            0 | 1 => self.line(&format!("(memory.fill {to} (local.get $a) {len})")),
            _ => self.line(&format!("(memory.copy {to} {from} {len})")),
        }
    }

    fn value(&mut self, ty: &str) -> String {
        match ty {
            "i32" => self.i32(2),
            "i64" => self.i64(2),
            "f32" => self
                .random
                .pick(&["(local.get $f)", "(f32.const 1.5)"])
                .to_owned(),
            _ => self
                .random
                .pick(&["(local.get $d)", "(global.get $x)"])
                .to_owned(),
        }
    }

    fn i32(&mut self, depth: u32) -> String {
        if depth == 0 {
            return match self.random.below(6) {
                0 => format!("(i32.const {})", self.random.below(300)),
                1 => "(global.get $g)".to_owned(),
                2 if self.sizes => "(memory.size)".to_owned(),
                _ => format!("(local.get ${})", self.random.pick(&["a", "b", "c"])),
            };
        }
        match self.random.below(9) {
            0 | 1 => {
                let (load, address) = (
                    self.random
                        .pick(&["load", "load8_u", "load8_s", "load16_u", "load16_s"]),
                    self.address(1),
                );
                format!("(i32.{load} offset={} {address})", self.random.below(8))
            }
            2 if self.random.once_in(4) => {
                let (left, right) = (self.i32(depth - 1), self.i32(depth - 1));
                let right = match self.random.once_in(6) {
                    true => right,
                    false => format!("(i32.or {right} (i32.const 1))"),
                };
                format!("(i32.div_s {left} {right})")
            }
            3 => format!("(i32.wrap_i64 {})", self.i64(depth - 1)),
            _ => {
                let op = self
                    .random
                    .pick(&["add", "sub", "mul", "xor", "and", "shl", "lt_u"]);
                let (left, right) = (self.i32(depth - 1), self.i32(depth - 1));
                format!("(i32.{op} {left} {right})")
            }
        }
    }

    fn i64(&mut self, depth: u32) -> String {
        match self.random.below(5) {
            0 => "(global.get $w)".to_owned(),
            1 if depth > 0 => format!("(i64.load {})", self.address(2)),
            2 if depth > 0 => format!("(i64.extend_i32_s {})", self.i32(depth - 1)),
            3 if depth > 0 => {
                format!("(i64.add {} {})", self.i64(depth - 1), self.i64(depth - 1))
            }
            _ => "(local.get $l)".to_owned(),
        }
    }

    /// The end of the export: what it returns.
    fn result(&mut self, signature: &Signature) {
        if signature.list_result().is_some() {
            let params = signature.flat_params().count() as u64;
            let (address, capacity) = (params - 2, params - 1);
            self.line(&format!(
                "(i32.store8 (local.get {address}) (i32.const 65))"
            ));
            if signature.results().next() == Some(Type::String) {
                return self.line("(i32.const 1)");
            }
            let few = self.random.below(4);
            return match self.random.below(30) {
                0 => self.line("(local.get $b)"),
                1 => self.line(&format!("(i32.add (local.get {capacity}) (i32.const 1))")),
                2 => self.line(&format!("(local.get {capacity})")),
                _ => self.line(&format!("(i32.const {few})")),
            };
        }
        for ty in signature.results() {
            if let Type::Scalar(scalar) = ty {
                let value = self.value(wat(scalar));
                self.line(&value);
            }
        }
    }
}

const LOCALS: &str = "(local $a i32) (local $b i32) (local $c i32) (local $n i32) (local $s i32) \
                      (local $l i64) (local $f f32) (local $d f64)";

/// The type of a signature.
fn flat(signature: &Signature) -> String {
    let name = |ty| match ty {
        FlatType::I32 => "i32",
        FlatType::I64 => "i64",
        FlatType::F32 => "f32",
        FlatType::F64 => "f64",
    };
    let params: String = signature
        .flat_params()
        .map(|ty| format!(" (param {})", name(ty)))
        .collect();
    let results = signature
        .flat_results()
        .map(|ty| format!(" (result {})", name(ty)));
    params + &results.collect::<String>()
}
