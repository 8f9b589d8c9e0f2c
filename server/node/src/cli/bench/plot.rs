//! Small plots as SVG: one below the other, the same sizes from left to right.

use std::fmt::Write;

use super::report::figure;

/// Several figures that depend on the same thing.
pub struct Plot {
    /// What all have in common.
    pub title: &'static str,
    /// Each with a frame of its own.
    pub lines: Vec<Line>,
}

/// One figure.
pub struct Line {
    /// What it is.
    pub title: &'static str,
    /// Where it was measured, in rising order and above 0, and what came out.
    pub points: Vec<(f64, f64)>,
}

/// Measures in units of the picture.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 40.0;
const FRAME: f64 = 80.0;

impl Plot {
    /// The picture. The horizontal axis is logarithmic, the vertical one begins at 0.
    pub fn svg(&self) -> String {
        let height = TOP + HEIGHT * self.lines.len() as f64;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{}</text>\n",
            escaped(self.title)
        );
        for (line, at) in self.lines.iter().zip(0..) {
            // Writing into memory does not fail.
            let _ = line.draw(TOP + HEIGHT * f64::from(at), &mut out);
        }
        out + "</svg>\n"
    }
}

impl Line {
    fn draw(&self, top: f64, out: &mut String) -> std::fmt::Result {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return Ok(());
        };
        let most = self.points.iter().fold(0.0_f64, |most, (_, y)| most.max(*y)).max(1e-9);
        let (from, to) = (first.0.ln(), last.0.ln());
        let across = |x: f64| {
            let share = if to > from { (x.ln() - from) / (to - from) } else { 0.5 };
            LEFT + share * (WIDTH - LEFT - RIGHT)
        };
        let (head, floor) = (top + 30.0, top + 30.0 + FRAME);
        let down = |y: f64| floor - y / most * FRAME;
        writeln!(out, "<text x=\"{LEFT}\" y=\"{}\">{}</text>", top + 12.0, escaped(self.title))?;
        let right = WIDTH - RIGHT;
        writeln!(
            out,
            "<path d=\"M{LEFT} {head}V{floor}H{right}\" fill=\"none\" stroke=\"#aaa\"/>"
        )?;
        let points: Vec<String> =
            self.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), down(*y))).collect();
        let points = points.join(" ");
        writeln!(out, "<polyline points=\"{points}\" fill=\"none\" stroke=\"#06c\"/>")?;
        for (x, y) in &self.points {
            let (left, up) = (across(*x), down(*y));
            writeln!(out, "<circle cx=\"{left:.1}\" cy=\"{up:.1}\" r=\"3\" fill=\"#06c\"/>")?;
            let label = |y: f64, number| {
                format!("<text x=\"{left:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{number}</text>")
            };
            writeln!(out, "{}", label(up - 7.0, figure(*y)))?;
            writeln!(out, "{}", label(floor + 15.0, figure(*x)))?;
        }
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_every_point_within_its_frame() {
        let points = vec![(10.0, 4.0), (100.0, 2.0), (1_000.0, 0.0)];
        let line = Line { title: "a & b", points };
        let svg = Plot { title: "<all>", lines: vec![line] }.svg();
        assert!(svg.contains("&lt;all>") && svg.contains("a &amp; b"), "{svg}");
        assert!(svg.contains("points=\"50.0,70.0 310.0,110.0 570.0,150.0\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3);
        let none = Plot { title: "none", lines: vec![Line { title: "n", points: vec![] }] };
        assert!(none.svg().ends_with("</svg>\n"));
    }
}
