//! The shared cases of promtool that no other test runs: files that discovery reads, targets that are URLs, metrics.

use cupola_config::DiskFiles;
use cupola_testkit::conformance_dir;

use super::*;

fn run(args: &[&str], input: &[u8]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let promtool = Promtool::try_parse_from([&["promtool"], args].concat()).unwrap();
    let code = promtool.run_with(&mut Io {
        files: &DiskFiles,
        input: &mut &*input,
        out: &mut out,
        err: &mut err,
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code.unwrap(), text(out), text(err))
}

#[test]
fn files_of_discovery_and_targets_are_checked_with_the_configuration() {
    let Some(dir) = conformance_dir("promtool") else { return };
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("p.yml");
    let job = |pattern: &str| {
        let pattern = dir.join(pattern);
        let text = format!(
            "scrape_configs: [{{job_name: a, file_sd_configs: [{{files: ['{}']}}]}}]\n",
            pattern.display()
        );
        std::fs::write(&config, text).unwrap();
        run(&["check", "config", &config.to_string_lossy()], b"")
    };
    for (pattern, told) in [
        ("good-sd-file.yml", Ok("SUCCESS")),
        ("good-sd-file.json", Ok("SUCCESS")),
        ("good-sd-file.*", Ok("SUCCESS")),
        (
            "none-*.yml",
            Ok("none-*.yml\" for file_sd in scrape job \"a\" does not exist\n"),
        ),
        ("bad-sd-file-format.yml", Err("field targats not found")),
    ] {
        // A pattern that does not end as it must is refused by the configuration itself.
        if pattern.ends_with('*') {
            assert_eq!(job(pattern).0, 1);
            continue;
        }
        let (code, out, err) = job(pattern);
        match told {
            Ok(part) => assert!(code == 0 && out.contains(part), "{pattern}: {out}{err}"),
            Err(part) => assert!(
                code == 1 && err.contains("checking SD file ") && err.contains(part),
                "{pattern}: {out}{err}"
            ),
        }
    }
    // What such a file holds is tried, too.
    let targets = home.path().join("t.yml");
    std::fs::write(&targets, "- targets: ['a:1', 'http://b']\n").unwrap();
    std::fs::write(
        &config,
        "scrape_configs: [{job_name: a, file_sd_configs: [{files: [t.yml]}]}]\n",
    )
    .unwrap();
    let (code, _, err) = run(&["check", "config", &config.to_string_lossy()], b"");
    assert!(code == 1 && err.contains("job \"a\": instance 1 in group "), "{err}");
    assert!(err.contains("\"http://b\" is not a valid hostname"), "{err}");
    let (code, _, _) = run(&["check", "config", "--syntax-only", &config.to_string_lossy()], b"");
    assert_eq!(code, 0);
    for (name, is_good) in [("good", true), ("bad", false)] {
        let file = dir.join(format!("url_in_scrape_targetgroup_with_relabel_config.{name}.yml"));
        let (code, out, err) = run(&["check", "config", &file.to_string_lossy()], b"");
        assert_eq!(code == 0, is_good, "{name}: {out}{err}");
        let told = "instance 0 in group 0: \"http://bad\" is not a valid hostname";
        assert!(is_good || err.contains(told), "{err}");
    }
}

#[test]
fn the_reference_metrics_have_no_fault() {
    let Some(dir) = conformance_dir("promtool") else { return };
    let metrics = std::fs::read(dir.join("metrics-test.prom")).unwrap();
    assert_eq!(run(&["check", "metrics"], &metrics), (0, String::new(), String::new()));
    let (code, out, _) = run(&["check", "metrics", "--extended"], &metrics);
    assert_eq!(code, 0);
    assert!(out.lines().count() > 5, "{out}");
}

#[test]
fn the_reference_dumps_are_ours() {
    let Some(dir) = conformance_dir("promtool") else { return };
    let home = tempfile::tempdir().unwrap();
    let make = |name: &str, series: &[(&str, [i64; 5])]| {
        let mut text = String::new();
        for (labels, values) in series {
            for (minute, value) in values.iter().enumerate() {
                text += &format!("{labels} {value} {}\n", 60 * minute);
            }
        }
        let (input, data) = (home.path().join(format!("{name}.om")), home.path().join(name));
        std::fs::write(&input, text + "# EOF\n").unwrap();
        let (input, data) = (
            input.to_string_lossy().into_owned(),
            data.to_string_lossy().into_owned(),
        );
        let (code, _, err) = run(&["tsdb", "create-blocks-from", "openmetrics", &input, &data], b"");
        assert_eq!((code, err), (0, String::new()));
        data
    };
    let dump = |args: &[&str], file: &str| {
        let expected = std::fs::read_to_string(dir.join(file)).unwrap();
        assert_eq!(
            run(&[&["tsdb"], args].concat(), b""),
            (0, expected, String::new()),
            "{args:?}"
        );
    };
    let data = make(
        "a",
        &[
            ("metric{foo=\"bar\",baz=\"abc\"}", [1, 2, 3, 4, 5]),
            ("heavy_metric{foo=\"bar\"}", [5, 4, 3, 2, 1]),
            ("heavy_metric{foo=\"foo\"}", [5, 4, 3, 2, 1]),
        ],
    );
    let everything: &[&str] = &[];
    for (matchers, number) in [
        (everything, 1),
        (&["--match={foo=~'.+'}", "--match={foo=~'.+'}"], 1),
        (&["--match={__name__=~'(?s:.*)'}", "--match={baz='abc'}"], 1),
        (&["--match={__name__='heavy_metric'}", "--match={baz='abc'}"], 1),
        (
            &[
                "--match={__name__='heavy_metric',foo='foo'}",
                "--match={__name__='metric'}",
            ],
            2,
        ),
        (
            &["--min-time=60000", "--max-time=120000", "--match={__name__='metric'}"],
            3,
        ),
    ] {
        let all = [&["dump", data.as_str()], matchers].concat();
        dump(&all, &format!("dump-test-{number}.prom"));
        dump(
            &[all.as_slice(), &["--format=seriesjson"]].concat(),
            &format!("dump-series-{number}.prom"),
        );
    }
    let data = make(
        "b",
        &[
            ("my_counter{foo=\"bar\",baz=\"abc\"}", [1, 2, 3, 4, 5]),
            ("my_gauge{bar=\"foo\",abc=\"baz\"}", [9, 8, 0, 4, 7]),
        ],
    );
    dump(&["dump-openmetrics", &data], "dump-openmetrics-test.prom");
}
