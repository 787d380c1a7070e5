//! `cupola promtool tsdb` beside Debian's promtool on the same folders, and `cupola tsdb verify|convert`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cupola_tests::{FakeServer, Finished, Home, Reply, cupola, neighbour, run};

const START: u64 = 1_700_000_000;

// Three hours of a counter in three series, of which one ends, a gauge, and every odd value.
fn input() -> String {
    let mut out = String::from("# TYPE c counter\n");
    for i in (0..3 * 3600).step_by(15) {
        for j in 0..3 {
            if j < 2 || i < 5000 {
                writeln!(out, "c_total{{a=\"x{j}\",job=\"j\"}} {} {}", i * j, START + i).unwrap();
            }
        }
    }
    out.push_str("# TYPE h histogram\n# HELP h Buckets.\n");
    for i in (0..3 * 3600).step_by(600) {
        writeln!(out, "h_bucket{{le=\"+Inf\"}} {i} {}.123", START + i).unwrap();
    }
    for (i, value) in [
        "NaN",
        "+Inf",
        "-Inf",
        "1e21",
        "123456789",
        "-0",
        "1e-7",
        "0.30000000000000004",
    ]
    .iter()
    .enumerate()
    {
        writeln!(out, "g{{n=\"{i}\",z=\"q\\\"\\\\\\n é\"}} {value} {START}.5").unwrap();
    }
    out.push_str("# EOF\n");
    out
}

fn ours(args: &[&str]) -> Finished {
    run(&mut cupola([&["promtool", "tsdb"], args].concat()), b"")
}

fn theirs(program: &Path, args: &[&str]) -> Finished {
    run(Command::new(program).arg("tsdb").args(args), b"")
}

#[track_caller]
fn ok(done: Finished) -> String {
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    done.stdout
}

// A folder of blocks that we made from `input`, with the log that Debian's promtool wants to see.
fn made(home: &Home, name: &str, text: &str) -> PathBuf {
    let input = home.write("in.om", text);
    let data = home.path().join(name);
    ok(ours(&[
        "create-blocks-from",
        "openmetrics",
        "-q",
        &input.to_string_lossy(),
        &data.to_string_lossy(),
    ]));
    with_log(&data);
    data
}

fn with_log(data: &Path) {
    std::fs::create_dir_all(data.join("wal")).unwrap();
    std::fs::write(data.join("wal/00000000"), "").unwrap();
}

// All words of a table but the ULIDs.
fn without_ulids(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .map(|line| line.split_whitespace().skip(1).collect())
        .collect()
}

