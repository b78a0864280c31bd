use super::{Block, Document, svg};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;\
color:#1a1d21;background:#fff}table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #c9ced6;\
padding:.25rem .6rem;text-align:left;font-variant-numeric:tabular-nums}th{background:#eef1f5}\
svg{max-width:100%;height:auto;display:block;margin:1rem 0}\
@media(prefers-color-scheme:dark){body{color:#e4e7eb;background:#16181c}td,th{border-color:#3a404a}\
th{background:#23272e}}";

/// Text for HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn cells(name: &str, cells: &[String]) -> String {
    let cells: String = cells
        .iter()
        .map(|cell| format!("<{name}>{}</{name}>", escaped(cell)))
        .collect();
    format!("<tr>{cells}</tr>\n")
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(heading) => format!("<h2>{}</h2>\n", escaped(heading)),
        Block::Text(text) => format!("<p>{}</p>\n", escaped(text).replace("  \n", "<br>\n")),
        Block::Table { head, rows } => {
            let rows: String = rows.iter().map(|row| cells("td", row)).collect();
            format!("<table>\n{}{rows}</table>\n", cells("th", head))
        }
        Block::Plot { title, lines, mark } => svg::dots(title, lines, *mark),
    }
}

/// The whole page.
pub(super) fn page(document: &Document) -> String {
    let title = escaped(&document.title);
    let body: String = document.blocks.iter().map(block).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}
