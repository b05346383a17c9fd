//! The chart: one bar for each ratio of ours to the peer, with a mark at the budget.

use std::fmt::Write as _;

use crate::report::Row;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 440.0;
/// The length of a bar with the ratio 1.0.
const ONE: f64 = 210.0;
/// Longer bars are cut, and their figure has an arrow.
const LONGEST: f64 = 2.25;
const LINE: f64 = 22.0;
const HEAD: f64 = 40.0;

/// It has its own background, so that it can be read on any page.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:13px}.soft{fill:#59636e}\
.card{fill:#fff;stroke:#d1d9e0}.met{fill:#2f6fb7}.over{fill:#b35900}.plain{fill:#8c959f}.one{stroke:#59636e}\
.budget{stroke:#1f2328;stroke-width:2}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.card{fill:#0d1117;stroke:#3d444d}\
.met{fill:#4a8fdd}.over{fill:#e0843a}.plain{fill:#6e7681}.one{stroke:#9198a1}.budget{stroke:#e6edf3}}";

/// Returns a chart with one panel for each table. Rows without a peer have no bar.
pub(crate) fn chart(panels: &[(&str, &[Row])]) -> String {
    let mut body = String::new();
    let mut y = 8.0;
    for (title, rows) in panels {
        let rows: Vec<_> = rows.iter().filter_map(|row| Some((row, row.ratio?))).collect();
        let one = LEFT + ONE;
        let _ = writeln!(body, r#"<text class="title" x="16" y="{}">{title}</text>"#, y + 20.0);
        let _ = writeln!(
            body,
            r#"<text class="soft" x="{one}" y="{}" text-anchor="middle">peer = 1.0</text>"#,
            y + 20.0
        );
        y += HEAD;
        #[allow(clippy::cast_precision_loss)] // tens of rows
        let end = y + LINE * rows.len() as f64;
        let _ = writeln!(
            body,
            r#"<path class="one" stroke-dasharray="3 3" d="M{one} {}V{end}"/>"#,
            y - 8.0
        );
        for (row, ratio) in rows {
            body += &bar(row, ratio, y);
            y += LINE;
        }
        y += 8.0;
    }
    let _ = writeln!(
        body,
        r#"<text class="soft" x="16" y="{}">Bar: ours ÷ peer, shorter is better. Vertical mark: the budget. Orange: over the budget. Grey: no budget.</text>"#,
        y + 14.0
    );
    let height = y + 30.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>netbind against its peers</title>\n<style>{STYLE}</style>\n\
         <rect class=\"card\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n{body}</svg>\n",
        WIDTH - 1.0,
        height - 1.0
    )
}

fn bar(row: &Row, ratio: f64, y: f64) -> String {
    let peer = row.peer.as_ref().map_or("", |(name, _)| name.as_str());
    let class = row.is_met().map_or("plain", |met| if met { "met" } else { "over" });
    let end = LEFT + ratio.min(LONGEST) * ONE;
    let mut text = String::new();
    let label = escaped(&format!("{} / {peer}", row.what));
    let _ = writeln!(
        text,
        r#"<text x="{}" y="{}" text-anchor="end">{label}</text>"#,
        LEFT - 8.0,
        y + 4.0
    );
    let _ = writeln!(
        text,
        r#"<rect class="{class}" x="{LEFT}" y="{}" width="{:.1}" height="12" rx="2"/>"#,
        y - 6.0,
        end - LEFT
    );
    let budget = row.ratio_budget().filter(|budget| *budget <= LONGEST);
    if let Some(budget) = budget {
        let _ = writeln!(
            text,
            r#"<path class="budget" d="M{:.1} {}v18"/>"#,
            LEFT + budget * ONE,
            y - 9.0
        );
    }
    let figure = if ratio > LONGEST { format!("{ratio:.2} →") } else { format!("{ratio:.2}") };
    let at = end.max(LEFT + budget.unwrap_or(0.0) * ONE) + 8.0;
    let _ = writeln!(text, r#"<text x="{at:.1}" y="{}">{figure}</text>"#, y + 4.0);
    text
}

/// Converts a label from Markdown to SVG text.
fn escaped(label: &str) -> String {
    label.replace('`', "").replace('&', "&amp;").replace('<', "&lt;")
}
