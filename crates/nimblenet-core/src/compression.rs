//! Compression from the publisher's side: modules for the air, and the dictionary for them.
//!
//! Nodes only expand (`nimblenet_tasklet::compression`). A publisher has time: it looks for the
//! shortest sequence of blocks (spec/compression.md), and makes the dictionary of a namespace of
//! what its modules have in common.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

/// The longest dictionary that [`dictionary`] makes, in bytes. More gains little.
pub const DICTIONARY_BYTES: usize = 1024;
/// The most bytes of modules that a dictionary is made of.
const TEXT_BYTES: usize = 64 << 10;
/// How often the text of a dictionary is parsed and cut.
const ROUNDS: usize = 3;
/// The longest distance to copy from.
const DISTANCE_MAX: usize = 0xffff << 8;
/// The longest run of literals or copy in one block.
const LEN_MAX: usize = 0xffff;
/// Up to this length every shorter copy is tried too; of a longer one only the whole.
const COPY_TRIED: usize = 64;
/// Up to this length every run of literals is tried; beyond it only the one to the end.
const LITERALS_TRIED: usize = 256;
/// How many places are looked at for a copy.
const PLACES_TRIED: usize = 4096;

/// Compresses `module` with `dictionary`, which is needed to expand it; nothing if the module is
/// longer than 65,535 bytes.
pub fn compress(module: &[u8], dictionary: &[u8]) -> Option<Vec<u8>> {
    if module.len() > LEN_MAX {
        return None;
    }
    let window = Window::new(dictionary, module);
    let mut out = Writer::default();
    let (mut at, mut after_literals, mut last) = (0, false, 0);
    for block in parse(&window) {
        match block {
            Block::Literals(len) => {
                out.bit(0);
                out.number(len);
                out.bytes.extend_from_slice(&module[at..at + len]);
            }
            Block::Copy { len, distance } if after_literals && distance == last => {
                out.bit(0);
                out.number(len);
            }
            Block::Copy { len, distance } => {
                out.bit(1);
                out.number(((distance - 1) >> 8) + 1);
                out.bytes.push((distance - 1) as u8);
                out.number(len - 1);
                last = distance;
            }
        }
        at += block.len();
        after_literals = matches!(block, Block::Literals(_));
    }
    Some(out.bytes)
}

/// A dictionary of at most `bytes` bytes of what `modules` have in common; the most useful bytes
/// come last, where distances are short.
pub fn dictionary(modules: &[&[u8]], bytes: usize) -> Vec<u8> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut text = 0;
    for (owner, module) in modules.iter().enumerate() {
        text += module.len();
        if text > TEXT_BYTES {
            break;
        }
        let bytes = module.to_vec();
        pieces.push(Piece { owner, bytes });
    }
    let owners = pieces.len();
    for round in 0..ROUNDS {
        let gains = gains(&pieces, &modules[..owners]);
        let room = if round + 1 < ROUNDS { 2 * bytes } else { bytes };
        pieces = keep(&pieces, &gains, room);
    }
    pieces.into_iter().flat_map(|piece| piece.bytes).collect()
}

/// A piece of a dictionary, and the module that it is from.
struct Piece {
    owner: usize,
    bytes: Vec<u8>,
}

/// What each byte of the pieces saves the modules that it is not from, in 16ths of a bit.
fn gains(pieces: &[Piece], modules: &[&[u8]]) -> Vec<Vec<usize>> {
    let mut gains: Vec<Vec<usize>> = pieces.iter().map(|it| vec![0; it.bytes.len()]).collect();
    for (owner, module) in modules.iter().enumerate() {
        let others = || {
            let pieces = pieces.iter().enumerate();
            pieces.filter(move |(_, piece)| piece.owner != owner)
        };
        let text: Vec<u8> = others().flat_map(|(_, it)| it.bytes.clone()).collect();
        let places = others().flat_map(|(at, it)| (0..it.bytes.len()).map(move |byte| (at, byte)));
        let places: Vec<(usize, usize)> = places.collect();
        let mut at = text.len();
        for block in parse(&Window::new(&text, module)) {
            if let Block::Copy { len, distance } = block {
                let saved = (8 * len).saturating_sub(copy_bits(len, distance));
                for (piece, byte) in places.iter().skip(at - distance).take(len) {
                    gains[*piece][*byte] += 16 * saved / len;
                }
            }
            at += block.len();
        }
    }
    gains
}

