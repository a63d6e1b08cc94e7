//! Variants of public enums that nothing makes.
//!
//! The compiler finds those of private enums. Where code only matches on a variant, or only unit
//! tests make it, it is dead.

use alloc::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ExprPath, ExprStruct, Ident, ItemEnum, ItemImpl, ItemMod, ItemType, Macro};
use syn::{Path, Type, Visibility};

use super::{File, Finding};

/// Derived traits by which values come from data, so that no code names their variants.
const FROM_DATA: [&str; 4] = ["Deserialize", "ValueEnum", "Subcommand", "Arbitrary"];

/// Checks the Rust files apart from unit tests.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut seen = Seen::default();
    for file in files.iter().filter(|file| is_user(file)) {
        // What does not parse is the compiler's to report.
        if let Ok(parsed) = syn::parse_file(&file.text) {
            seen.path.clone_from(&file.path);
            seen.visit_file(&parsed);
        }
    }
    seen.findings()
}

/// Whether a file is part of a crate, or uses one as others do: unit tests do neither.
fn is_user(file: &File) -> bool {
    let unit_test = file.path.ends_with("tests.rs")
        || file.path.contains("/src/") && file.path.contains("/tests/");
    file.has_extension(&["rs"]) && !unit_test
}

/// What the files have.
#[derive(Default)]
struct Seen {
    path: String,
    /// The type of the present `impl`.
    own: Option<String>,
    /// Public enums.
    enums: Vec<Enum>,
    /// Another name of a type.
    aliases: BTreeMap<String, String>,
    /// Types whose variants a macro makes.
    whole: BTreeSet<String>,
    /// Type and variant of what is made somewhere.
    made: BTreeSet<(String, String)>,
}

/// A public enum.
struct Enum {
    path: String,
    name: String,
    /// Its variants with their lines.
    variants: Vec<(String, usize)>,
}

impl Seen {
    fn findings(self) -> Vec<Finding> {
        let made: BTreeSet<(&str, &str)> = self
            .made
            .iter()
            .map(|(name, variant)| {
                let name = self.aliases.get(name).unwrap_or(name);
                (&name[..], &variant[..])
            })
            .collect();
        let mut findings = Vec::new();
        let enums = self.enums.iter();
        for Enum {
            path,
            name,
            variants,
        } in enums.filter(|it| !self.whole.contains(&it.name))
        {
            for (variant, line) in variants {
                if !made.contains(&(name, variant)) {
                    let what = format!("nothing makes {name}::{variant}");
                    findings.push(Finding::at(path, *line, what));
                }
            }
        }
        findings
    }

    fn note(&mut self, path: &Path) {
        let mut last = path.segments.iter().rev().map(|segment| &segment.ident);
        if let (Some(variant), Some(name)) = (last.next(), last.next()) {
            self.make(name, variant);
        }
    }

    fn make(&mut self, name: &Ident, variant: &Ident) {
        let name = match (name == "Self", &self.own) {
            (true, Some(own)) => own.clone(),
            _ => name.to_string(),
        };
        self.made.insert((name, variant.to_string()));
    }

    /// Takes every `Name::Variant` in a macro for one that is made.
    fn scan(&mut self, tokens: TokenStream) {
        let mut before: [Option<TokenTree>; 3] = [None, None, None];
        for token in tokens {
            if let TokenTree::Group(group) = &token {
                self.scan(group.stream());
            }
            if let (
                [
                    Some(TokenTree::Ident(name)),
                    Some(TokenTree::Punct(_)),
                    Some(TokenTree::Punct(colon)),
                ],
                TokenTree::Ident(variant),
            ) = (&before, &token)
                && colon.as_char() == ':'
            {
                let (name, variant) = (name.clone(), variant.clone());
                self.make(&name, &variant);
            }
            if let (
                [
                    Some(TokenTree::Ident(name)),
                    Some(TokenTree::Punct(_)),
                    Some(TokenTree::Punct(_)),
                ],
                TokenTree::Punct(dollar),
            ) = (&before, &token)
                && dollar.as_char() == '$'
            {
                // A macro makes variants from its arguments.
                self.whole.insert(name.to_string());
            }
            before.rotate_left(1);
            before[2] = Some(token);
        }
    }
}

impl<'ast> Visit<'ast> for Seen {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let outer = self.own.take();
        self.own = name_of(&item.self_ty);
        visit::visit_item_impl(self, item);
        self.own = outer;
    }

    fn visit_item_type(&mut self, item: &'ast ItemType) {
        if let Some(name) = name_of(&item.ty) {
            self.aliases.insert(item.ident.to_string(), name);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        if matches!(item.vis, Visibility::Public(_)) && !comes_from_data(&item.attrs) {
            let variants = item.variants.iter().map(|variant| {
                let line = variant.ident.span().start().line;
                (variant.ident.to_string(), line)
            });
            let variants = variants.collect();
            let name = item.ident.to_string();
            self.enums.push(Enum {
                path: self.path.clone(),
                name,
                variants,
            });
        }
    }

    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        self.note(&path.path);
    }

    fn visit_expr_struct(&mut self, made: &'ast ExprStruct) {
        self.note(&made.path);
        visit::visit_expr_struct(self, made);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if !call.path.is_ident("matches") {
            self.scan(call.tokens.clone());
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<Ident>()
                .is_ok_and(|what| what == "test")
    })
}

fn comes_from_data(attributes: &[Attribute]) -> bool {
    let mut found = false;
    for attribute in attributes.iter().filter(|it| it.path().is_ident("derive")) {
        // A derive that does not parse is the compiler's to report.
        let _ = attribute.parse_nested_meta(|derived| {
            let last = derived.path.segments.last();
            found |= last.is_some_and(|last| FROM_DATA.iter().any(|name| last.ident == name));
            Ok(())
        });
    }
    found
}

fn name_of(named: &Type) -> Option<String> {
    let Type::Path(path) = named else {
        return None;
    };
    Some(path.path.segments.last()?.ident.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let found = check(&[file("crates/a/src/lib.rs", text)]);
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_variant_that_is_only_matched_on_is_found() {
        let text = "pub enum Fate { Lost, Found(u8), Kept { by: u8 } }
            type Alias = Fate;
            impl Fate { fn lost() -> Self { Self::Lost } }
            fn name(fate: &Fate) -> bool { matches!(fate, Fate::Found(_)) }
            fn keep(fate: Fate) -> u8 { match fate { Fate::Kept { by } => by, _ => 0 } }";
        let dead = ["nothing makes Fate::Found", "nothing makes Fate::Kept"];
        assert_eq!(findings(text), dead);
        let made = "fn made() { drop(Alias::Found(1)); vec![Fate::Kept { by: 2 }]; }";
        assert!(findings(&format!("{text}{made}")).is_empty());
    }

    #[test]
    fn tests_make_nothing_and_data_makes_all() {
        let made = "#[cfg(test)] mod tests { fn made() { drop(super::Fate::Lost); } }";
        let dead = ["nothing makes Fate::Lost"];
        assert_eq!(findings(&format!("pub enum Fate {{ Lost }} {made}")), dead);
        assert!(findings("#[derive(Debug, Deserialize)] pub enum Fate { Lost }").is_empty());
        assert!(findings("enum Fate { Lost }").is_empty(), "the compiler's");
    }
}
