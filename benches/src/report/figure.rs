//! A plot with its caption above and the table of its figures below.
//!
//! - [`cpu`], [`throughput_of_rows`]: what a request costs each proxy, and how many it served. [`latencies`]: latency by percentile.
//!   [`throughput`]: good answers against time.

use std::time::Duration;

use super::{
    bars::{self, Bar},
    html::{self, escape},
    lines::{self, ACROSS, Axis, Line, UP},
    look::Looks,
    scale::{Scale, plain},
};
use crate::{
    results::{Distribution, Interval, Row, Spread},
    units::{self, three_digits},
};

/// The rarest percentile a curve shows: of more than this there is no plot wide enough.
const FARTHEST: f64 = 7.0;
/// The shortest latency a logarithmic axis shows.
const SHORTEST_US: f64 = 1.0;

/// One run of somebody.
pub(super) struct Story<'a> {
    pub(super) name: String,
    pub(super) latency: &'a Distribution,
    pub(super) intervals: &'a [Interval],
}

/// A figure, with what is drawn between its caption and its table.
fn figure(id: &str, title: &str, about: &str, plot: &str, table: &str) -> String {
    format!(
        "<figure aria-labelledby=\"{id}-caption\">\n<figcaption>\n<h3 id=\"{id}-caption\">{}</h3>\n<p>{}</p>\n\
         </figcaption>\n<div class=\"plot\">\n{plot}</div>\n{table}</figure>\n",
        escape(title),
        escape(about)
    )
}

/// CPU time per request; nothing when it was not measured.
pub(super) fn cpu(id: &str, looks: &Looks, rows: &[Row]) -> String {
    let mut rows: Vec<(&Row, Spread)> = rows.iter().filter_map(|row| Some((row, row.cpu_us?))).collect();
    if rows.is_empty() {
        return String::new();
    }
    rows.sort_by(|one, other| one.1.median.total_cmp(&other.1.median));
    let bars: Vec<Bar> = rows
        .iter()
        .map(|(row, cpu)| Bar {
            name: row.peer.clone(),
            look: looks.look(&row.peer),
            value: *cpu,
            remark: row.busbar_cpu_ratio.map_or_else(String::new, |ratio| match ratio.median {
                same if (same - 1.0).abs() < 0.005 => String::new(),
                median => format!("  busbar {median:.2}×"),
            }),
        })
        .collect();
    let title = "CPU time per request";
    let about = "Of the proxy and all its children, for each good answer. Less is better. The bar is the median of the rounds, the \
                 whisker reaches from the least to the most; “busbar 0.70×” means busbar needs 0.70 of it, by the rounds.";
    let aloud = bars.iter().map(|bar| format!("{} {} µs", bar.name, three_digits(bar.value.median)));
    let aloud = format!("Bars in µs: {}.", aloud.collect::<Vec<_>>().join(", "));
    let plot = bars::draw(id, (title, &aloud), "µs of CPU per request", &bars);
    let cells = rows.iter().map(|(row, cpu)| {
        vec![
            row.peer.clone(),
            three_digits(cpu.median),
            three_digits(cpu.min),
            three_digits(cpu.max),
            ratio(row.busbar_cpu_ratio),
            rounds(row),
        ]
    });
    let header = ["proxy", "median µs", "least", "most", "busbar’s ÷ its", "rounds"];
    let table = html::table("CPU time per request, in µs", &header, &cells.collect::<Vec<_>>());
    figure(id, title, about, &plot, &table)
}

