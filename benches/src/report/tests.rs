use hdrhistogram::Histogram;

use super::*;
use crate::{
    load::{Plan, tally::Tally},
    results::{Distribution, Ended, Interval, Machine, Measurement, Missing, Row, ScenarioResult, Spread},
};

/// Whatever somebody may call something.
const NASTY: &str = "<script>alert(\"x\")</script> & 'quotes' \u{7}";

fn histogram(most_us: u64) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap();
    (1..=2000).for_each(|n| histogram.record(n * most_us / 2).unwrap());
    histogram
}

fn run(most_us: u64) -> RunResult {
    let mut tally = Tally::new();
    tally.ok = 2000;
    tally.latency = histogram(most_us);
    let interval = |n: u32, ok| Interval {
        at: f64::from(n),
        seconds: 1.0,
        ok,
        failed: 0,
        p50_us: 1.0,
        p99_us: 2.0,
        max_us: 3.0,
    };
    let intervals = (1..=3).map(|n| interval(n, 600 + u64::from(n))).collect();
    let plan = Plan::simple(([127, 0, 0, 1], 1).into(), NASTY, "/");
    let mut run = RunResult::new(&plan, Ended::Complete, (1.8e9, 3.0), &tally, false, intervals);
    run.service = Some(Distribution::of(&histogram(most_us / 2)));
    run
}

fn row(peer: &str, cpu: f64) -> Row {
    let spread = |median: f64| Spread { median, min: 0.9 * median, max: 1.1 * median };
    Row {
        peer: peer.to_owned(),
        rounds: (3, 1),
        all_noisy: false,
        per_second: spread(1e6 / cpu),
        cpu_us: Some(spread(cpu)),
        p50_us: spread(700.0),
        p99_us: spread(2000.0),
        p999_us: spread(3000.0),
        rss_bytes: None,
        idle_bytes: None,
        failed: 0,
        busbar_cpu_ratio: Some(spread(0.7)),
        busbar_rate_ratio: Some(spread(1.4)),
    }
}

fn measurement(peer: &str, round: u32, noisy: bool, most_us: u64) -> Measurement {
    Measurement {
        peer: peer.to_owned(),
        round,
        run: Some(run(most_us)),
        failure: (round == 2).then(|| NASTY.to_owned()),
        cpu_seconds: Some(1.0),
        cpu_us_per_request: Some(13.0),
        rss_bytes: None,
        idle: None,
        foreign_load: 0.0,
        noisy,
        load_core_busy: 0.99,
    }
}

fn comparison() -> Comparison {
    let peers = ["busbar", "nginx+log", NASTY];
    let scenario = |name: &str| ScenarioResult {
        name: name.to_owned(),
        about: NASTY.to_owned(),
        file: NASTY.to_owned(),
        notes: vec![NASTY.to_owned()],
        skipped: [(NASTY.to_owned(), NASTY.to_owned())].into(),
        measurements: (1..=3)
            .flat_map(|round| peers.map(|peer| measurement(peer, round, round == 3, u64::from(round) * 1000)))
            .collect(),
        rows: peers.iter().zip([13.8, 19.8, 22.0]).map(|(peer, cpu)| row(peer, cpu)).collect(),
    };
    Comparison {
        format: FORMAT,
        command: vec!["busbar-bench".to_owned(), NASTY.to_owned()],
        began_unix: 1.8e9,
        machine: Machine {
            cpu: NASTY.to_owned(),
            cores: 2,
            memory_bytes: 1 << 34,
            kernel: "6.18".to_owned(),
            open_files: 1024,
            proxy_core: 0,
            load_core: 1,
        },
        versions: [(NASTY.to_owned(), NASTY.to_owned())].into(),
        missing: vec![Missing { peer: NASTY.to_owned(), install: NASTY.to_owned() }],
        interrupted: true,
        scenarios: vec![scenario("small-64"), scenario(NASTY)],
    }
}

fn page() -> String {
    let page = Page {
        title: NASTY.to_owned(),
        runs: vec![(NASTY.to_owned(), run(1000)), ("second".to_owned(), run(5000))],
        comparisons: vec![(NASTY.to_owned(), comparison()), (NASTY.to_owned(), comparison())],
    };
    page.render()
}

/// Names and attributes of all elements in order; every element that is opened is closed.
fn elements(page: &str) -> Vec<(String, String)> {
    const VOID: [&str; 1] = ["meta"];
    let (mut open, mut all) = (Vec::<String>::new(), Vec::new());
    let markup = page.strip_prefix("<!doctype html>\n").unwrap();
    for tag in markup.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').unwrap_or_else(|| panic!("`<{tag}` does not end"));
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed where it was not open");
        } else {
            let (name, attributes) = tag.split_once([' ', '/']).unwrap_or((tag, ""));
            assert_eq!(attributes.matches('"').count() % 2, 0, "<{tag}>");
            all.push((name.to_owned(), attributes.to_owned()));
            if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name.to_owned());
            }
        }
        let is_style = all.last().is_some_and(|(name, _)| name == "style") && !tag.starts_with('/');
        assert!(is_style || !text.contains(['"', '\'', '\u{7}']), "`{text}` is not escaped");
    }
    assert_eq!(open, Vec::<String>::new(), "never closed");
    all
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    attributes.split_once(&format!("{name}=\""))?.1.split('"').next()
}

