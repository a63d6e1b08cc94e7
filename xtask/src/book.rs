//! Tries the README and the book as a reader does: what they print is pasted into a shell, what
//! they tell to write is written, and what they show is what comes.
//!
//! Each page has a folder of its own, in which its blocks run one after the other in one shell.
//! `nimblenet` is the debug build, and `NIMBLENET` this checkout. Daemons go on to the end of the
//! page; the shell waits until they say that they are ready.

mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use self::page::{Block, Kind};
use crate::step::now;
use crate::workspace;

/// The most that a page may take.
const PAGE_MAX_SECONDS: u32 = 300;

/// What the shell knows before the first block.
const PROLOGUE: &str = include_str!("book/prologue.sh");

/// Tries all pages and prints how many blocks of each ran.
///
/// # Errors
/// If a page's words are not known, a command fails, or prints something else than the page says.
pub(crate) fn run() -> Result<()> {
    workspace::run(workspace::cargo().args(["build", "--quiet", "-p", "nimblenet"]))?;
    let target = workspace::target_directory()?;
    let folder = target.join("book");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("clearing the folder of the book")?;
    }
    let mut failed = Vec::new();
    println!("{:<24} run, not run, written, seconds", "");
    for path in pages()? {
        let page = Page::open(&path, &target)?;
        if let Err(error) = page.run() {
            println!("{path}: {error:#}");
            failed.push(path);
        }
    }
    ensure!(failed.is_empty(), "{} fail", failed.join(", "));
    Ok(())
}

/// The README and the book.
fn pages() -> Result<Vec<String>> {
    let mut pages = workspace::files()?;
    pages
        .retain(|path| path == "README.md" || (path.starts_with("docs/") && path.ends_with(".md")));
    Ok(pages)
}

/// A page and the folder that it is tried in.
struct Page<'a> {
    path: &'a str,
    blocks: Vec<Block>,
    folder: PathBuf,
    /// What was printed, a file for each block, and the script.
    logs: PathBuf,
    target: &'a Path,
}

impl<'a> Page<'a> {
    fn open(path: &'a str, target: &'a Path) -> Result<Self> {
        let text = fs::read_to_string(workspace::root().join(path))?;
        let blocks = page::blocks(&text).with_context(|| path.to_owned())?;
        let name = Path::new(path).file_stem().context("a page has a name")?;
        let folder = target.join("book").join(name);
        let logs = folder.with_extension("logs");
        Ok(Self {
            path,
            blocks,
            folder,
            logs,
            target,
        })
    }

    fn run(&self) -> Result<()> {
        let begin = now();
        let (tried, without) = self.tried();
        fs::create_dir_all(&self.folder)?;
        fs::create_dir_all(&self.logs)?;
        let script = self.logs.join("script.sh");
        fs::write(&script, self.script(tried))?;
        let shell = self.shell().arg(&script).output();
        let shell = shell.context("cannot start bash by timeout")?;
        if !shell.status.success() {
            let last = tried.iter().rev().find(|block| self.log(block).exists());
            let line = last.map_or(0, |block| block.line);
            let printed = last.map(|block| self.printed(block)).transpose()?;
            let error = String::from_utf8_lossy(&shell.stderr);
            bail!(
                "the block at line {line} failed ({}):\n{}{error}",
                shell.status,
                printed.unwrap_or_default()
            );
        }
        self.compare(tried)?;
        let count = |wanted: fn(&Kind) -> bool| tried.iter().filter(|b| wanted(&b.kind)).count();
        println!(
            "{:<24} {:>3} {:>8} {:>8} {:>8.1}{}",
            self.path,
            count(|kind| matches!(kind, Kind::Run { .. })),
            count(|kind| matches!(kind, Kind::Left(_))),
            count(|kind| matches!(kind, Kind::File(_))),
            begin.elapsed().as_secs_f64(),
            without.map_or_else(String::new, |program| format!(
                "  up to what needs {program}, which is not installed here"
            ))
        );
        Ok(())
    }

    /// The blocks up to the first that needs a program which is not here, and that program.
    fn tried(&self) -> (&[Block], Option<&str>) {
        for (at, block) in self.blocks.iter().enumerate() {
            if let Kind::Run {
                needs: Some(program),
            } = &block.kind
                && !self.is_here(program)
            {
                return (&self.blocks[..at], Some(program));
            }
        }
        (&self.blocks, None)
    }

    fn is_here(&self, program: &str) -> bool {
        let mut shell = self.shell();
        let found = shell
            .args(["-c", &format!("command -v {program}")])
            .output();
        found.is_ok_and(|found| found.status.success())
    }

    /// A shell in the page's folder.
    fn shell(&self) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let built = [self.target.join("debug")];
        // Where the step `templates` puts the compiler of Zig.
        let fetched = [self.target.join("ziglang/ziglang")];
        let folders = built.into_iter().chain(std::env::split_paths(&path));
        let mut command = Command::new("timeout");
        command.args([&PAGE_MAX_SECONDS.to_string(), "bash"]);
        if self.folder.exists() {
            command.current_dir(&self.folder);
        }
        command
            .env(
                "PATH",
                std::env::join_paths(folders.chain(fetched)).unwrap_or(path),
            )
            .env("NIMBLENET", workspace::root())
            .env("LOGS", &self.logs);
        command
    }

    /// The page as one script.
    fn script(&self, tried: &[Block]) -> String {
        let mut script = PROLOGUE.to_owned();
        for block in tried {
            let text = &block.text;
            match &block.kind {
                Kind::Run { .. } => {
                    let log = self.log(block);
                    script += &format!("{{\n{text}}} >'{}' 2>&1\n", log.display());
                }
                Kind::File(path) => {
                    let path = self.folder.join(path);
                    let above = path.parent().unwrap_or(&self.folder);
                    script += &format!(
                        "mkdir -p '{}'\ncat >'{}' <<'END-OF-BLOCK'\n{text}END-OF-BLOCK\n",
                        above.display(),
                        path.display()
                    );
                }
                Kind::Left(_) | Kind::Output | Kind::Shown => {}
            }
        }
        script
    }

    /// Holds what was printed against what the page shows.
    fn compare(&self, tried: &[Block]) -> Result<()> {
        let mut before = None;
        for block in tried {
            match block.kind {
                Kind::Run { .. } => before = Some(block),
                Kind::Output => {
                    let line = block.line;
                    let before =
                        before.with_context(|| format!("line {line}: nothing ran before"))?;
                    let printed = self.printed(before)?;
                    if let Some(missing) = page::missing(&block.text, &printed) {
                        bail!("line {line} shows {missing:?}, but this came:\n{printed}");
                    }
                }
                Kind::Left(_) | Kind::File(_) | Kind::Shown => {}
            }
        }
        Ok(())
    }

    /// Where the shell puts what a block prints.
    fn log(&self, block: &Block) -> PathBuf {
        self.logs.join(format!("{}.txt", block.line))
    }

    fn printed(&self, block: &Block) -> Result<String> {
        let bytes = fs::read(self.log(block)).context("what a block printed")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
