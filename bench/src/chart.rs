//! The chart of a run: p50 and p99 (left, logarithmic) and what waits in the queues (right) over time, as SVG.

use std::fmt::Write as _;

use crate::timeline::Points;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 380.0;
/// Around the field: left and right for the axes, above for the legend.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 80.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 40.0;

/// Maps values to places in the field.
struct Field {
    seconds: f64,
    /// Powers of ten, of milliseconds.
    decades: (f64, f64),
    depth: f64,
}

impl Field {
    fn of(points: &Points) -> Self {
        let latest = |times: Vec<f64>| times.into_iter().fold(1.0, f64::max);
        let latencies = points.latencies.iter().map(|(at, ..)| *at);
        let depths = points.depths.iter().map(|(at, _)| *at);
        let all = || points.latencies.iter().flat_map(|(_, _, p50, p99)| [*p50, *p99]);
        let fastest = all().filter(|ms| *ms > 0.0).fold(1.0, f64::min);
        let slowest = all().fold(10.0, f64::max);
        Self {
            seconds: latest(latencies.chain(depths).collect()),
            decades: (fastest.log10().floor(), slowest.log10().ceil()),
            depth: points.depths.iter().map(|(_, depth)| *depth as f64).fold(1.0, f64::max),
        }
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + at / self.seconds * (WIDTH - LEFT - RIGHT)
    }

    fn y(share: f64) -> f64 {
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn latency(&self, ms: f64) -> f64 {
        let (least, most) = self.decades;
        Self::y((ms.max(1e-3).log10() - least) / (most - least))
    }

    fn depth(&self, depth: f64) -> f64 {
        Self::y(depth / self.depth)
    }
}

pub(crate) fn svg(title: &str, points: &Points) -> String {
    let field = Field::of(points);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    text(&mut svg, (LEFT, 20.0), "start", "black", title);
    legend(&mut svg);
    axes(&mut svg, &field);
    let depths = points.depths.iter().map(|(at, depth)| (*at, field.depth(*depth as f64)));
    line(&mut svg, &field, depths, "#999999");
    let p50 = points.latencies.iter().map(|(at, _, p50, _)| (*at, field.latency(*p50)));
    line(&mut svg, &field, p50, "#1f77b4");
    let p99 = points.latencies.iter().map(|(at, _, _, p99)| (*at, field.latency(*p99)));
    line(&mut svg, &field, p99, "#d62728");
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    text(svg, (WIDTH - 330.0, 20.0), "start", "#1f77b4", "p50");
    text(svg, (WIDTH - 290.0, 20.0), "start", "#d62728", "p99");
    text(svg, (WIDTH - 250.0, 20.0), "start", "#666666", "waiting (right)");
}

fn axes(svg: &mut String, field: &Field) {
    let (least, most) = field.decades;
    for decade in (least as i32)..=(most as i32) {
        let ms = 10_f64.powi(decade);
        grid(svg, field.latency(ms));
        text(svg, (LEFT - 6.0, field.latency(ms) + 4.0), "end", "black", &format!("{ms} ms"));
    }
    for quarter in 0..=4 {
        let depth = field.depth * f64::from(quarter) / 4.0;
        let place = (WIDTH - RIGHT + 6.0, field.depth(depth) + 4.0);
        text(svg, place, "start", "#666666", &format!("{depth:.0}"));
        let at = field.seconds * f64::from(quarter) / 4.0;
        text(svg, (field.x(at), HEIGHT - BOTTOM + 18.0), "middle", "black", &format!("{at:.0} s"));
    }
}

fn grid(svg: &mut String, y: f64) {
    let right = WIDTH - RIGHT;
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>"
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, colour: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>"
    );
}

fn line(svg: &mut String, field: &Field, places: impl Iterator<Item = (f64, f64)>, colour: &str) {
    let mut places: Vec<_> = places.map(|(at, y)| format!("{:.1},{y:.1}", field.x(at))).collect();
    if places.is_empty() {
        places.push(format!("{LEFT},{}", HEIGHT - BOTTOM));
    }
    let places = places.join(" ");
    let _ = writeln!(
        svg,
        "<polyline points=\"{places}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_stays_in_its_field() {
        let points = Points {
            latencies: vec![(1.0, 10, 0.4, 9.0), (2.0, 12, 3.0, 1500.0)],
            depths: vec![(0.5, 0), (2.0, 1_000_000)],
        };
        let field = Field::of(&points);
        assert_eq!(field.decades, (-1.0, 4.0));
        for y in [field.latency(0.4), field.latency(1500.0), field.depth(1_000_000.0)] {
            assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{y}");
        }
        assert_eq!(svg("accept", &points).matches("<polyline").count(), 3);
    }
}