#[test]
fn every_element_is_closed_and_every_name_escaped() {
    let elements = elements(&page());
    assert!(elements.iter().all(|(name, _)| name != "script"));
    assert!(elements.iter().all(|(_, attributes)| !attributes.contains(" on")), "a handler");
    assert!(page().contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;quotes&#39;"));
}

#[test]
fn the_page_asks_nobody_for_anything() {
    let page = page();
    for (name, attributes) in elements(&page) {
        assert!(
            !["link", "img", "iframe", "object", "embed", "base", "form"].contains(&name.as_str()),
            "{name}"
        );
        assert_eq!(attribute(&attributes, "src"), None, "<{name} {attributes}>");
        let outside = attribute(&attributes, "href").is_some_and(|href| !href.starts_with('#'));
        assert!(!outside, "<{name} {attributes}>");
    }
    for outside in ["http://", "https://", "url(", "@import", "//"] {
        // What was asked of a run is told as text, and is no address.
        let told = page.replace("http://127.0.0.1:1", "");
        assert!(!told.contains(outside), "{outside}");
    }
}

#[test]
fn every_id_is_there_once_and_every_reference_leads_to_one() {
    let elements = elements(&page());
    let mut ids: Vec<&str> =
        elements.iter().filter_map(|(_, all)| attribute(all, " id").or(id_first(all))).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id is there twice");
    let mut references = 0;
    for (name, attributes) in &elements {
        let labelled = attribute(attributes, "aria-labelledby").unwrap_or_default().split(' ');
        let link = attribute(attributes, "href").and_then(|href| href.strip_prefix('#'));
        for id in labelled.filter(|id| !id.is_empty()).chain(link) {
            assert!(ids.contains(&id), "<{name}> refers to {id}");
            references += 1;
        }
    }
    assert!(references > 20, "{references}");
}

fn id_first(attributes: &str) -> Option<&str> {
    attributes.starts_with("id=").then(|| attribute(attributes, "id")).flatten()
}

#[test]
fn every_plot_is_named_and_has_its_figures_in_a_table() {
    let page = page();
    let figures: Vec<&str> =
        page.split("<figure").skip(1).map(|rest| rest.split("</figure>").next().unwrap()).collect();
    // Four for each scenario of each comparison, two for the runs.
    assert_eq!(figures.len(), 2 * 2 * 4 + 2);
    for figure in figures {
        let (_, plot) = figure.split_once("role=\"img\"").unwrap();
        let (plot, table) = plot.split_once("<table>").unwrap();
        assert!(plot.contains("<title ") && plot.contains("<desc ") && table.contains("<caption>"));
        assert!(!figure.contains("NaN") && !figure.contains("inf\""), "a place that is no number");
    }
}

#[test]
fn the_quiet_round_in_the_middle_is_drawn() {
    let mut results = comparison();
    results.scenarios.truncate(1);
    let page = Page { title: String::new(), runs: Vec::new(), comparisons: vec![("x".to_owned(), results)] };
    let (_, table) = page
        .render()
        .split_once("Latencies of the runs that are drawn</caption>")
        .map(|(a, b)| (a.len(), b.to_owned()))
        .unwrap();
    let row = table.split("<tr><th scope=\"row\">busbar</th>").nth(1).unwrap();
    // Rounds 1 and 2 were quiet; of two the later one, whose longest request took 2000 µs.
    assert!(row.split("</tr>").next().unwrap().contains("<td>2.00 ms</td>"), "{row:.300}");
}

#[test]
fn what_compare_and_run_write_is_read_and_nothing_else() {
    let run = serde_json::to_string(&run(1000)).unwrap();
    assert!(matches!(read(&run), Ok(Results::Run(_))));
    assert!(matches!(read(&serde_json::to_string(&comparison()).unwrap()), Ok(Results::Comparison(_))));
    assert!(matches!(read("{\"outcomes\":[]}"), Err(NotResults::Foreign)));
    assert!(matches!(read("{\"asked\":{},\"format\":99}"), Err(NotResults::Format(99))));
    assert!(matches!(read("{\"asked\":{},\"format\":1}"), Err(NotResults::Malformed(_))));
    assert!(matches!(read("no json"), Err(NotResults::Malformed(_))));
}

#[test]
fn results_without_any_figures_are_a_page_too() {
    let empty = RunResult::new(
        &Plan::simple(([127, 0, 0, 1], 1).into(), "x", "/"),
        Ended::GaveUp,
        (f64::NAN, 0.0),
        &Tally::new(),
        false,
        Vec::new(),
    );
    let nothing = Comparison { scenarios: vec![], ..comparison() };
    let page = Page {
        title: "x".to_owned(),
        runs: vec![("empty".to_owned(), empty)],
        comparisons: vec![("nothing".to_owned(), nothing)],
    };
    elements(&page.render());
}
