//! The help of each verb.
#![allow(clippy::unwrap_used)]

mod processes;

use processes::nimblenet;

/// The width of the narrowest terminal that the help fits.
const COLUMNS: usize = 80;

fn help(args: &[&str]) -> String {
    let output = nimblenet(args);
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_help_of_each_verb_fits_a_terminal_and_has_an_example() {
    let all = help(&["--help"]);
    let verbs = all.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty());
    // The further lines of a description begin further to the right.
    let verbs = verbs.filter_map(|line| line.strip_prefix("  ").filter(|l| !l.starts_with(' ')));
    let verbs: Vec<_> = verbs.filter_map(|l| l.split(' ').next()).collect();
    assert!(verbs.contains(&"call") && verbs.contains(&"new"), "{all}");
    let of_verbs = verbs.iter().filter(|verb| **verb != "help").map(|verb| {
        let help = help(&[verb, "--help"]);
        let example = help
            .lines()
            .any(|line| line.starts_with(&format!("  nimblenet {verb}")));
        assert!(example, "{verb} has no example:\n{help}");
        help
    });
    for help in of_verbs.chain([all.clone()]) {
        let broken = broken_example(&help);
        assert_eq!(broken, None, "a command that cannot be pasted in\n{help}");
        let long = help.lines().find(|line| line.chars().count() > COLUMNS);
        assert_eq!(long, None, "longer than {COLUMNS} columns in\n{help}");
    }
}

/// A line below the examples of a help that goes on in the next one and does not say so: who pastes it gets
/// two commands.
fn broken_example(help: &str) -> Option<&str> {
    let lines: Vec<_> = help.lines().collect();
    let is_command = |line: &str| line.starts_with("  nimblenet ");
    let mut pairs = lines.iter().zip(lines.iter().skip(1));
    let mut open = false;
    let broken = pairs.find(|(line, next)| {
        open = is_command(line) || open && line.starts_with("      ");
        let goes_on = !next.is_empty() && !is_command(next) && next.starts_with(' ');
        open && goes_on && !line.ends_with('\\')
    });
    broken.map(|(line, _)| *line)
}