/// Good answers per second of each proxy, with all other figures of the rows.
pub(super) fn throughput_of_rows(id: &str, looks: &Looks, rows: &[Row]) -> String {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by(|one, other| other.per_second.median.total_cmp(&one.per_second.median));
    let bars: Vec<Bar> = sorted
        .iter()
        .map(|row| Bar {
            name: row.peer.clone(),
            look: looks.look(&row.peer),
            value: row.per_second,
            remark: String::new(),
        })
        .collect();
    let title = "Throughput";
    let about = "Good answers per second; more is better, unless the rate was fixed or the generator's core was the limit. The bar is \
                 the median of the rounds, the whisker reaches from the least to the most.";
    let aloud = bars.iter().map(|bar| format!("{} {:.0}", bar.name, bar.value.median));
    let aloud = format!("Bars in requests per second: {}.", aloud.collect::<Vec<_>>().join(", "));
    let plot = bars::draw(id, (title, &aloud), "requests per second", &bars);
    let cells = sorted.iter().map(|row| {
        vec![
            row.peer.clone(),
            format!("{:.0}", row.per_second.median),
            ratio(row.busbar_rate_ratio),
            span(row.p50_us.median),
            span(row.p99_us.median),
            span(row.p999_us.median),
            row.rss_bytes.map_or_else(dash, |rss| units::bytes(rss.median)),
            row.failed.to_string(),
            rounds(row),
            row.idle_bytes.map_or_else(dash, |idle| units::bytes(idle.median)),
        ]
    });
    let header = [
        "proxy",
        "requests/s",
        "busbar’s ÷ its",
        "p50",
        "p99",
        "p99.9",
        "memory",
        "errors",
        "rounds",
        "per idle",
    ];
    // The last column is of scenarios with idle connections only.
    let columns = header.len() - usize::from(rows.iter().all(|row| row.idle_bytes.is_none()));
    let cells: Vec<Vec<String>> = cells.map(|row| row.into_iter().take(columns).collect()).collect();
    let header: Vec<&str> = header.into_iter().take(columns).collect();
    let table = html::table("All figures, medians of the rounds", &header, &cells);
    figure(id, title, about, &plot, &table)
}

