//! Draws the dashboard of a run as an SVG picture on stdout:
//!
//! ```sh
//! cargo run -p fluxbay-watch --example picture -- RUN_DIR 100 30 > docs/watch.svg
//! ```

use std::{env, path::PathBuf, time::Duration};

use fluxbay_watch::{app::App, record::Record, view};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    style::{Color, Modifier},
};

/// Width and height of a character in the picture.
const CELL: (f64, f64) = (8.4, 18.0);

fn main() -> Result<(), String> {
    let mut arguments = env::args_os().skip(1);
    let folder = arguments.next().map(PathBuf::from).ok_or("give the folder of a run")?;
    let mut size = |default: u16| {
        arguments.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(default)
    };
    let (width, height) = (size(100), size(30));
    let id = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut app = App::new(Record::new(&id, &folder), true);
    while app.update(Duration::from_secs(1)).more {}
    let mut terminal =
        Terminal::new(TestBackend::new(width, height)).map_err(|error| error.to_string())?;
    terminal.draw(|frame| view::draw(frame, &app)).map_err(|error| error.to_string())?;
    print!("{}", svg(terminal.backend().buffer()));
    Ok(())
}

/// The characters of a terminal as text elements, one for each word.
fn svg(buffer: &Buffer) -> String {
    let area = buffer.area;
    let (width, height) =
        (f64::from(area.width) * CELL.0 + 20.0, f64::from(area.height) * CELL.1 + 20.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"The dashboard of fluxbay watch in a terminal\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"14\">\n"
    );
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let style = buffer[(x, y)].style();
            let mut text = String::new();
            let from = x;
            // Browsers merge spaces, so every word has its own place.
            let is_part = |x: u16| {
                x < area.width && buffer[(x, y)].style() == style && buffer[(x, y)].symbol() != " "
            };
            while is_part(x) {
                text.push_str(buffer[(x, y)].symbol());
                x += 1;
            }
            if text.is_empty() {
                x += 1;
                continue;
            }
            let count = text.chars().count() as f64;
            let bold = if style.add_modifier.contains(Modifier::BOLD) {
                " font-weight=\"bold\""
            } else {
                ""
            };
            out.push_str(&format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" fill=\"{}\"{bold}>{}</text>\n",
                10.0 + f64::from(from) * CELL.0,
                10.0 + (f64::from(y) + 0.75) * CELL.1,
                count * CELL.0,
                color(style.fg),
                text.replace('&', "&amp;").replace('<', "&lt;")
            ));
        }
    }
    out + "</g>\n</svg>\n"
}

fn color(color: Option<Color>) -> &'static str {
    match color {
        Some(Color::Cyan) => "#39c5cf",
        Some(Color::Yellow) => "#d4a72c",
        Some(Color::Green) => "#3fb950",
        Some(Color::Red) => "#ff7b72",
        Some(Color::Magenta) => "#bc8cff",
        Some(Color::LightBlue) => "#79c0ff",
        Some(Color::LightRed) => "#ffa198",
        Some(Color::DarkGray) => "#8b949e",
        _ => "#e6edf3",
    }
}
