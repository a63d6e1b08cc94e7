//! Long files and long functions: not wrong, but a sign that a concept may be missing.

use super::{File, Finding};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

/// Lists Rust files and functions that are longer than the guides.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.has_extension(&["rs"])) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES {
            findings.push(Finding::of(&file.path, format!("{lines} lines")));
        }
        findings.extend(functions(file));
    }
    findings
}

/// Long functions of a formatted file, where a body ends at the indentation of its `fn`.
fn functions(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut open: Option<(usize, &str, String)> = None;
    for (number, line) in file.text.lines().enumerate() {
        let indentation = &line[..line.len() - line.trim_start().len()];
        match &open {
            None => open = name(line).map(|name| (number, indentation, name.to_string())),
            Some((begin, outer, name)) if *outer == indentation => {
                // A line at the same depth ends the function, unless it continues the signature.
                if line.starts_with(&format!("{outer}}}")) || line.ends_with(';') {
                    let lines = number - begin + 1;
                    if lines > FUNCTION_LINES {
                        let what = format!("`{name}` has {lines} lines");
                        findings.push(Finding::at(&file.path, begin + 1, what));
                    }
                    open = None;
                }
            }
            Some(_) => {}
        }
        let one_line = open.as_ref().is_some_and(|(begin, ..)| *begin == number)
            && (line.ends_with('}') || line.ends_with(';'));
        if one_line {
            open = None;
        }
    }
    findings
}

/// The name of the function whose signature begins on a line.
fn name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    loop {
        match words.next()? {
            "fn" => break,
            "const" | "async" | "unsafe" | "extern" | "\"C\"" | "default" => {}
            word if word.starts_with("pub") || word.ends_with(')') => {}
            _ => return None,
        }
    }
    words.next()?.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_long_function_is_found_where_it_begins() {
        let body = "        step();\n".repeat(80);
        let text = format!(
            "impl X {{\n    pub(crate) fn long<T>(\n        &self,\n    ) {{\n{body}    }}\n\n    fn short() {{}}\n}}\n"
        );
        let findings = check(&[file("a.rs", &text)]);
        assert_eq!(findings, [Finding::at("a.rs", 2, "`long` has 84 lines")]);
    }

    #[test]
    fn declarations_and_one_liners_have_no_body() {
        let filler = "// x\n".repeat(100);
        let text = format!("fn a();\n{filler}fn b() {{}}\n{filler}fn c(\n    x: u8,\n) {{\n}}\n");
        assert_eq!(check(&[file("a.rs", &text)]), []);
    }

    #[test]
    fn a_long_file_is_listed() {
        let findings = check(&[
            file("a.rs", &"\n".repeat(601)),
            file("a.md", &"\n".repeat(601)),
        ]);
        assert_eq!(findings, [Finding::of("a.rs", "601 lines")]);
    }
}
