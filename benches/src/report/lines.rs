//! Curves in one frame, and their legend.

use std::fmt::Write as _;

use super::{html::escape, look::Look, scale::Scale};

pub(super) const WIDTH: f64 = 760.0;
pub(super) const HEIGHT: f64 = 360.0;
/// Where the frame is: from left to right, and from its floor up to its top.
pub(super) const ACROSS: (f64, f64) = (66.0, WIDTH - 16.0);
pub(super) const UP: (f64, f64) = (HEIGHT - 44.0, 12.0);
/// Marks on each curve.
const MARKS: usize = 5;

/// One curve.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) look: Look,
    /// In order of x.
    pub(super) points: Vec<(f64, f64)>,
}

/// One axis with its words.
pub(super) struct Axis<'a> {
    pub(super) title: &'a str,
    pub(super) scale: Scale,
    pub(super) word: fn(f64) -> String,
}

/// The drawing; `id` is unique on the page, `title` and `about` are read aloud in place of it.
pub(super) fn draw(
    id: &str,
    (title, about): (&str, &str),
    x: &Axis<'_>,
    y: &Axis<'_>,
    lines: &[Line],
) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-title {id}-about\">\n\
         <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-about\">{}</desc>\n",
        escape(title),
        escape(about)
    );
    frame(&mut svg, x, y);
    // Ours last, so that it is on top.
    let (own, others): (Vec<_>, Vec<_>) = lines.iter().enumerate().partition(|(_, line)| line.look.is_own);
    for (number, line) in others.into_iter().chain(own) {
        curve(&mut svg, &x.scale, &y.scale, (number, line));
    }
    svg.push_str("</svg>\n");
    svg
}

fn frame(svg: &mut String, x: &Axis<'_>, y: &Axis<'_>) {
    let ((left, right), (floor, top)) = (ACROSS, UP);
    for tick in x.scale.ticks() {
        let at = x.scale.at(*tick);
        let _infallible = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{floor}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            floor + 16.0,
            escape((x.word)(*tick))
        );
    }
    for tick in y.scale.ticks() {
        let at = y.scale.at(*tick);
        let _infallible = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 7.0,
            at + 4.0,
            escape((y.word)(*tick))
        );
    }
    let (middle, height) = (f64::midpoint(left, right), f64::midpoint(floor, top));
    let _infallible = writeln!(
        svg,
        "<path class=\"axis\" fill=\"none\" d=\"M{left} {top}V{floor}H{right}\"/>\
         <text class=\"unit\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
         <text class=\"unit\" transform=\"translate(14 {height}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        HEIGHT - 8.0,
        escape(x.title),
        escape(y.title)
    );
}

fn curve(svg: &mut String, x: &Scale, y: &Scale, (number, line): (usize, &Line)) {
    let Line { name, look, points } = line;
    let places: Vec<(f64, f64)> = points.iter().map(|(a, b)| (x.at(*a), y.at(*b))).collect();
    let Some(((first_x, first_y), rest)) = places.split_first() else { return };
    let mut path = format!("M{first_x:.1} {first_y:.1}");
    for (x, y) in rest {
        let _infallible = write!(path, "L{x:.1} {y:.1}");
    }
    let _infallible = write!(
        svg,
        "<g><title>{}</title><path class=\"curve{}\" d=\"{path}\"/>",
        escape(name),
        look.classes()
    );
    // Not at the same places as others' marks, so that curves that lie upon each other stay readable.
    let step = (places.len() / MARKS).max(1);
    let marks = places.iter().skip(number % step).step_by(step);
    svg.extend(marks.map(|place| look.mark(*place)));
    svg.push_str("</g>\n");
}

/// Who is who.
pub(super) fn legend(lines: &[Line]) -> String {
    let items: String = lines
        .iter()
        .map(|Line { name, look, .. }| {
            format!(
                "<li><svg viewBox=\"0 0 34 12\" aria-hidden=\"true\"><path class=\"curve{}\" d=\"M1 6H33\"/>{}</svg>{}</li>\n",
                look.classes(),
                look.mark((17.0, 6.0)),
                escape(name)
            )
        })
        .collect();
    format!("<ul class=\"legend\">\n{items}</ul>\n")
}