#[test]
fn blocks_are_listed_and_dumped_as_promtool_does() {
    let Some(program) = neighbour("promtool") else { return };
    let home = Home::new();
    let data = made(&home, "data", &input());
    let data = data.to_string_lossy();
    for args in [
        &["list"][..],
        &["list", "-r"],
        &["dump"],
        &["dump", "--match", "c_total{a=~\"x[01]\"}"],
        &["dump", "--match={__name__!=\"c_total\"}"],
        &["dump", "--min-time=1700000060000", "--max-time", "1700000090000"],
        &["dump", "--max-time=-1"],
    ] {
        let args = [args, &[&*data]].concat();
        let expected = ok(theirs(&program, &args));
        let done = ours(&args);
        assert_eq!(done.stdout, expected, "{args:?}");
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn the_log_of_a_prometheus_is_dumped_as_promtool_does() {
    let Some(program) = neighbour("promtool") else { return };
    let home = Home::new();
    let series = home.write("series.json", SERIES);
    let out = home.path().join("out");
    let out = out.to_string_lossy();
    let series = series.to_string_lossy();
    let bench = ["bench", "write", "--metrics=9", "--scrapes=300", "--out", &out, &series];
    ok(theirs(&program, &bench));
    let data = format!("{out}/storage");
    let before = listing(Path::new(&data));
    let mine = ours(&["dump", &data]);
    assert_eq!((mine.code, mine.stderr.as_str()), (Some(0), ""));
    assert_eq!(listing(Path::new(&data)), before, "nothing is written");
    let theirs = ok(theirs(&program, &["dump", &data]));
    assert_eq!(theirs.lines().count(), 900);
    assert_eq!(mine.stdout, theirs);
}

#[test]
fn the_benchmark_writes_what_promtools_benchmark_writes() {
    let home = Home::new();
    let series = home.write("series.json", SERIES);
    let out = home.path().join("out");
    let (out, series) = (out.to_string_lossy(), series.to_string_lossy());
    let bench = ["bench", "write", "--metrics=9", "--scrapes=300", "--out", &out, &series];
    let told = ok(ours(&bench));
    let stages: Vec<&str> = told
        .lines()
        .map(|line| line.split(" duration=").next().unwrap())
        .filter(|line| !line.starts_with(" > samples/sec: "))
        .collect();
    assert_eq!(
        stages,
        [
            ">> start stage=readData",
            ">> completed stage=readData",
            ">> start stage=ingestScrapes",
            "ingestion completed",
            ">> completed stage=ingestScrapes",
            " > total samples: 900",
            ">> start stage=stopStorage",
            ">> completed stage=stopStorage",
        ]
    );
    let dumped = ok(ours(&["dump", &format!("{out}/storage")]));
    assert_eq!(dumped.lines().count(), 900);
    assert!(
        dumped.starts_with("{__name__=\"up\", job=\"a\"} 1.23457789e+08 30000\n"),
        "{dumped:.60}"
    );
    // Once more over the same folder, but not over one that holds something else.
    ok(ours(&bench));
    home.write("out/notes.txt", "mine");
    let refused = ours(&bench);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("notes.txt is not of a benchmark"),
        "{}",
        refused.stderr
    );
}

const SERIES: &str = r#"{"__name__":"up","job":"a"}
{"__name__":"up","job":"b"}
{"__name__":"up","job":"a"}
{"__name__":"x_bucket","job":"a","le":"1"}
"#;

// The names and sizes of all files below a folder.
fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            all.extend(listing(&entry.path()));
        } else {
            all.push((entry.path(), meta.len()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_block_is_analyzed_as_promtool_does() {
    let Some(program) = neighbour("promtool") else { return };
    let home = Home::new();
    let data = made(&home, "data", &input());
    let data = data.to_string_lossy();
    // Of equals promtool prints another first each time.
    let sections = |text: &str| -> Vec<Vec<String>> {
        let text = text.replace("Total Series:", "Series:");
        text.trim_end()
            .split("\n\n")
            .map(|section| {
                let mut lines: Vec<String> = section.lines().map(str::to_owned).collect();
                lines[1..].sort();
                lines
            })
            .collect()
    };
    let oldest = ok(ours(&["list", &data]));
    let oldest = oldest.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    for args in [
        &["analyze", "--limit=1000", &data][..],
        &["analyze", "--limit=1000", &data, oldest],
    ] {
        assert_eq!(sections(&ok(ours(args))), sections(&ok(theirs(&program, args))));
    }
    // New in Prometheus 3: a selector.
    let some = ok(ours(&["analyze", "--match", "{a!=\"\"}", &data, oldest]));
    for told in [
        "Matcher: {a!=\"\"}\n",
        "Matched series: 3\n",
        "Label names: 3\n",
        "Postings entries (total label pairs): 9\n",
        "Highest cardinality metric names:\n3 c_total\n",
    ] {
        assert!(some.contains(told), "{told:?} is not in {some}");
    }
    let extended = ok(ours(&["analyze", "--extended", &data, oldest]));
    assert!(
        extended.contains("\nsamples per float chunk (min/avg/max): 1/"),
        "{extended}"
    );
}

#[test]
fn blocks_are_made_as_promtool_makes_them() {
    let Some(program) = neighbour("promtool") else { return };
    let home = Home::new();
    let input = home.write("in.om", &input());
    let (input, data, other) = (
        input.to_string_lossy(),
        home.path().join("ours"),
        home.path().join("theirs"),
    );
    let make = |data: &Path| ["create-blocks-from", "openmetrics", &input, &data.to_string_lossy()].map(str::to_owned);
    let (mine, yours) = (make(&data), make(&other));
    let mine = ok(ours(&mine.each_ref().map(String::as_str)));
    let yours = ok(theirs(&program, &yours.each_ref().map(String::as_str)));
    // Times, samples, chunks, series and even bytes are the same.
    assert_eq!(without_ulids(&mine), without_ulids(&yours));
    assert_eq!(mine.lines().count(), 3);
    for data in [&data, &other] {
        with_log(data);
    }
    let (data, other) = (data.to_string_lossy(), other.to_string_lossy());
    let (mine, yours) = (
        ok(theirs(&program, &["dump", &data])),
        ok(theirs(&program, &["dump", &other])),
    );
    assert_eq!(mine, yours);
    assert_eq!(ok(ours(&["dump", &other])), yours);
}

#[test]
fn a_dump_in_openmetrics_makes_the_same_blocks_again() {
    let home = Home::new();
    let data = made(&home, "data", &input());
    let dumped = ok(ours(&["dump-openmetrics", &data.to_string_lossy()]));
    assert!(dumped.ends_with("# EOF\n"));
    let again = made(&home, "again", &dumped);
    let dump = |data: &Path| ok(ours(&["dump", &data.to_string_lossy()]));
    assert_eq!(dump(&data), dump(&again));
    assert_eq!(dump(&data).lines().count(), 1800);
}

#[test]
fn labels_are_added_and_blocks_may_be_longer() {
    let home = Home::new();
    let input = home.write("in.om", "a 1 1\na 2 8000\na{x=\"y\"} 3 71000\na 4 73000\n# EOF\n");
    let data = home.data();
    let (input, data) = (input.to_string_lossy(), data.to_string_lossy());
    let args = [
        "create-blocks-from",
        "--max-block-duration=1d",
        "openmetrics",
        "--label=x=z",
        "--label",
        "b=c",
        &input,
        &data,
    ];
    let made = ok(ours(&args));
    let rows: Vec<String> = without_ulids(&made)
        .into_iter()
        .skip(1)
        .map(|row| row.join(" "))
        .collect();
    assert!(rows[0].starts_with("1000 71000001 19h43m19.001s 3 "), "{rows:?}");
    assert!(rows[1].starts_with("73000000 73000001 1ms 1 "), "{rows:?}");
    let dumped = ok(ours(&["dump", "--format=seriesjson", &data]));
    assert_eq!(dumped, "{\"__name__\":\"a\",\"b\":\"c\",\"x\":\"z\"}\n");
}

#[test]
fn mistakes_are_told_as_promtool_tells_them() {
    let home = Home::new();
    let data = home.data();
    let data = data.to_string_lossy();
    let timestamps = "getting min and max timestamp: ";
    let add = "block creation: process blocks: add sample: ";
    // Prometheus's importer commits after 5000 samples; what is out of order with those before is an error.
    let mut late = String::new();
    for ts in 1..=5000 {
        writeln!(late, "a 1 {ts}").unwrap();
    }
    for (text, told) in [
        (
            "a 1\n# EOF\n",
            format!("{timestamps}expected timestamp for series got none"),
        ),
        ("a 1 1\n", format!("{timestamps}next: data does not end with # EOF")),
        (
            "a 1 x\n# EOF\n",
            format!("{timestamps}next: strconv.ParseFloat: parsing \"x\": invalid syntax"),
        ),
        ("", format!("{timestamps}next: data does not end with # EOF")),
        (
            "a{b=\"1\",b=\"2\"} 1 1\n# EOF\n",
            format!("{add}label name \"b\" is not unique: invalid sample"),
        ),
        (
            &format!("{late}a 1 7\n# EOF\n"),
            format!("{add}out of order sample (a at 7000 ms)"),
        ),
        (
            &format!("{late}a 2 5000\n# EOF\n"),
            format!("{add}duplicate sample for timestamp (a at 5000000 ms)"),
        ),
    ] {
        let input = home.write("in.om", text);
        let done = ours(&["create-blocks-from", "openmetrics", &input.to_string_lossy(), &data]);
        assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""), "{told}");
        assert!(done.stderr.starts_with(&told), "{told}: {}", done.stderr);
    }
    assert_eq!(std::fs::read_dir(&*data).unwrap().count(), 0, "no half block stays");
    let input = home.write("in.om", "a 1 2\na 1 1\na 1 2\n# EOF\n");
    let done = ours(&[
        "create-blocks-from",
        "openmetrics",
        "-q",
        &input.to_string_lossy(),
        &data,
    ]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), ""));
    assert!(
        done.stderr.starts_with("WARNING: 1 samples are left out: "),
        "{}",
        done.stderr
    );

    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let empty = empty.to_string_lossy();
    let rules = home.write("rules.yml", "groups: [{name: g, rules: [{record: a, expr: up}]}]");
    let rules = rules.to_string_lossy();
    for (args, code, told) in [
        (
            &["list", "nope"][..],
            1,
            "opening the db dir: stat nope: no such file or directory\n",
        ),
        (
            &["dump", "nope"],
            1,
            "opening the db dir: stat nope: no such file or directory\n",
        ),
        (
            &["analyze", "nope"],
            1,
            "opening the db dir: stat nope: no such file or directory\n",
        ),
        (&["analyze", &empty], 1, "no blocks found\n"),
        (&["analyze", &data, "NOPE"], 1, "invalid block ID NOPE\n"),
        (
            &["dump", "--match", "x{", &data],
            1,
            "1:3: parse error: unexpected end of input inside braces\n",
        ),
        (&["list", &empty], 0, ""),
        (&["dump", &empty], 0, ""),
        (
            &["create-blocks-from", "openmetrics", "nope"],
            1,
            "open nope: no such file or directory\n",
        ),
        (
            &["create-blocks-from", "rules", "--start=x", &rules],
            1,
            "error parsing start time: cannot parse \"x\" to a valid timestamp\n",
        ),
        (
            &["create-blocks-from", "rules", "--start=5", "--end=y", &rules],
            1,
            "error parsing end time: cannot parse \"y\" to a valid timestamp\n",
        ),
        (
            &["create-blocks-from", "rules", "--start=5", "--end=5", &rules],
            1,
            "start time is not before end time\n",
        ),
        (
            &["create-blocks-from", "rules", "--start=5", "nope.yml"],
            1,
            "promtool: error: path 'nope.yml' does not exist, try --help\n",
        ),
    ] {
        let done = ours(args);
        assert_eq!((done.code, done.stderr.as_str()), (Some(code), told), "{args:?}");
    }
}

