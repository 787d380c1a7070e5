//! `_created` lines of OpenMetrics.

use proptest::prelude::*;

use super::*;

fn bench(more: &str) -> Bench {
    let mut bench = Bench::new(more);
    bench.ingester = bench.ingester.with_starts(true);
    bench
}

// What is appended, without the labels of the target, and how many samples there were.
fn scrape(bench: &mut Bench, ts: i64, format: Format, body: &str) -> (Vec<String>, usize) {
    let Bench {
        config,
        ingester,
        recorder,
        metrics,
    } = bench;
    recorder.samples.lock().clear();
    let counts = batch(&*recorder, |appender| {
        ingester.body(config, metrics, format, body.as_bytes(), ts, appender)
    });
    let counts = counts.unwrap().unwrap();
    let lines = recorder.samples.lock().clone();
    let own = r#", instance="t:1", job="j""#;
    let plain = |line: String| line.replace(own, "").replace("__name__=", "");
    (lines.into_iter().map(plain).collect(), counts.scraped)
}

#[test]
fn counters_histograms_and_summaries_count_since_their_created_line() {
    let mut bench = bench("");
    // As the Python client writes it.
    let body = "# TYPE c counter\nc_total{x=\"1\"} 1 # {t=\"u\"} 1\nc_created{x=\"1\"} 1.5\nc_total{x=\"2\"} 2\nc_created{x=\"2\"} 2.5\n\
        # TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\nh_created 3.5\n\
        # TYPE s summary\ns_count 4\ns_created 4.5\ns_sum 5\ns{quantile=\"0.5\"} 6\n\
        # TYPE g gauge\ng_created 7\n# TYPE n counter\nn_total 8\n# EOF\n";
    for ts in [10_000, 20_000, 30_000] {
        let (lines, scraped) = scrape(&mut bench, ts, Format::OpenMetrics, body);
        let line = |series: &str, rest: &str| format!("{{{series}}} {rest} @{ts}");
        let expected = [
            line(r#""c_total", x="1""#, "1"),
            line(r#""c_total", x="1""#, "since 1500"),
            line(r#""c_total", x="2""#, "2"),
            line(r#""c_total", x="2""#, "since 2500"),
            line(r#""h_bucket", le="1.0""#, "1"),
            line(r#""h_bucket", le="+Inf""#, "2"),
            line(r#""h_count""#, "2"),
            line(r#""h_sum""#, "3"),
            line(r#""h_bucket", le="1.0""#, "since 3500"),
            line(r#""h_bucket", le="+Inf""#, "since 3500"),
            line(r#""h_count""#, "since 3500"),
            line(r#""h_sum""#, "since 3500"),
            line(r#""s_count""#, "4"),
            line(r#""s_count""#, "since 4500"),
            line(r#""s_sum""#, "5"),
            line(r#""s_sum""#, "since 4500"),
            line(r#""s", quantile="0.5""#, "6"),
            line(r#""s", quantile="0.5""#, "since 4500"),
            line(r#""g_created""#, "7"),
            line(r#""n_total""#, "8"),
        ];
        assert_eq!(lines, expected);
        assert_eq!(scraped, 11);
    }
    // The same text in another format, and without the feature, has series of that name.
    let body = body.replace("# EOF\n", "").replace(" # {t=\"u\"} 1", "");
    let (lines, scraped) = scrape(&mut bench, 40_000, Format::Text, &body);
    assert_eq!(scraped, 15);
    assert!(
        lines.iter().any(|line| line == "{\"h_created\"} 3.5 @40000"),
        "{lines:?}"
    );
    let mut plain = Bench::new("");
    let body = format!("{body}# EOF\n");
    let (lines, scraped) = scrape(&mut plain, 1000, Format::OpenMetrics, &body);
    assert_eq!((scraped, lines.len()), (15, 15));
}

#[test]
fn a_line_that_becomes_a_created_one_has_ended_and_one_that_no_longer_is_begins() {
    let mut bench = bench("");
    let mut check = |ts, kind: &str, expected: &[&str]| {
        let body = format!("# TYPE a {kind}\na_total 1\na_created 5\n# EOF\n");
        let (lines, _) = scrape(&mut bench, ts, Format::OpenMetrics, &body);
        assert_eq!(lines, expected, "{ts}");
    };
    let (first, created) = ("{\"a_total\"}", "{\"a_created\"}");
    let one = |series: &str, what: &str| format!("{series} {what}");
    check(1000, "gauge", &[&one(first, "1 @1000"), &one(created, "5 @1000")]);
    let ended = one(created, "stale @6000");
    check(
        6000,
        "counter",
        &[&one(first, "1 @6000"), &one(first, "since 5000 @6000"), &ended],
    );
    check(
        7000,
        "counter",
        &[&one(first, "1 @7000"), &one(first, "since 5000 @7000")],
    );
    for ts in 8..30 {
        let (value, since) = (format!("1 @{ts}000"), format!("since 5000 @{ts}000"));
        check(ts * 1000, "counter", &[&one(first, &value), &one(first, &since)]);
    }
    check(30_000, "gauge", &[&one(first, "1 @30000"), &one(created, "5 @30000")]);
    check(31_000, "gauge", &[&one(first, "1 @31000"), &one(created, "5 @31000")]);
}

#[test]
fn a_metric_has_no_start_behind_its_created_line_where_another_stands_before_that() {
    let mut bench = bench("");
    let body = "# TYPE f summary\nf{quantile=\"0.5\"} 1\nother 2\nf_created 5\nf_count 3\n# EOF\n";
    let (lines, _) = scrape(&mut bench, 10_000, Format::OpenMetrics, body);
    let expected = [
        "{\"f\", quantile=\"0.5\"} 1 @10000",
        "{\"other\"} 2 @10000",
        "{\"f\", quantile=\"0.5\"} since 5000 @10000",
        "{\"f_count\"} 3 @10000",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_created_line_told_twice_that_becomes_a_series_is_taken_once() {
    let mut bench = bench("");
    let lines = "a_created 5\na_created 5\n# EOF\n";
    let counter = format!("# TYPE a counter\n{lines}");
    // Each time right behind a body where it was none.
    for (ts, format) in [(2000, Format::OpenMetrics), (4000, Format::Text)] {
        scrape(&mut bench, ts - 1000, Format::OpenMetrics, &counter);
        let taken = scrape(&mut bench, ts, format, lines).0;
        assert_eq!(taken, [format!("{{\"a_created\"}} 5 @{ts}")], "{format:?}");
    }
}

#[test]
fn a_line_told_twice_that_lay_too_far_ahead_is_taken_once() {
    let mut bench = bench("");
    let ahead = "a 1 9999999999999\na 1 9999999999999\n";
    assert_eq!(scrape(&mut bench, 1000, Format::Text, ahead).0, [""; 0]);
    let taken = scrape(&mut bench, 2000, Format::Text, "a 1\na 1\n").0;
    assert_eq!(taken, ["{\"a\"} 1 @2000"]);
}

#[test]
fn a_created_line_that_is_a_series_further_down_is_taken_in_each_scrape() {
    let both = "# TYPE a counter\na_created 5\n# TYPE a gauge\na_created 6\n# EOF\n";
    let gauge = "# TYPE a gauge\na_created 6\n# EOF\n";
    for bodies in [[both, both, both], [gauge, both, both], [both, gauge, both]] {
        let mut bench = bench("");
        for (ts, body) in [1000, 2000, 3000].into_iter().zip(bodies) {
            let (lines, _) = scrape(&mut bench, ts, Format::OpenMetrics, body);
            assert_eq!(lines, [format!("{{\"a_created\"}} 6 @{ts}")], "{body}");
        }
    }
}

#[test]
fn a_created_line_that_relabelling_drops_counts_as_no_sample_once_it_is_a_series() {
    let drop =
        "  sample_limit: 1\n  metric_relabel_configs: [{source_labels: [__name__], regex: a_created, action: drop}]\n";
    let lines = "a_total 1\na_created 5\n";
    let counter = format!("# TYPE a counter\n{lines}# EOF\n");
    let unknown = format!("{lines}# EOF\n");
    for (format, body) in [(Format::Text, lines), (Format::OpenMetrics, &unknown)] {
        let mut bench = bench(drop);
        scrape(&mut bench, 10_000, Format::OpenMetrics, &counter);
        for ts in [11_000, 12_000] {
            let (taken, scraped) = scrape(&mut bench, ts, format, body);
            assert_eq!((taken, scraped), (vec![format!("{{\"a_total\"}} 1 @{ts}")], 2));
        }
        scrape(&mut bench, 13_000, Format::OpenMetrics, &counter);
        assert_eq!(scrape(&mut bench, 14_000, format, body).0.len(), 1);
    }
}

#[test]
fn histograms_that_are_converted_and_what_stands_beside_them_keep_their_start() {
    let mut bench = bench("  convert_classic_histograms_to_nhcb: true\n");
    let body = "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\nh_created 3.5\n\
        # TYPE c counter\nc_total 1\nc_created 1.5\n# EOF\n";
    for ts in [10_000, 20_000] {
        let (lines, scraped) = scrape(&mut bench, ts, Format::OpenMetrics, body);
        let expected = [
            ("c_total", "1"),
            ("c_total", "since 1500"),
            ("h", "3"),
            ("h", "since 3500"),
        ];
        let expected = expected.map(|(name, rest)| format!("{{\"{name}\"}} {rest} @{ts}"));
        assert_eq!(lines, expected);
        assert_eq!(scraped, 2);
    }
}

// One line: which family is told, or a part of a metric and its label.
type Part = (usize, usize);

const KINDS: [&str; 4] = ["counter", "histogram", "summary", "gauge"];
const PARTS: [&str; 5] = [
    "f_total{L}",
    "f_bucket{le=\"1.0\",L}",
    "f_count{L}",
    "f{quantile=\"0.5\",L}",
    "f_created{L}",
];

fn text_of(parts: &[Part]) -> String {
    let lines = parts.iter().map(|&(part, label)| match PARTS.get(part) {
        Some(part) => format!("{} 3\n", part.replace('L', &format!("x=\"{label}\""))),
        None => format!("# TYPE f {}\n", KINDS[label % KINDS.len()]),
    });
    lines.chain(["# EOF\n".to_owned()]).collect()
}

// How many samples are taken and how many of them have a start, by upstream's rules, looked for line by line.
fn counted(parts: &[Part], format: Format) -> (usize, usize) {
    let (mut taken, mut started) = (0, 0);
    let mut kind = "unknown";
    let mut seen = std::collections::HashSet::new();
    // Whose start was found last: family and label.
    let mut last = None;
    for (at, &(part, label)) in parts.iter().enumerate() {
        if part >= PARTS.len() {
            kind = KINDS[label % KINDS.len()];
            continue;
        }
        let counts = format == Format::OpenMetrics && ["counter", "histogram", "summary"].contains(&kind);
        if !counts {
            last = None;
            taken += usize::from(seen.insert((part, label)));
            continue;
        }
        if PARTS[part].starts_with("f_created") {
            continue;
        }
        // Which name is left without its suffix, and whether there is a label that does not count.
        let family = match (kind, PARTS[part]) {
            ("counter", part) if part.starts_with("f_total") => "f",
            ("histogram", part) if part.starts_with("f_bucket") || part.starts_with("f_count") => "f",
            ("summary", part) if part.starts_with("f_count") || part.starts_with("f{quantile") => "f",
            _ => "other",
        };
        let me = (family, label);
        if last != Some(me) {
            let rest = &parts[at + 1..];
            let next = rest.iter().take_while(|(part, _)| *part < PARTS.len());
            let created = next.into_iter().find(|(part, _)| PARTS[*part].starts_with("f_created"));
            last = created.filter(|(_, label)| ("f", *label) == me).map(|_| me);
        }
        // The second one of a series is left out.
        if seen.insert((part, label)) {
            taken += 1;
            started += usize::from(last.is_some());
        }
    }
    (taken, started)
}

proptest! {
    #[test]
    fn any_lines_have_the_starts_that_a_search_for_the_next_created_line_finds(
        bodies in prop::collection::vec(
            (prop::collection::vec((0..6_usize, 0..4_usize), 0..12), prop::bool::weighted(0.8)),
            1..5,
        ),
    ) {
        let mut bench = bench("");
        for (n, (parts, is_open_metrics)) in bodies.iter().enumerate() {
            let format = if *is_open_metrics { Format::OpenMetrics } else { Format::Text };
            // Each twice, so that it is laid out as the one before.
            for again in 0..2 {
                let ts = 1000 * (2 * n as i64 + again + 10);
                let (lines, _) = scrape(&mut bench, ts, format, &text_of(parts));
                let started = lines.iter().filter(|line| line.contains(" since 3000 ")).count();
                let taken = lines.iter().filter(|line| !line.contains(" since ") && !line.contains(" stale ")).count();
                prop_assert_eq!((taken, started), counted(parts, format), "{:?} {}", format, text_of(parts));
            }
        }
    }
}
