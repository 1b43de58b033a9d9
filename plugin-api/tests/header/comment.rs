//! Doc comments of Rust as comments of C.

use std::collections::HashMap;

/// Width of the header.
const WIDTH: usize = 100;

/// Names of the contract in C by what doc comments call them in Rust.
#[derive(Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    pub fn add(&mut self, rust: &str, c: &str) {
        self.0.insert(rust.to_owned(), c.to_owned());
    }

    /// The C name of what a link or a code span names; the Rust name where there is no other.
    fn of(&self, rust: &str) -> String {
        let last = rust.rsplit("::").next().unwrap_or(rust);
        self.0.get(rust).or_else(|| self.0.get(last)).map_or(rust, String::as_str).to_owned()
    }
}

/// The text of the doc attributes, lines joined.
pub fn doc(attributes: &[syn::Attribute]) -> String {
    let line = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    };
    attributes.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Replaces links and paths by names of C: ``[`dtype`](super::dtype)`` is `` `FLUXBAY_DTYPE_*` ``.
fn in_c(text: &str, names: &Names) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("[`") {
        let Some(end) = rest[start..].find("`]").map(|end| start + end) else { break };
        out.push_str(&rest[..start]);
        out.push_str(&format!("`{}`", names.of(&rest[start + 2..end])));
        rest = &rest[end + 2..];
        if let Some(target) = rest.strip_prefix('(').and_then(|target| target.find(')')) {
            rest = &rest[target + 2..];
        }
    }
    out.push_str(rest);
    out.replace("Handle::NONE", "FLUXBAY_NO_TENSOR").replace("u32::MAX", "UINT32_MAX")
}

/// A comment with `indent` spaces before it, wrapped, with a line end; nothing for an empty text.
pub fn comment(text: &str, indent: usize, names: &Names) -> String {
    let text = in_c(text, names);
    let mut paragraphs: Vec<String> = vec![String::new()];
    for line in text.lines().map(str::trim) {
        let begins = line.is_empty() || line.starts_with("* ") || line.starts_with("- ");
        if begins {
            paragraphs.push(String::new());
        }
        if let Some(last) = paragraphs.last_mut() {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(line);
        }
    }
    // An empty line stays between paragraphs, none between the items of a list.
    let mut lines: Vec<String> = Vec::new();
    for paragraph in paragraphs.iter().filter(|paragraph| !paragraph.is_empty()) {
        let is_item = paragraph.starts_with("* ") || paragraph.starts_with("- ");
        if !lines.is_empty() && !is_item {
            lines.push(String::new());
        }
        let hanging = if is_item { "  " } else { "" };
        lines.extend(wrapped(paragraph, WIDTH - indent - 6, hanging));
    }
    if lines.is_empty() {
        return String::new();
    }
    let pad = " ".repeat(indent);
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let begin = if index == 0 { format!("{pad}/* ") } else { format!("{pad}   ") };
        out.push_str(format!("{begin}{line}").trim_end());
        out.push_str(if index + 1 == lines.len() { " */\n" } else { "\n" });
    }
    out
}

fn wrapped(text: &str, width: usize, hanging: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].trim().is_empty() && lines[last].len() + 1 + word.len() > width {
            lines.push(format!("{hanging}{word}"));
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

#[test]
fn links_become_names_of_c() {
    let mut names = Names::default();
    names.add("dtype", "FLUXBAY_DTYPE_*");
    let text = "Element type, a number of [`dtype`](super::handle::dtype), or [`Other`].";
    assert_eq!(
        comment(text, 4, &names),
        "    /* Element type, a number of `FLUXBAY_DTYPE_*`, or `Other`. */\n"
    );
}