#[test]
fn rules_are_evaluated_by_a_server_block_by_block() {
    let home = Home::new();
    let server = FakeServer::start(|request| {
        let body = String::from_utf8_lossy(&request.body);
        if body.contains("query=bad") {
            let text = r#"{"status":"error","errorType":"bad_data","error":"no good"}"#;
            return Reply::Body(400, "application/json", text.to_owned());
        }
        let start = body.split('&').find_map(|part| part.strip_prefix("start=")).unwrap();
        let text = format!(
            r#"{{"status":"success","warnings":["careful"],"data":{{"resultType":"matrix","result":[
            {{"metric":{{"__name__":"up","job":"j","x":"1"}},"values":[[{start},"1.5"]]}}]}}}}"#
        );
        Reply::Body(200, "application/json", text)
    });
    let rules = home.write(
        "rules.yml",
        "groups:\n- name: g\n  rules:\n  - {record: made, expr: 'up > 0', labels: {x: '', y: z}}\n  - {alert: A, expr: up}\n  - {record: b, expr: bad}\n",
    );
    let (rules, data) = (rules.to_string_lossy(), home.data());
    let data = data.to_string_lossy();
    let url = server.url("/prefix/");
    let args = [
        "create-blocks-from",
        "rules",
        "--start=1970-01-01T01:00:00Z",
        "--end=14300",
        "--eval-interval=1h",
        "--url",
        &url,
        "--output-dir",
        &data,
        &rules,
    ];
    let done = ours(&args);
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""));
    for told in [
        "msg=\"new rule importer\" component=backfiller start=\"01 Jan 70 01:00 UTC\" end=\"01 Jan 70 03:58 UTC\"",
        "component=backfiller id=0 name=made",
        "warnings=\"careful\"",
        "rule importer error: query range: bad_data: no good\n",
        "error importing rules\n",
    ] {
        assert!(done.stderr.contains(told), "{told}: {}", done.stderr);
    }
    assert!(!done.stderr.contains("name=A"), "{}", done.stderr);
    let asked = server.requests("/prefix/api/v1/query_range");
    let bodies: Vec<String> = asked
        .iter()
        .map(|r| String::from_utf8_lossy(&r.body).into_owned())
        .collect();
    let starts: Vec<f64> = bodies
        .iter()
        .filter(|body| body.starts_with("query=up+%3E+0&") || body.starts_with("query=up%20%3E%200&"))
        .map(|body| {
            body.split('&')
                .nth(1)
                .unwrap()
                .trim_start_matches("start=")
                .parse()
                .unwrap()
        })
        .collect();
    assert_eq!(starts.len(), 2, "{bodies:?}");
    assert!((3600.0..7200.0).contains(&starts[0]), "{bodies:?}");
    let slot = |start: f64| (start * 1000.0) as i64 % 3_600_000;
    assert_eq!(slot(starts[0]), slot(starts[1]));
    let dumped = ok(ours(&["dump", &data]));
    let expected: Vec<String> = starts
        .iter()
        .map(|start| {
            format!(
                "{{__name__=\"made\", job=\"j\", y=\"z\"}} 1.5 {}",
                (start * 1000.0).round()
            )
        })
        .collect();
    assert_eq!(dumped.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn verify_tells_each_fault_with_its_byte() {
    let home = Home::new();
    let data = made(&home, "data", &input());
    let verify = || run(&mut cupola(["tsdb", "verify", &data.to_string_lossy()]), b"");
    let done = verify();
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{}", done.stdout);
    assert_eq!(done.stdout.matches(": ok: ").count(), 2, "{}", done.stdout);
    assert!(done.stdout.ends_with("\n2 blocks, 0 with faults\n"), "{}", done.stdout);

    let list = ok(ours(&["list", &data.to_string_lossy()]));
    let block = list.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    let segment = data.join(block).join("chunks/000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let broken = data.join("01M887VKTP0WM0BFM118DR0KEQ");
    std::fs::create_dir(&broken).unwrap();
    let done = verify();
    assert_eq!((done.code, done.stderr.as_str()), (Some(1), ""), "{}", done.stdout);
    for told in [
        &format!("block {block}: chunk segment 000001: checksum mismatch at byte 8\n{block}: 1 fault: "),
        "block 01M887VKTP0WM0BFM118DR0KEQ: meta.json: is missing\n01M887VKTP0WM0BFM118DR0KEQ: 1 fault\n",
        "\n3 blocks, 2 with faults\n",
    ] {
        assert!(done.stdout.contains(told), "{told}: {}", done.stdout);
    }
    let done = ours(&["list", &data.to_string_lossy()]);
    assert_eq!(done.code, Some(1));
    assert!(done.stdout.contains(block) && done.stderr.contains("meta.json: is missing"));
    let done = run(&mut cupola(["tsdb", "verify", "nope"]), b"");
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""));
    assert!(done.stderr.contains("nope"), "{}", done.stderr);
}