/// The bytes that gain most, at most `room` of them, as new pieces in the order of what they gain.
fn keep(pieces: &[Piece], gains: &[Vec<usize>], room: usize) -> Vec<Piece> {
    let mut order: Vec<usize> = gains.iter().flatten().copied().collect();
    order.sort_unstable_by(|a, b| b.cmp(a));
    let least = order.get(room).map_or(1, |gain| gain + 1).max(1);
    // Of those that gain as much as the first that has no room, as many as fit stay too.
    let above = order.iter().filter(|gain| **gain >= least).count();
    let mut equal = room.saturating_sub(above);
    let mut kept: Vec<(usize, Piece)> = Vec::new();
    for (piece, gains) in pieces.iter().zip(gains) {
        let owner = piece.owner;
        let (mut bytes, mut sum) = (Vec::new(), 0);
        for (byte, gain) in piece.bytes.iter().zip(gains) {
            let ties = *gain + 1 == least && *gain > 0 && equal > 0;
            if *gain >= least || ties {
                equal -= usize::from(ties);
                bytes.push(*byte);
                sum += *gain;
            } else {
                end_piece(&mut kept, owner, &mut bytes, &mut sum);
            }
        }
        end_piece(&mut kept, owner, &mut bytes, &mut sum);
    }
    kept.sort_by_key(|(gain, _)| *gain);
    kept.into_iter().map(|(_, piece)| piece).collect()
}

/// Adds a piece with its mean gain, unless it is too short to be copied.
fn end_piece(kept: &mut Vec<(usize, Piece)>, owner: usize, bytes: &mut Vec<u8>, sum: &mut usize) {
    let bytes = core::mem::take(bytes);
    let sum = core::mem::take(sum);
    if bytes.len() > 1 {
        kept.push((sum / bytes.len(), Piece { owner, bytes }));
    }
}

/// A dictionary and the module behind it.
struct Window {
    text: Vec<u8>,
    /// Where the module begins.
    start: usize,
    /// Where each pair of bytes stands, in ascending order.
    pairs: BTreeMap<[u8; 2], Vec<usize>>,
}

impl Window {
    fn new(dictionary: &[u8], module: &[u8]) -> Self {
        let text = [dictionary, module].concat();
        let mut pairs: BTreeMap<[u8; 2], Vec<usize>> = BTreeMap::new();
        for (at, pair) in text.windows(2).enumerate() {
            let places = pairs.entry([pair[0], pair[1]]).or_default();
            places.push(at);
        }
        let start = dictionary.len();
        Self { text, start, pairs }
    }

    fn module(&self) -> &[u8] {
        &self.text[self.start..]
    }

    /// How many bytes the text at `from` has in common with that at `at`, at most `limit`.
    fn common(&self, from: usize, at: usize, limit: usize) -> usize {
        let pairs = self.text[from..].iter().zip(&self.text[at..]).take(limit);
        pairs.take_while(|(a, b)| a == b).count()
    }

    /// The copies that a block at `at` can be: lengths with the shortest distance for each.
    /// `before` is the longest copy that a block one byte earlier can be.
    fn copies(&self, at: usize, before: Option<(usize, usize)>) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut longest = 1;
        let mut add = |len: usize, distance: usize| {
            let tried = (longest + 1..=len.min(COPY_TRIED))
                .chain([len].into_iter().filter(|_| len > longest));
            found.extend(tried.map(|len| (len, distance)));
            longest = longest.max(len);
        };
        // Inside a long copy the rest of it is good enough.
        if let Some((len, distance)) = before.filter(|(len, _)| *len > COPY_TRIED) {
            add(len - 1, distance);
            return found;
        }
        let Some(pair) = self.text.get(at..at + 2) else {
            return found;
        };
        let places = &self.pairs[&[pair[0], pair[1]]];
        let earlier = places.partition_point(|place| *place < at);
        for from in places[..earlier].iter().rev().take(PLACES_TRIED) {
            if at - from > DISTANCE_MAX {
                break;
            }
            let len = self.common(*from, at, LEN_MAX);
            add(len, at - from);
            if at + len == self.text.len() {
                break;
            }
        }
        found
    }
}

