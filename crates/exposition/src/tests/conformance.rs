//! The reference server's files and verdicts.

use std::path::Path;

use cupola_testkit::conformance_dir;

use super::parse;
use crate::{Entry, Format};

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

// Samples, HELP, TYPE and UNIT lines.
fn count(entries: &[Entry<'_>]) -> (usize, usize, usize, usize) {
    let of = |is: fn(&Entry<'_>) -> bool| entries.iter().filter(|e| is(e)).count();
    (
        of(|e| matches!(e, Entry::Sample(_))),
        of(|e| matches!(e, Entry::Help { .. })),
        of(|e| matches!(e, Entry::Type { .. })),
        of(|e| matches!(e, Entry::Unit { .. })),
    )
}

#[test]
fn real_expositions_parse_whole() {
    let Some(dir) = conformance_dir("textparse") else {
        return;
    };
    for (file, format) in [
        ("alltypes.237mfs.prom.txt", Format::Text),
        ("alltypes.237mfs.nometa.prom.txt", Format::Text),
        ("alltypes.5mfs.om.txt", Format::OpenMetrics),
    ] {
        let body = read(&dir.join(file));
        let (entries, error) = parse(format, &body);
        assert_eq!(error, None, "{file}");
        // These files are written line by line, so counting lines is an oracle.
        let text = String::from_utf8(body.clone()).unwrap();
        let lines = |prefix: &str| text.lines().filter(|l| l.starts_with(prefix)).count();
        let samples = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).count();
        let expected = (samples, lines("# HELP "), lines("# TYPE "), lines("# UNIT "));
        assert_eq!(count(&entries), expected, "{file}");
    }
}

// Wherever a real server scraped the target, we must, and find as many samples.
#[test]
fn openmetrics_verdicts_of_a_real_server() {
    let Some(dir) = conformance_dir("openmetrics") else {
        return;
    };
    let verdicts = String::from_utf8(read(&dir.join("server-verdicts.tsv"))).unwrap();
    let (mut accepted, mut refused, mut more_lenient, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for line in verdicts.lines().filter(|l| !l.starts_with('#')) {
        let mut fields = line.split('\t');
        let (Some(case), Some(_), Some(up), Some(samples)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            panic!("verdict file has a short line: {line}");
        };
        let body = read(&dir.join(case).join("metrics"));
        let (entries, error) = parse(Format::OpenMetrics, &body);
        match (up, error) {
            ("1", None) if count(&entries).0.to_string() == samples => accepted += 1,
            ("1", error) => wrong.push(format!(
                "{case}: {samples} samples there, {} here, {error:?}",
                count(&entries).0
            )),
            ("0", Some(_)) => refused += 1,
            _ => more_lenient.push(case),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    eprintln!("openmetrics: {accepted} accepted as there, {refused} refused as there, more lenient: {more_lenient:?}");
    assert!(accepted >= 80, "only {accepted} cases were compared");
    // Prometheus 3 no longer minds exemplars on any type; names twice in a set are the scrape's to refuse.
    assert_eq!(
        more_lenient,
        [
            "bad_exemplars_on_unallowed_metric_types_1",
            "bad_exemplars_on_unallowed_metric_types_2",
            "bad_exemplars_on_unallowed_samples_0",
            "bad_exemplars_on_unallowed_samples_3",
            "bad_invalid_labels_5",
        ]
    );
}
