//! The code blocks of a page, and what the words after the language say of each.
//!
//! | words | meaning |
//! |---|---|
//! | `sh` | a reader pastes it into a shell |
//! | `sh no-run=REASON` | the same, where it cannot be tried; [`Reason`] |
//! | `sh needs=PROGRAM` | it and what follows are tried where the program is |
//! | `LANGUAGE file=PATH` | a reader writes it into a file of the page's folder |
//! | `text output` | the block before prints these lines in this order; `...` stands for anything |

use anyhow::{Context as _, Result, bail, ensure};

/// Why a block is not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// Another step of continuous integration runs it.
    Step,
    /// It installs programs for the whole machine.
    Install,
    /// It takes a board, or the emulated one of the step `runner`.
    Board,
    /// It takes other machines, or folders of the system.
    Host,
}

impl Reason {
    const ALL: [(&str, Self); 4] = [
        ("step", Self::Step),
        ("install", Self::Install),
        ("board", Self::Board),
        ("host", Self::Host),
    ];
}

/// What is done with a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It is run.
    Run {
        /// The program without which the page ends here.
        needs: Option<String>,
    },
    /// It is not run.
    Left(Reason),
    /// It is written into a file.
    File(String),
    /// It is what the block before prints.
    Output,
    /// It is shown only.
    Shown,
}

/// A fenced block of code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Block {
    /// The line of its first fence, from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
    /// What stands between the fences.
    pub(super) text: String,
}

/// Languages whose blocks are whole files, which something must build.
const BUILT: [&str; 5] = ["c", "cpp", "rust", "ts", "zig"];

/// The blocks of a page in order.
///
/// # Errors
/// If a fence is never closed, a word is not known, or a block of a language that is built names
/// no file.
pub(super) fn blocks(page: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(words) = line.strip_prefix("```") else {
            continue;
        };
        let line = at + 1;
        let kind = kind(words).with_context(|| format!("line {line}"))?;
        let mut text = String::new();
        loop {
            let (_, line_of_text) = lines
                .next()
                .with_context(|| format!("line {line}: the block is not closed"))?;
            if line_of_text == "```" {
                break;
            }
            text.push_str(line_of_text);
            text.push('\n');
        }
        blocks.push(Block { line, kind, text });
    }
    Ok(blocks)
}

fn kind(words: &str) -> Result<Kind> {
    let mut words = words.split_whitespace();
    let language = words.next().unwrap_or_default();
    let words: Vec<&str> = words.collect();
    let value = |key| words.iter().find_map(|word| word.strip_prefix(key));
    if language == "sh" {
        return match words.as_slice() {
            [] => Ok(Kind::Run { needs: None }),
            [_] if let Some(program) = value("needs=") => Ok(Kind::Run {
                needs: Some(program.to_owned()),
            }),
            [_] if let Some(reason) = value("no-run=") => {
                let known = Reason::ALL.into_iter().find(|(name, _)| *name == reason);
                let (_, reason) = known.with_context(|| format!("no reason is called {reason}"))?;
                Ok(Kind::Left(reason))
            }
            _ => bail!("sh takes no-run=REASON or needs=PROGRAM, not {words:?}"),
        };
    }
    if language == "text" && words == ["output"] {
        return Ok(Kind::Output);
    }
    if let Some(path) = value("file=") {
        return Ok(Kind::File(path.to_owned()));
    }
    ensure!(
        !BUILT.contains(&language),
        "a block in {language} names the file that it is written to, as in {language} file=PATH"
    );
    Ok(Kind::Shown)
}

/// The first line of `expected` that `printed` has not after the ones before it.
pub(super) fn missing<'a>(expected: &'a str, printed: &str) -> Option<&'a str> {
    let mut printed = printed.lines();
    expected
        .lines()
        .find(|line| !printed.any(|printed| is_like(line, printed)))
}

/// Whether a line is that of a page, in which `...` stands for anything.
fn is_like(pattern: &str, line: &str) -> bool {
    let line = line.trim_end();
    let Some((first, rest)) = pattern.trim_end().split_once("...") else {
        return pattern.trim_end() == line;
    };
    let Some(line) = line.strip_prefix(first) else {
        return false;
    };
    let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    ends.map(|at| &line[at..]).any(|line| is_like(rest, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_its_blocks_in_order() {
        let page = "Text\n```sh\nls\n```\n```text output\nx\n```\n```c file=a/b.c\nint x;\n```\n\
            ```sh no-run=board\ncp a b\n```\n```toml node\nid = 1\n```\n```sh needs=zig\n```\n";
        let kinds: Vec<_> = blocks(page).unwrap().into_iter().map(|b| b.kind).collect();
        let expected = [
            Kind::Run { needs: None },
            Kind::Output,
            Kind::File("a/b.c".to_owned()),
            Kind::Left(Reason::Board),
            Kind::Shown,
            Kind::Run {
                needs: Some("zig".to_owned()),
            },
        ];
        assert_eq!(kinds, expected);
        let first = &blocks(page).unwrap()[0];
        assert_eq!((first.line, first.text.as_str()), (2, "ls\n"));
    }

    #[test]
    fn a_block_that_nothing_would_try_is_refused() {
        for page in [
            "```sh\nls\n",
            "```c\nint x;\n```\n",
            "```sh no-run\nls\n```\n",
            "```sh no-run=later\nls\n```\n",
        ] {
            assert!(blocks(page).is_err(), "{page}");
        }
    }

    #[test]
    fn printed_lines_are_expected_in_order_with_anything_for_dots() {
        let printed = "ready at 127.0.0.1:5683\nfuel 93, calls 0\n1005\n";
        assert_eq!(missing("fuel ..., calls 0\n1005\n", printed), None);
        assert_eq!(missing("ready ...:...\n", printed), None);
        assert_eq!(missing("1005\nfuel ...\n", printed), Some("fuel ..."));
        assert_eq!(missing("fuel 9\n", printed), Some("fuel 9"));
    }
}
