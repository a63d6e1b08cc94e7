//! Reports errors to a person or a script: lines on standard error, and with `--json` also one JSON
//! document on standard output.

use alloc::borrow::Cow;
use core::fmt;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::process::ExitCode;

use nimblenet_node::config::BadConfig;
use nimblenet_node::daemon::StartError;
use nimblenet_node::remote::RemoteError;
use nimblenet_tasklet::Fault;
use serde_json::{Value as Json, json};

use crate::local::JobFailed;
use crate::output;

/// The code of an error that has none of its own.
const OTHER: &str = "failed";
/// The code of wrong usage.
const USAGE: &str = "usage";
/// A configuration file is wrong.
const BAD_CONFIG: &str = "bad-config";
/// A daemon does not start.
const CANNOT_START: &str = "cannot-start";
/// A file or the network fails.
pub(crate) const IO: &str = "io";
/// A file exists that would be overwritten.
pub(crate) const EXISTS: &str = "exists";
/// A node would refuse a module or package.
pub(crate) const REFUSED: &str = "refused";
/// A host has no address.
pub(crate) const UNKNOWN_HOST: &str = "unknown-host";
/// A compiler, or another program that builds tasklets, is missing.
pub(crate) const MISSING_PROGRAM: &str = "missing-program";
/// A tasklet fails its tests.
pub(crate) const TESTS_FAILED: &str = "tests-failed";
/// A node has not heard of a publication in time.
pub(crate) const NOT_SPREAD: &str = "not-spread";
/// A demonstration in which no call completed.
pub(crate) const NOTHING_COMPLETED: &str = "nothing-completed";
/// A scenario's file, or the command line, says what cannot be.
pub(crate) const BAD_SCENARIO: &str = "bad-scenario";
/// The file of a flow is wrong.
pub(crate) const BAD_FLOW: &str = "bad-flow";
/// A file is no trace that can be run.
pub(crate) const BAD_TRACE: &str = "bad-trace";
/// A process of a testbed has ended, or does not start.
pub(crate) const PROCESS_FAILED: &str = "process-failed";
/// The exit code of wrong usage.
const USAGE_EXIT: u8 = 2;

/// An error that has a stable code besides its sentence.
#[derive(Debug)]
pub(crate) struct Coded {
    code: Cow<'static, str>,
    message: String,
    /// Whether the verb's JSON document contains it already.
    told: bool,
}

impl Coded {
    /// An error with this code and sentence.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        let told = false;
        Self {
            code,
            message,
            told,
        }
    }

    /// The value of `error` in a JSON document.
    pub(crate) fn to_json(&self) -> Json {
        json!({ "code": self.code, "message": self.message })
    }

    /// The same, if the verb has printed it in its JSON document.
    pub(crate) fn told(self) -> Self {
        let told = true;
        Self { told, ..self }
    }
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Coded {}

/// The error that flags do not go together.
pub(crate) fn misuse(message: impl Into<String>) -> Coded {
    Coded::new(USAGE, message)
}

/// Reports why a verb failed. Returns the exit code of the process.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    if is_broken_pipe(error) {
        // The reader of the output has closed it, as `head` does: that is no failure.
        return ExitCode::SUCCESS;
    }
    let mut lines = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        lines.push_str(&format!("  because: {cause}\n"));
    }
    complain(&lines);
    let told = |cause: &Coded| cause.told;
    if json && !error.downcast_ref().is_some_and(told) {
        let message: Vec<_> = error.chain().map(ToString::to_string).collect();
        document(&code(error), &message.join(": "));
    }
    match code(error).as_str() {
        USAGE => ExitCode::from(USAGE_EXIT),
        _ => ExitCode::FAILURE,
    }
}

/// Reports clap's message about a command line: wrong usage, or the help that `--help` asks for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if let Some(unread) =
        core::error::Error::source(error).and_then(|it| it.downcast_ref::<Coded>())
        && unread.code != USAGE
    {
        // The line is right, but a file that it names is not there.
        complain(&format!("error: {unread}\n"));
        if wants_json() {
            document(&unread.code, &unread.message);
        }
        return ExitCode::FAILURE;
    }
    let printed = error.print();
    if !error.use_stderr() {
        return match printed {
            Err(lost) if lost.kind() != io::ErrorKind::BrokenPipe => {
                complain(&format!(
                    "error: standard output does not take the help: {lost}\n"
                ));
                ExitCode::FAILURE
            }
            // The reader of the help may have closed standard output.
            Ok(()) | Err(_) => ExitCode::SUCCESS,
        };
    }
    if wants_json() {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        document(USAGE, text.split("\n\n").next().unwrap_or(text).trim());
    }
    ExitCode::from(USAGE_EXIT)
}

fn wants_json() -> bool {
    std::env::args_os().any(|arg| arg == OsStr::new("--json"))
}

/// Writes to standard error, which may be closed.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn document(code: &str, message: &str) {
    let _ = output::json(&json!({ "error": { "code": code, "message": message } }));
}

