//! Which colour and which mark is whose: the same on the whole page.
//!
//! Colours alone tell nobody who cannot see them apart: each has a mark of its own shape, and the variant of a proxy that writes
//! a log is dashed.

/// How many colours `style.css` has, the grey one included.
const COLOURS: usize = 9;
/// What is not a proxy but the ceiling.
const CEILING: &str = "direct";
/// Who is drawn bold, in the first colour.
const OWN: &str = "busbar";
/// What the name of a variant with a log ends in.
const LOG: &str = "+log";

/// How somebody is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) colour: usize,
    pub(super) is_dashed: bool,
    pub(super) is_own: bool,
}

/// Everybody on the page, in the order in which colours are given out.
#[derive(Debug, Clone, Default)]
pub(super) struct Looks(Vec<String>);

impl Looks {
    /// Of these names; a name may come often.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut known = vec![OWN.to_owned()];
        for name in names.map(base) {
            if name != CEILING && !known.iter().any(|other| other == name) {
                known.push(name.to_owned());
            }
        }
        Self(known)
    }

    /// The same for names of which none is ours.
    pub(super) fn of_equals<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self(names.map(str::to_owned).collect())
    }

    /// How `name` is drawn.
    pub(super) fn look(&self, name: &str) -> Look {
        let is_dashed = is_variant(name);
        let at = self.0.iter().position(|known| known == name || known == base(name));
        // When colours run out they begin again; grey is the ceiling's.
        let colour = at.map_or(COLOURS - 1, |at| at % (COLOURS - 1));
        Look { colour, is_dashed, is_own: base(name) == OWN }
    }
}

/// Whether it is the proxy before it once more, with a log.
pub(super) fn is_variant(name: &str) -> bool {
    name.ends_with(LOG)
}

fn base(name: &str) -> &str {
    name.strip_suffix(LOG).unwrap_or(name)
}

impl Look {
    /// Classes for `style.css`, beginning with a space.
    pub(super) fn classes(self) -> String {
        let dashed = if self.is_dashed { " dashed" } else { "" };
        let own = if self.is_own { " own" } else { "" };
        format!(" s{}{dashed}{own}", self.colour)
    }

    /// Its mark around a place.
    pub(super) fn mark(self, (x, y): (f64, f64)) -> String {
        let polygon = |corners: &[(f64, f64)]| {
            let points: Vec<String> =
                corners.iter().map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy)).collect();
            format!("<polygon class=\"mark s{}\" points=\"{}\"/>", self.colour, points.join(" "))
        };
        match self.colour {
            1 => polygon(&[(-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)]),
            2 => polygon(&[(0.0, -5.0), (4.5, 3.5), (-4.5, 3.5)]),
            3 => polygon(&[(0.0, -5.0), (5.0, 0.0), (0.0, 5.0), (-5.0, 0.0)]),
            4 => polygon(&[(0.0, 5.0), (4.5, -3.5), (-4.5, -3.5)]),
            5 => polygon(&[(-5.0, -1.8), (5.0, -1.8), (5.0, 1.8), (-5.0, 1.8)]),
            6 => polygon(&[(-1.8, -5.0), (1.8, -5.0), (1.8, 5.0), (-1.8, 5.0)]),
            7 => polygon(&[(-5.0, 0.0), (3.5, -4.5), (3.5, 4.5)]),
            8 => polygon(&[(5.0, 0.0), (-3.5, -4.5), (-3.5, 4.5)]),
            _ => format!("<circle class=\"mark s{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>", self.colour),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_has_the_colour_of_its_proxy_and_is_dashed() {
        let looks = Looks::of(["direct", "nginx", "busbar+log", "nginx+log", "haproxy"].into_iter());
        let (nginx, log) = (looks.look("nginx"), looks.look("nginx+log"));
        assert_eq!((nginx.colour, nginx.is_dashed), (log.colour, false));
        assert!(log.is_dashed);
        assert_ne!(nginx.colour, looks.look("haproxy").colour);
        let own = looks.look("busbar+log");
        assert!(own.is_own && own.is_dashed && own.colour == 0);
        assert_eq!(looks.look("direct").colour, COLOURS - 1);
    }
}