#[derive(Clone, Copy, Debug)]
enum Block {
    Literals(usize),
    Copy { len: usize, distance: usize },
}

impl Block {
    fn len(self) -> usize {
        match self {
            Self::Literals(len) | Self::Copy { len, .. } => len,
        }
    }
}

/// The cheapest way to a place in the module that is known so far, by its last block.
#[derive(Clone, Copy, Debug)]
struct Way {
    bits: usize,
    block: Block,
    /// The distance that was used last.
    distance: usize,
    /// Whether the block before was literals.
    after_literals: bool,
}

/// The shortest sequence of blocks: for each place it knows the best way that ends in literals and
/// the best that ends in a copy.
fn parse(window: &Window) -> VecDeque<Block> {
    let len = window.module().len();
    let none = Way {
        bits: usize::MAX,
        block: Block::Literals(0),
        distance: 0,
        after_literals: false,
    };
    // Ways that end in a copy, and in literals. The start is like the end of a copy.
    let mut ways = vec![[none; 2]; len + 1];
    ways[0][0].bits = 0;
    let mut longest = None;
    for at in 0..len {
        let copies = window.copies(window.start + at, longest);
        longest = copies.last().copied();
        for literals in [false, true] {
            let way = ways[at][usize::from(literals)];
            if way.bits == usize::MAX {
                continue;
            }
            let mut reach = |block: Block, bits: usize, distance: usize| {
                let is_literals = matches!(block, Block::Literals(_));
                let best = &mut ways[at + block.len()][usize::from(is_literals)];
                let bits = way.bits + bits;
                if bits < best.bits {
                    let after_literals = literals;
                    *best = Way {
                        bits,
                        block,
                        distance,
                        after_literals,
                    };
                }
            };
            for &(len, distance) in &copies {
                reach(
                    Block::Copy { len, distance },
                    copy_bits(len, distance),
                    distance,
                );
            }
            if literals {
                let (at, distance) = (window.start + at, way.distance);
                let again = match distance {
                    0 => 0,
                    _ => window.common(at - distance, at, COPY_TRIED),
                };
                for len in 1..=again {
                    let bits = 1 + number_bits(len);
                    reach(Block::Copy { len, distance }, bits, distance);
                }
            } else {
                let rest = (len - at).min(LEN_MAX);
                for len in (1..=rest.min(LITERALS_TRIED)).chain([rest]) {
                    let bits = 1 + number_bits(len) + 8 * len;
                    reach(Block::Literals(len), bits, way.distance);
                }
            }
        }
    }
    let mut blocks = VecDeque::new();
    let (mut at, mut literals) = (len, ways[len][1].bits < ways[len][0].bits);
    while at > 0 {
        let way = ways[at][usize::from(literals)];
        blocks.push_front(way.block);
        (at, literals) = (at - way.block.len(), way.after_literals);
    }
    blocks
}

/// The bits of a copy with its distance.
fn copy_bits(len: usize, distance: usize) -> usize {
    1 + number_bits(((distance - 1) >> 8) + 1) + 8 + number_bits(len - 1)
}

/// The bits of a number.
fn number_bits(number: usize) -> usize {
    2 * number.max(1).ilog2() as usize + 1
}

/// Bytes, and bits that are put into a byte of the same sequence.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// Where the byte is that takes bits.
    at: usize,
    /// How many bits that byte can still take.
    free: u32,
}

impl Writer {
    fn bit(&mut self, bit: usize) {
        if self.free == 0 {
            self.at = self.bytes.len();
            self.bytes.push(0);
            self.free = 8;
        }
        self.free -= 1;
        self.bytes[self.at] |= (bit as u8) << self.free;
    }

