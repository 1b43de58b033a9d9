//! Draws the graph of the callbacks as text, Graphviz DOT, Mermaid or SVG.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::overview::{Link, Overview};

/// Format of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of text.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, for Markdown pages.
    Mermaid,
    /// A picture.
    Svg,
}

/// Draws which callback runs before which.
pub fn draw(overview: &Overview, format: Format) -> String {
    match format {
        Format::Text => text(overview),
        Format::Dot => dot(overview),
        Format::Mermaid => mermaid(overview),
        Format::Svg => svg(overview),
    }
}

fn text(overview: &Overview) -> String {
    let mut out = String::new();
    for id in &overview.order {
        let _ = writeln!(out, "{id}");
        for link in overview.edges.iter().filter(|link| link.after == *id) {
            let _ = writeln!(out, "  after {} ({})", link.before, link.short.join(", "));
        }
    }
    out
}

fn dot(overview: &Overview) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = String::from(
        "digraph callbacks {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n",
    );
    for (at, id) in overview.order.iter().enumerate() {
        let _ = writeln!(out, "  {} [label={}];", quoted(id), quoted(&format!("{}. {id}", at + 1)));
    }
    for link in &overview.edges {
        let _ = writeln!(
            out,
            "  {} -> {} [label={}];",
            quoted(&link.before),
            quoted(&link.after),
            quoted(&link.short.join(", "))
        );
    }
    out.push_str("}\n");
    out
}

fn mermaid(overview: &Overview) -> String {
    let mut out = String::from("flowchart LR\n");
    let number =
        |id: &String| overview.order.iter().position(|known| known == id).map_or(0, |at| at + 1);
    for (at, id) in overview.order.iter().enumerate() {
        let _ = writeln!(out, "  c{}[\"{}. {id}\"]", at + 1, at + 1);
    }
    for link in &overview.edges {
        let _ = writeln!(
            out,
            "  c{} -->|\"{}\"| c{}",
            number(&link.before),
            link.short.join(", "),
            number(&link.after)
        );
    }
    out
}

/// Width of a box, height of a box, space between columns, space between rows, in pixels.
const BOX: (usize, usize) = (190, 34);
const GAP: (usize, usize) = (110, 22);

/// The column of a callback is the length of the longest chain to it; rows follow the order.
fn svg(overview: &Overview) -> String {
    let places = places(overview);
    let columns = places.values().map(|place| place.0 + 1).max().unwrap_or(1);
    let rows = places.values().map(|place| place.1 + 1).max().unwrap_or(1);
    let (width, height) = (columns * (BOX.0 + GAP.0), rows * (BOX.1 + GAP.1) + GAP.1);
    let corner = |id: &str| {
        let (column, row) = places.get(id).copied().unwrap_or_default();
        (GAP.0 / 2 + column * (BOX.0 + GAP.0), GAP.1 + row * (BOX.1 + GAP.1))
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for link in &overview.edges {
        arrow(&mut out, link, corner(&link.before), corner(&link.after));
    }
    for (at, id) in overview.order.iter().enumerate() {
        let (x, y) = corner(id);
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"5\" fill=\"#eef3fa\" stroke=\"#456\"/><text x=\"{}\" y=\"{}\">{}. {}</text>",
            BOX.0,
            BOX.1,
            x + 10,
            y + 22,
            at + 1,
            escaped(id)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn arrow(out: &mut String, link: &Link, from: (usize, usize), to: (usize, usize)) {
    let (x1, y1) = (from.0 + BOX.0, from.1 + BOX.1 / 2);
    let (x2, y2) = (to.0, to.1 + BOX.1 / 2);
    let middle = (x1 + x2) / 2;
    let _ = writeln!(
        out,
        "<path d=\"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#456\" marker-end=\"url(#tip)\"><title>{}</title></path>",
        escaped(&link.reasons.join("; "))
    );
}

/// Column and row of each callback.
fn places(overview: &Overview) -> BTreeMap<&str, (usize, usize)> {
    let mut columns: BTreeMap<&str, usize> = BTreeMap::new();
    // The order is topological, so the columns of all predecessors are known.
    for id in &overview.order {
        let before = overview
            .edges
            .iter()
            .filter(|link| link.after == *id)
            .filter_map(|link| columns.get(link.before.as_str()));
        let column = before.max().map_or(0, |column| column + 1);
        columns.insert(id, column);
    }
    let mut used: BTreeMap<usize, usize> = BTreeMap::new();
    let row = |id| {
        let column = columns[id];
        let next = used.entry(column).or_default();
        *next += 1;
        (id, (column, *next - 1))
    };
    overview.order.iter().map(String::as_str).map(row).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
