//! Bars side by side, each with the least and the most that was measured.

use std::fmt::Write as _;

use super::{
    html::escape,
    look::Look,
    scale::{Scale, plain},
};
use crate::{results::Spread, units::three_digits};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 130.0;
/// Room for the number behind a bar.
const RIGHT: f64 = 140.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;
/// From one bar to the next, and its thickness.
const STEP: f64 = 28.0;
const THICK: f64 = 18.0;

/// One bar.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) look: Look,
    pub(super) value: Spread,
    /// Behind the value.
    pub(super) remark: String,
}

/// The drawing; `id` is unique on the page, `title` and `about` are read aloud in place of it.
pub(super) fn draw(id: &str, (title, about): (&str, &str), unit: &str, bars: &[Bar]) -> String {
    let height = TOP + STEP * bars.len() as f64 + BOTTOM;
    let most = bars.iter().map(|bar| bar.value.max).fold(0.0, f64::max);
    let x = Scale::from_zero(most, (LEFT, WIDTH - RIGHT));
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-about\">\n\
         <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-about\">{}</desc>\n",
        escape(title),
        escape(about)
    );
    let floor = height - BOTTOM;
    for tick in x.ticks() {
        let at = x.at(*tick);
        let _infallible = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{floor}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            floor + 15.0,
            plain(*tick)
        );
    }
    let _infallible =
        writeln!(svg, "<text class=\"unit\" x=\"{LEFT}\" y=\"{}\">{}</text>", floor + 32.0, escape(unit));
    for (number, bar) in bars.iter().enumerate() {
        one(&mut svg, &x, TOP + STEP * (number as f64 + 0.5), bar);
    }
    let _infallible = writeln!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{TOP}\" y2=\"{floor}\"/>\n</svg>"
    );
    svg
}

fn one(svg: &mut String, x: &Scale, middle: f64, bar: &Bar) {
    let Bar { name, look, value, remark } = bar;
    let own = if look.is_own { " own" } else { "" };
    let (base, end, low, high) = (middle + 4.0, x.at(value.median), x.at(value.min), x.at(value.max));
    let _infallible = writeln!(
        svg,
        "<g><title>{name}: {median}</title>\
         <text class=\"name{own}\" x=\"{}\" y=\"{base:.1}\" text-anchor=\"end\">{name}</text>\
         <rect class=\"bar s{}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{THICK}\" rx=\"2\"/>",
        LEFT - 8.0,
        look.colour,
        middle - THICK / 2.0,
        end - LEFT,
        name = escape(name),
        median = three_digits(value.median),
    );
    if value.max > value.min {
        let (up, down) = (middle - 4.0, middle + 4.0);
        let _infallible = writeln!(
            svg,
            "<path class=\"spread\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {up:.1}V{down:.1}M{high:.1} {up:.1}V{down:.1}\"/>"
        );
    }
    let _infallible = writeln!(
        svg,
        "<text class=\"value{own}\" x=\"{:.1}\" y=\"{base:.1}\">{}<tspan class=\"tick\">{}</tspan></text></g>",
        end.max(high) + 7.0,
        three_digits(value.median),
        escape(remark),
    );
}