/// The stable code of an error: that of the innermost cause which has one of its own; an error of the system
/// alone says no more than `io`.
pub(crate) fn code(error: &anyhow::Error) -> String {
    let is_io = error.chain().any(|cause| cause.is::<io::Error>());
    let usual = if is_io { IO } else { OTHER };
    let known = error.chain().filter_map(|cause| {
        if let Some(error) = cause.downcast_ref::<RemoteError>() {
            return Some(error.code().to_owned());
        }
        if let Some(error) = cause.downcast_ref::<Coded>() {
            return Some(error.code.clone().into_owned());
        }
        if let Some(failed) = cause.downcast_ref::<JobFailed>() {
            return Some(failed.code().to_owned());
        }
        if let Some(fault) = cause.downcast_ref::<Fault>() {
            return Some(fault.code().to_owned());
        }
        if cause.is::<BadConfig>() {
            return Some(BAD_CONFIG.to_owned());
        }
        cause.is::<StartError>().then(|| CANNOT_START.to_owned())
    });
    // What stands as the context of an error is no link of the chain.
    let said = || {
        error
            .downcast_ref::<Coded>()
            .map(|said| said.code.clone().into_owned())
    };
    known
        .last()
        .or_else(said)
        .unwrap_or_else(|| usual.to_owned())
}

/// Whether a reader of the output has gone away.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.root_cause().downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use nimblenet_core::publication::BadPackages;
    use nimblenet_node::coap::ClientError;
    use nimblenet_tasklet::api::Problem;
    use nimblenet_tasklet::{TaskletName, Trap};

    use super::*;

    const BOOK: &str = include_str!("../../../docs/codes.md");

    /// The rows of the table below a heading.
    fn rows(heading: &str) -> Vec<&'static str> {
        let part = BOOK.split("\n## ").find(|part| part.starts_with(heading));
        let lines = part.expect("the heading is there").lines();
        let rows = lines.filter(|line| line.starts_with("| "));
        rows.skip(1).collect()
    }

    fn row(code: &str, meaning: &str, remedy: &str) -> String {
        format!("| `{code}` | {} | {remedy} |", meaning.trim())
    }

    #[test]
    fn the_book_has_every_fault_trap_and_problem() {
        let faults = Fault::ALL.iter();
        let faults = faults.map(|it| row(it.code(), it.meaning(), it.remedy()));
        let faults: Vec<String> = faults.collect();
        assert_eq!(
            rows("Calls"),
            faults,
            "docs/codes.md has:\n{}",
            faults.join("\n")
        );
        let traps = Trap::ALL.iter();
        let traps = traps.map(|it| format!("| `{}` | {} |", it.code(), it.meaning().trim()));
        let traps: Vec<String> = traps.collect();
        assert_eq!(
            rows("Traps"),
            traps,
            "docs/codes.md has:\n{}",
            traps.join("\n")
        );
        let problems = Problem::ALL.iter();
        let problems = problems.map(|it| row(it.code(), it.meaning(), it.remedy()));
        let problems: Vec<String> = problems.collect();
        assert_eq!(
            rows("Requests"),
            problems,
            "docs/codes.md has:\n{}",
            problems.join("\n")
        );
    }

    #[test]
    fn the_book_has_every_reason_against_packages() {
        let source = include_str!("../../nimblenet-core/src/publication.rs");
        let (_, of_code) = source
            .split_once("pub fn code(&self)")
            .expect("it has codes");
        let (arms, _) = of_code.split_once("\n    }\n").expect("it ends");
        let codes: Vec<_> = arms.split('"').skip(1).step_by(2).collect();
        assert!(codes.contains(&"is-dictionary"), "{arms}");
        for code in codes {
            assert!(
                BOOK.contains(&format!("\n| `{code}` |")),
                "docs/codes.md lacks {code}"
            );
        }
    }

    #[test]
    fn an_error_of_the_system_does_not_hide_what_it_means() {
        let io = || anyhow::Error::from(io::Error::other("no address"));
        assert_eq!(code(&io()), IO);
        assert_eq!(code(&io().context("reading")), IO);
        assert_eq!(
            code(&io().context(Coded::new(UNKNOWN_HOST, "nohost"))),
            UNKNOWN_HOST
        );
        assert_eq!(code(&anyhow::Error::msg("else")), OTHER);
    }

    #[test]
    fn the_book_has_every_code_of_the_command_line() {
        let name: TaskletName = "shop/add".parse().expect("a name");
        let client = [
            ClientError::Refused,
            ClientError::NoAnswer,
            ClientError::Silent,
            ClientError::Reset,
            ClientError::Malformed,
            ClientError::Changed,
            ClientError::TooLarge,
        ];
        let packages = [
            BadPackages::OtherNamespace { name },
            BadPackages::Twice { name },
            BadPackages::TooMany,
            BadPackages::TooManyVersions { name },
            BadPackages::IsDictionary { name },
        ];
        let mut codes = vec![
            OTHER,
            USAGE,
            BAD_CONFIG,
            CANNOT_START,
            IO,
            EXISTS,
            REFUSED,
            UNKNOWN_HOST,
            NOTHING_COMPLETED,
            BAD_SCENARIO,
            BAD_FLOW,
            BAD_TRACE,
            PROCESS_FAILED,
            NOT_SPREAD,
            MISSING_PROGRAM,
            TESTS_FAILED,
            "outcome-unknown",
        ];
        codes.extend(client.iter().map(ClientError::code));
        codes.extend(packages.iter().map(BadPackages::code));
        codes.sort_unstable();
        let mut listed = Vec::new();
        for row in rows("The command line") {
            let mut cells = row.split('`');
            listed.push(cells.nth(1).expect("a code"));
            assert_eq!(row.matches(" | ").count(), 2, "{row}");
        }
        let mut sorted = listed.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, codes);
    }
}
