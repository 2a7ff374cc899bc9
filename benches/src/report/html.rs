//! Text in markup, and the frame of the page.
//!
//! - [`escape`]: the only way text gets into the page.
//! - [`Chapter`], [`page`]: the whole document. [`table`]: a table that scrolls by itself when it is too wide.

use std::fmt;

const STYLE: &str = include_str!("style.css");

/// Text as markup, in elements and in quoted attributes.
pub(super) fn escape<T: fmt::Display>(text: T) -> Escaped<T> {
    Escaped(text)
}

/// See [`escape`].
pub(super) struct Escaped<T>(T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl fmt::Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| match c {
                    '&' => self.0.write_str("&amp;"),
                    '<' => self.0.write_str("&lt;"),
                    '>' => self.0.write_str("&gt;"),
                    '"' => self.0.write_str("&quot;"),
                    '\'' => self.0.write_str("&#39;"),
                    // Not allowed in a document, escaped or not.
                    c if c.is_control() && c != '\n' && c != '\t' => self.0.write_char('\u{fffd}'),
                    c => self.0.write_char(c),
                })
            }
        }
        write!(Escaping(f), "{}", self.0)
    }
}

/// A part of the page with a heading of its own.
pub(super) struct Chapter {
    pub(super) title: String,
    /// Markup.
    pub(super) body: String,
}

/// The document.
pub(super) fn page(title: &str, chapters: &[Chapter]) -> String {
    let title = escape(title);
    let links: String = chapters
        .iter()
        .enumerate()
        .map(|(n, chapter)| format!("<li><a href=\"#chapter-{n}\">{}</a></li>\n", escape(&chapter.title)))
        .collect();
    let nav = format!("<nav aria-label=\"Contents\">\n<ul>\n{links}</ul>\n</nav>\n");
    let nav = if chapters.len() > 1 { nav } else { String::new() };
    let sections: String = chapters
        .iter()
        .enumerate()
        .map(|(n, Chapter { title, body })| {
            format!(
                "<section id=\"chapter-{n}\" aria-labelledby=\"chapter-{n}-title\">\n\
                 <h2 id=\"chapter-{n}-title\">{}</h2>\n{body}</section>\n",
                escape(title)
            )
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>{title}</h1>\n{nav}</header>\n<main>\n{sections}</main>\n</body>\n</html>\n"
    )
}

/// A table; the first column names the rows. `rows` and `header` are text, not markup.
pub(super) fn table(caption: &str, header: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = header.iter().map(|cell| format!("<th scope=\"col\">{}</th>", escape(cell))).collect();
    let body: String = rows
        .iter()
        .map(|row| {
            let cells = row.iter().enumerate().map(|(n, cell)| match n {
                0 => format!("<th scope=\"row\">{}</th>", escape(cell)),
                _ => format!("<td>{}</td>", escape(cell)),
            });
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        })
        .collect();
    let caption = escape(caption);
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\n<table>\n\
         <caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n"
    )
}

/// Names and what they are.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let items: String = facts
        .iter()
        .map(|(name, value)| format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value)))
        .collect();
    format!("<dl>\n{items}</dl>\n")
}

/// Paragraphs of a list; nothing for none.
pub(super) fn list(class: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item))).collect();
    format!("<ul class=\"{class}\">\n{items}</ul>\n")
}