/// Latency by percentile; nothing when there is none.
pub(super) fn latencies(id: &str, looks: &Looks, about: &str, stories: &[Story<'_>]) -> String {
    let mut stories: Vec<&Story<'_>> =
        stories.iter().filter(|story| !story.latency.curve.is_empty()).collect();
    if stories.is_empty() {
        return String::new();
    }
    stories.sort_by(|one, other| other.latency.p99_us.total_cmp(&one.latency.p99_us));
    let curves: Vec<Line> = stories.iter().map(|story| percentiles(looks, story)).collect();
    let all = || curves.iter().flat_map(|line| &line.points);
    let (most_x, most_y) = all().fold((1.0f64, 0.0f64), |(x, y), point| (x.max(point.0), y.max(point.1)));
    let least_y = all().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let nines: Vec<f64> = [0.0, 0.5f64]
        .into_iter()
        .map(rarity)
        .chain((1..=7).map(f64::from))
        .filter(|x| *x <= most_x)
        .collect();
    let x = Axis {
        title: "share of the requests that were answered as fast",
        scale: Scale::between(0.0, most_x, nines, ACROSS),
        word: share_word,
    };
    let y = Axis { title: "latency", scale: Scale::log(least_y, most_y, UP), word: span_word };
    let title = "Latency by percentile";
    let aloud = stories.iter().map(|story| format!("{} {}", story.name, span(story.latency.p99_us)));
    let aloud = format!("Curves of latency over percentile; p99: {}.", aloud.collect::<Vec<_>>().join(", "));
    let plot = lines::draw(id, (title, &aloud), &x, &y, &curves) + &lines::legend(&curves);
    let cells = stories.iter().map(|story| {
        let Distribution { p50_us, p90_us, p99_us, p999_us, p9999_us, max_us, .. } = *story.latency;
        let figures = [p50_us, p90_us, p99_us, p999_us, p9999_us, max_us].map(span);
        [story.name.clone()].into_iter().chain(figures).chain([story.latency.count.to_string()]).collect()
    });
    let header = ["", "p50", "p90", "p99", "p99.9", "p99.99", "longest", "requests"];
    let table = html::table("Latencies of the runs that are drawn", &header, &cells.collect::<Vec<_>>());
    figure(id, title, about, &plot, &table)
}

fn percentiles(looks: &Looks, story: &Story<'_>) -> Line {
    // What only the longest request reached is drawn as rare as one in all of them.
    let rarest = rarity(1.0 - 1.0 / (story.latency.count.max(1) as f64));
    let points = story.latency.curve.iter().map(|point| {
        let x = if point.share < 1.0 { rarity(point.share) } else { rarest };
        (x.min(rarest).min(FARTHEST), point.us.max(SHORTEST_US))
    });
    Line { name: story.name.clone(), look: looks.look(&story.name), points: points.collect() }
}

/// 0 for none, 1 for 90 %, 2 for 99 %, …
fn rarity(share: f64) -> f64 {
    -(1.0 - share).log10()
}

fn share_word(rarity: f64) -> String {
    match rarity {
        x if x < 0.1 => "0".to_owned(),
        x if x < 0.9 => "50 %".to_owned(),
        x => {
            let decimals = (x.round() as usize).saturating_sub(2);
            format!("{:.decimals$} %", 100.0 - 100.0 * 10f64.powf(-x))
        }
    }
}

/// Good answers against time; nothing when a single interval is all there is.
pub(super) fn throughput(id: &str, looks: &Looks, about: &str, stories: &[Story<'_>]) -> String {
    let stories: Vec<&Story<'_>> = stories.iter().filter(|story| story.intervals.len() > 1).collect();
    if stories.is_empty() {
        return String::new();
    }
    let curves: Vec<Line> = stories
        .iter()
        .map(|story| Line {
            name: story.name.clone(),
            look: looks.look(&story.name),
            points: whole(story.intervals).map(|interval| (interval.at, rate(interval))).collect(),
        })
        .collect();
    let all = || curves.iter().flat_map(|line| &line.points);
    let (most_x, most_y) = all().fold((0.0f64, 0.0f64), |(x, y), point| (x.max(point.0), y.max(point.1)));
    let x = Axis { title: "seconds", scale: Scale::until(most_x, ACROSS), word: plain };
    let y = Axis { title: "good answers per second", scale: Scale::from_zero(most_y, UP), word: plain };
    let title = "Throughput against time";
    let aloud = stories.iter().map(|story| {
        let spread = Spread::of(whole(story.intervals).map(rate));
        format!("{} {:.0}", story.name, spread.map_or(0.0, |spread| spread.median))
    });
    let aloud = format!(
        "Curves of good answers per second over time; medians: {}.",
        aloud.collect::<Vec<_>>().join(", ")
    );
    let plot = lines::draw(id, (title, &aloud), &x, &y, &curves) + &lines::legend(&curves);
    let cells = stories.iter().map(|story| {
        let rates = Spread::of(whole(story.intervals).map(rate));
        let worst = story.intervals.iter().map(|interval| interval.p99_us).fold(0.0, f64::max);
        let failed: u64 = story.intervals.iter().map(|interval| interval.failed).sum();
        let rate = |of: fn(Spread) -> f64| rates.map_or_else(dash, |rates| format!("{:.0}", of(rates)));
        vec![
            story.name.clone(),
            rate(|rates| rates.median),
            rate(|rates| rates.min),
            rate(|rates| rates.max),
            span(worst),
            failed.to_string(),
        ]
    });
    let header = ["", "median/s", "least/s", "most/s", "worst p99", "errors"];
    let table = html::table("Intervals of the runs that are drawn", &header, &cells.collect::<Vec<_>>());
    figure(id, title, about, &plot, &table)
}

/// Those that are as long as they should be: the rate of what is left at the end says nothing.
fn whole(intervals: &[Interval]) -> impl Iterator<Item = &Interval> {
    let longest = intervals.iter().map(|interval| interval.seconds).fold(0.0, f64::max);
    intervals.iter().filter(move |interval| interval.seconds > longest / 2.0)
}

fn rate(interval: &Interval) -> f64 {
    if interval.seconds > 0.0 { interval.ok as f64 / interval.seconds } else { 0.0 }
}

fn ratio(ratio: Option<Spread>) -> String {
    ratio.map_or_else(dash, |ratio| format!("{:.2}", ratio.median))
}

fn rounds(row: &Row) -> String {
    match (row.rounds, row.all_noisy) {
        ((used, _), true) => format!("{used}, all noisy"),
        ((used, 0), false) => used.to_string(),
        ((used, noisy), false) => format!("{used}, {noisy} noisy left out"),
    }
}

/// A latency in words.
pub(super) fn span(us: f64) -> String {
    units::span(Duration::try_from_secs_f64(us / 1e6).unwrap_or_default())
}

/// The same for an axis: 1 ms, not 1.00.
fn span_word(us: f64) -> String {
    let text = span(us);
    text.split_once(' ').map_or(text.clone(), |(number, unit)| match number.split_once('.') {
        Some((whole, decimals)) if decimals.bytes().all(|digit| digit == b'0') => format!("{whole} {unit}"),
        _ => text.clone(),
    })
}

fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_percentiles_are_written_with_their_nines() {
        let words: Vec<String> = [0.0, rarity(0.5), 1.0, 2.0, 3.0, 5.0].into_iter().map(share_word).collect();
        assert_eq!(words, ["0", "50 %", "90 %", "99 %", "99.9 %", "99.999 %"]);
    }

    #[test]
    fn a_round_latency_on_an_axis_has_no_decimals() {
        assert_eq!([100.0, 1000.0, 1500.0, 2e6].map(span_word), ["100 µs", "1 ms", "1.50 ms", "2 s"]);
    }
}