#[test]
fn blocks_are_converted_there_and_back_and_every_tool_sees_them() {
    let home = Home::new();
    let data = made(&home, "data", &input());
    let path = data.to_string_lossy();
    let convert = |args: &[&str]| run(&mut cupola([&["tsdb", "convert"], args, &[&*path]].concat()), b"");
    let tools = || {
        let counts = |table: &str| -> Vec<String> {
            let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            table
                .lines()
                .skip(1)
                .map(|line| [&cells(line)[1..5], &cells(line)[6..7]].concat().join(" "))
                .collect()
        };
        // Of the block that was made last, which is another after a conversion.
        assert!(ok(ours(&["analyze", &path])).contains("Total Series: "));
        assert!(ok(ours(&["analyze", "--extended", &path])).contains("samples per float chunk"));
        let verified = ok(run(&mut cupola(["tsdb", "verify", &path]), b""));
        assert!(verified.ends_with("\n2 blocks, 0 with faults\n"), "{verified}");
        let dumps = ["dump", "dump-openmetrics"].map(|dump| ok(ours(&[dump, &path])));
        (counts(&ok(ours(&["list", &path]))), dumps)
    };
    let before = tools();
    let list = ok(ours(&["list", &path]));
    let first = list.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    let done = ok(convert(&["--to=native", "--block", first]));
    assert!(
        done.starts_with(&format!("{first}: is now the native block ")),
        "{done}"
    );
    assert!(done.ends_with("\n1 blocks converted, 0 failed\n"), "{done}");
    assert_eq!(tools(), before);
    assert!(ok(convert(&["--to", "native"])).ends_with("\n1 blocks converted, 0 failed\n"));
    assert_eq!(tools(), before);
    assert_eq!(std::fs::read_dir(data.join("cupola-blocks")).unwrap().count(), 2);
    if let Some(program) = neighbour("promtool") {
        let seen = ok(theirs(&program, &["list", &path]));
        assert_eq!(seen.lines().count(), 1, "Prometheus passes over native blocks: {seen}");
    }
    assert!(ok(convert(&["--to=prometheus"])).ends_with("\n2 blocks converted, 0 failed\n"));
    assert_eq!(tools(), before);
    if let Some(program) = neighbour("promtool") {
        assert_eq!(ok(theirs(&program, &["dump", &path])), before.1[0]);
    }
    for (args, told) in [
        (&["--to=rows"][..], "must be native or prometheus"),
        (&["--to=native", "--block=x"], "not a ULID"),
        (
            &["--to=native", "--block=01M887VKTP0WM0BFM118DR0KEQ"],
            "there is no block 01M887VKTP0WM0BFM118DR0KEQ",
        ),
    ] {
        let done = convert(args);
        assert_ne!(done.code, Some(0));
        assert!(done.stderr.contains(told), "{}", done.stderr);
    }
    let nowhere = run(&mut cupola(["tsdb", "convert", "--to=native", "nope"]), b"");
    assert!(
        nowhere.code == Some(1) && nowhere.stderr.contains("nope"),
        "{}",
        nowhere.stderr
    );
    assert!(!Path::new("nope").exists());
}
