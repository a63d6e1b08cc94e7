//! Panics of the database, which finds some damage only when it trips over it.

use core::cell::Cell;
use core::fmt;
use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is an answer and no news for the terminal.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Something in the database made it panic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tripped(String);

impl fmt::Display for Tripped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database fails on it: {}", self.0)
    }
}

impl core::error::Error for Tripped {}

/// Runs `work`, and makes an error of its panic, of which nothing is printed. What `work` changes must
/// not be used after a panic.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, Tripped> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_else(|| "it panics".to_owned());
        // One message is one line.
        Tripped(text.lines().next().unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_first_line() {
        assert_eq!(quietly(|| 7), Ok(7));
        let tripped = quietly(|| panic!("page {}\nof none", 3)).unwrap_err();
        let expected = "the database fails on it: page 3";
        assert_eq!(tripped.to_string(), expected);
        assert!(!QUIET.get());
    }
}