    fn number(&mut self, number: usize) {
        for bit in (0..number.ilog2()).rev() {
            self.bit(0);
            self.bit(number >> bit & 1);
        }
        self.bit(1);
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_tasklet::compression::expand;
    use proptest::prelude::*;

    use super::*;

    fn again(compressed: &[u8], dictionary: &[u8], len: usize) -> Vec<u8> {
        let mut plain = vec![0; len];
        expand(compressed, dictionary, &mut plain).unwrap();
        plain
    }

    /// Bytes of few values, so that much repeats.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0_u8..6, 0..400)
    }

    #[test]
    fn the_specification_s_example_is_what_is_written() {
        let spec = include_str!("../../../spec/compression.md");
        let block = spec.split("```hex").nth(1).unwrap();
        let digits = block.split("```").next().unwrap().split_whitespace();
        let vector: Vec<u8> = digits
            .map(|it| u8::from_str_radix(it, 16).unwrap())
            .collect();
        assert_eq!(compress(b"abcabcabd!", b"xyzabc"), Some(vector));
    }

    proptest! {
        #[test]
        fn what_was_compressed_expands_to_what_it_was(module in text(), dictionary in text()) {
            let compressed = compress(&module, &dictionary).unwrap();
            prop_assert_eq!(again(&compressed, &dictionary, module.len()), module);
        }

        #[test]
        fn a_cut_or_changed_module_is_refused_or_expands_to_the_length_asked_for(
            module in text(),
            at in any::<proptest::sample::Index>(),
            bit in 0_u32..8,
        ) {
            prop_assume!(!module.is_empty());
            let whole = compress(&module, b"").unwrap();
            let mut plain = vec![0; module.len()];
            for len in 0..whole.len() {
                prop_assert!(expand(&whole[..len], b"", &mut plain).is_err());
            }
            let mut changed = whole.clone();
            changed[at.index(whole.len())] ^= 1 << bit;
            let _ = expand(&changed, b"", &mut plain);
            // The right bytes with another length, or one byte more, are refused.
            prop_assert!(expand(&whole, b"", &mut plain[1..]).is_err());
            prop_assert!(expand(&whole, b"", &mut vec![0; module.len() + 1]).is_err());
            prop_assert!(expand(&[&whole[..], &[0]].concat(), b"", &mut plain).is_err());
        }
    }

    #[test]
    fn a_few_bytes_that_stand_for_very_many_write_no_more_than_there_is_room_for() {
        let bomb = compress(&[7; 60_000], b"").unwrap();
        assert!(bomb.len() < 10);
        let mut space = [0; 1000];
        assert!(expand(&bomb, b"", &mut space).is_err());
        assert_eq!(again(&bomb, b"", 60_000), [7; 60_000]);
    }

    #[test]
    fn a_dictionary_is_what_modules_have_in_common_and_shortens_one_that_it_has_not_seen() {
        let module = |own: &[u8]| [b"the same beginning ".as_slice(), own, b" and end"].concat();
        let modules = [module(b"first"), module(b"second"), module(b"third one")];
        let lent: Vec<&[u8]> = modules.iter().map(|it| &it[..]).collect();
        let made = dictionary(&lent, 64);
        assert!(made.len() <= 64 && made.windows(9).any(|it| it == b"beginning"));
        let unseen = module(b"fourth");
        let [with, without] = [&made[..], b""].map(|it| compress(&unseen, it).unwrap());
        assert!(with.len() * 2 < without.len(), "{with:?} {without:?}");
        assert_eq!(again(&with, &made, unseen.len()), unseen);
    }

    #[test]
    fn the_longest_module_is_compressed_and_a_longer_one_is_not() {
        // Bytes that hardly repeat.
        let mut random = crate::random::Random::new(1);
        let module: Vec<u8> = (0..=LEN_MAX).map(|_| random.below(256) as u8).collect();
        let longest = &module[..LEN_MAX];
        let compressed = compress(longest, b"").unwrap();
        assert_eq!(again(&compressed, b"", LEN_MAX), longest);
        assert_eq!(compress(&module, b""), None);
    }

    #[test]
    fn modules_that_have_nothing_in_common_have_an_empty_dictionary() {
        assert_eq!(dictionary(&[b"abcdefgh", b"12345678"], 64), b"");
        assert_eq!(dictionary(&[], 64), b"");
    }
}
