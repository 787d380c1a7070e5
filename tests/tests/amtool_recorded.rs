//! What Alertmanager's own amtool was recorded to answer (`recorded/amtool.json`), asked of ours in the same order,
//! against our Alertmanager with the recorded configuration.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::TcpStream;

use cupola_tests::{Finished, Home, Server, conformance, cupola, now_ms, run};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

// When the recording began.
const RECORDED: &str = "2026-11-22T11:21:37";
// Times are told apart by steps of so many minutes: an alert without an end ends five minutes after it was posted.
const STEP_MINUTES: i64 = 5;
// What is in `b.yml`, which must not load.
const REFUSED: &str = "route:\n  group_by: [alertname]\nreceivers:\n- name: r\n";

// Where ours says otherwise than the recording, and why. `check_otherwise` holds what it says instead.
const OTHERWISE: [(&str, &str); 8] = [
    ("--version", "another version, built elsewhere"),
    ("config -o json", "the version is ours"),
    ("config -o extended", "0.25 prints addresses of pointers"),
    ("silence update -q -d 5h ", "0.25 prints the address of a pointer"),
    (
        "silence expire 22222222-",
        "since 0.27 a silence that is not there is 404, not 500",
    ),
    ("config routes test {foo=bar}", "0.27 and later say it in other words"),
    ("--help", "laid out by another library, and there are more commands"),
    ("silence add --help", "laid out by another library"),
];

/// One side of the comparison: ids in the order in which they were seen, and when it began.
struct Side {
    ids: Vec<String>,
    began_ms: i64,
}

impl Side {
    fn new(began_ms: i64) -> Self {
        Self {
            ids: Vec::new(),
            began_ms,
        }
    }

    fn learn(&mut self, text: &str) {
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            let is_id = word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
            if is_id && !self.ids.iter().any(|id| id == word) {
                self.ids.push(word.to_owned());
            }
        }
    }

    /// The text with ids and times of its day replaced by what is the same on both sides.
    fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (i, id) in self.ids.iter().enumerate() {
            text = text.replace(id, &format!("{i:036}"));
        }
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some((at, time)) = rest
            .char_indices()
            .find_map(|(at, _)| Some((at, time_of(&rest[at..])?)))
        {
            out.push_str(&rest[..at]);
            let (begin, mut after) = rest[at..].split_at(19);
            if begin.starts_with("2024") || begin.starts_with("2034") {
                out.push_str(begin);
            } else {
                let minutes = (time - self.began_ms) as f64 / 60_000.0 / STEP_MINUTES as f64;
                out.push_str(&format!("+{:018}", minutes.round() as i64 * STEP_MINUTES));
                // The milliseconds are of the day, too.
                let is_fraction = |c: char| c == '.' || c.is_ascii_digit();
                if after.starts_with('.') {
                    after = after.trim_start_matches(is_fraction);
                }
            }
            rest = after;
        }
        out + rest
    }
}

// The moment that a text begins with, in milliseconds since the epoch.
fn time_of(text: &str) -> Option<i64> {
    let time = text.get(..19)?;
    let like = "0000-00-00 00:00:00".bytes();
    let fits = time.bytes().zip(like).all(|(byte, like)| match like {
        b'0' => byte.is_ascii_digit(),
        b' ' => byte == b' ' || byte == b'T',
        like => byte == like,
    });
    let time: DateTime = fits.then(|| time.replace(' ', "T").parse().ok())??;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

// Takes away what newer versions have more, if it is empty.
fn without_newer(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(without_newer),
        Value::Object(map) => {
            let is_empty =
                |v: &Value| v.as_array().is_some_and(Vec::is_empty) || v.as_object().is_some_and(|o| o.is_empty());
            if map.contains_key("silencedBy") {
                assert!(map.remove("mutedBy").is_none_or(|v| is_empty(&v)));
            }
            if map.contains_key("createdBy") {
                assert!(map.remove("annotations").is_none_or(|v| is_empty(&v)));
            }
            map.values_mut().for_each(without_newer);
        }
        _ => {}
    }
}

fn json(text: &str) -> Option<Value> {
    let is_json = text.starts_with(['[', '{']);
    is_json.then(|| serde_json::from_str(text).ok())?
}

fn amtool(home: &Home, args: &[String]) -> Finished {
    amtool_reading(home, args, b"")
}

fn amtool_reading(home: &Home, args: &[String], input: &[u8]) -> Finished {
    let mut command = cupola(["amtool"]);
    command.args(args).current_dir(home.path());
    command.env("HOME", home.path()).env("TZ", "UTC");
    command.env_remove("ALERTMANAGER_URL").env_remove("XDG_CONFIG_HOME");
    run(&mut command, input)
}

fn is_at_the_default_address() -> bool {
    TcpStream::connect("127.0.0.1:9093").is_ok()
}

// What ours says where the recording says otherwise.
fn check_otherwise(home: &Home, shown: &str, theirs: &str, ours: &Finished) {
    let (out, err) = (ours.stdout.as_str(), ours.stderr.as_str());
    match shown {
        "--version" => {
            let words = |text: &str| -> Vec<String> { text.split(' ').take(3).map(str::to_owned).collect() };
            assert_eq!(words(theirs), ["amtool,", "version", "0.25.0"]);
            assert_eq!(words(out), ["amtool,", "version", "0.34.0"]);
        }
        "config -o json" => {
            let (mut theirs, mut ours) = (json(theirs).unwrap(), json(out).unwrap());
            assert_eq!(ours["versionInfo"]["version"], "0.34.0");
            for side in [&mut theirs, &mut ours] {
                let versions = side["versionInfo"].as_object_mut().unwrap();
                versions.values_mut().for_each(|value| *value = Value::Null);
                side["uptime"] = Value::Null;
            }
            assert_eq!(ours, theirs);
        }
        "config -o extended" => {
            let names = |text: &str| -> Vec<String> {
                let all = text.lines().rev().take(7);
                let mut all: Vec<String> = all
                    .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
                    .collect();
                all.sort();
                all
            };
            assert_eq!(names(out), names(theirs), "{out}");
            assert!(out.starts_with("global:\n  resolve_timeout: 5m\n"), "{out}");
        }
        "config routes test {foo=bar}" => assert_eq!(
            err,
            "amtool: error: Failed to parse labels: unexpected open or close brace: {foo=bar}\n\n"
        ),
        "--help" | "silence add --help" => {
            assert_eq!(out, amtool(home, &help_of(shown)).stdout, "`help` is --help");
            check_help(home, theirs, out);
        }
        _ if shown.starts_with("silence update") => {
            assert_eq!(format!("{}\n", shown.split(' ').next_back().unwrap()), out);
        }
        _ => assert_eq!(
            err,
            "amtool: error: [DELETE /silence/{silenceID}][404] deleteSilenceNotFound  \n\n"
        ),
    }
}

fn help_of(shown: &str) -> Vec<String> {
    let command = shown.split(' ').filter(|word| *word != "--help");
    ["help"].into_iter().chain(command).map(str::to_owned).collect()
}

// Every flag that their help lists is in ours, and every command is one of ours.
fn check_help(home: &Home, theirs: &str, ours: &str) {
    let mut group: Vec<&str> = Vec::new();
    let (mut flags, mut commands) = (0, 0);
    let mut is_command = false;
    for line in theirs.lines() {
        let words = line.trim_start();
        let indent = line.len() - words.len();
        is_command = is_command || line == "Commands:";
        if words.starts_with('-') && matches!(indent, 2 | 6) && !is_command {
            let long = words.split(' ').find(|word| word.starts_with("--")).unwrap();
            let name: String = long.chars().take_while(|c| *c != '=').collect();
            // Which version it is, is asked without a command.
            assert!(
                ours.contains(&format!("{name} ")) || ours.contains(&format!("{name}\n")) || name == "--version",
                "{name} is not in\n{ours}"
            );
            flags += 1;
        } else if is_command && indent >= 2 {
            group.truncate(indent / 2 - 1);
            group.push(words.split([' ', '*']).next().unwrap());
            let mut args: Vec<String> = group.iter().map(|word| (*word).to_owned()).collect();
            args.push("--help".to_owned());
            let told = amtool(home, &args);
            assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{args:?}");
            commands += 1;
        }
    }
    assert!(flags >= 8, "only {flags} flags in\n{theirs}");
    assert!(commands == 0 || commands >= 18, "only {commands} commands in\n{theirs}");
}

#[test]
fn every_recorded_call_of_amtool_is_answered_as_recorded() {
    let Some(file) = conformance("alertmanager/recorded/amtool.json") else {
        return;
    };
    let recorded: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let args_of = |call: &Value| -> Vec<String> { call["args"].as_array().unwrap().iter().map(text).collect() };
    // The configuration that was loaded, as the recorded server tells it.
    let config = recorded
        .iter()
        .find(|call| args_of(call).ends_with(&["config".into(), "-o".into(), "json".into()]))
        .unwrap();
    let config: Value = serde_json::from_str(config["stdout"].as_str().unwrap()).unwrap();
    let home = Home::new();
    home.write("a.yml", config["config"]["original"].as_str().unwrap());
    home.write("b.yml", REFUSED);
    let server = Server::alertmanager(&home, "a.yml".as_ref(), &[]);
    let mut theirs = Side::new(time_of(RECORDED).unwrap());
    let mut ours = Side::new(now_ms());
    let mut differences = Vec::new();
    let (mut compared, mut otherwise) = (0, 0);
    for call in &recorded {
        let mut args = args_of(call);
        let (stdout, stderr) = (text(&call["stdout"]), text(&call["stderr"]));
        let is_without_address = !args[0].starts_with("--alertmanager.url") && stderr.contains("localhost:9093");
        if is_without_address && is_at_the_default_address() {
            cupola_tests::tell("SKIPPED: somebody listens at 127.0.0.1:9093");
            continue;
        }
        for arg in &mut args {
            if let Some(known) = theirs.ids.iter().position(|id| id == arg) {
                arg.clone_from(&ours.ids[known]);
            }
            if arg == "--alertmanager.url=URL" {
                *arg = format!("--alertmanager.url={}", server.url());
            }
        }
        // What was read by the recorded one is not told; it ended in the midst of a silence.
        let done = amtool_reading(&home, &args, b"[{");
        theirs.learn(&stdout);
        ours.learn(&done.stdout);
        let shown = args
            .join(" ")
            .replace(&format!("--alertmanager.url={} ", server.url()), "");
        // What was exported is what is imported later.
        if shown == "silence query -o json" {
            home.write("sil.json", &done.stdout);
        }
        compared += 1;
        let code = call["exit"].as_i64().unwrap();
        if let Some((_, reason)) = OTHERWISE.iter().find(|(begin, _)| shown.starts_with(begin)) {
            assert_eq!(done.code.map(i64::from), Some(code), "{shown}: {reason}");
            check_otherwise(&home, &shown, &stdout, &done);
            otherwise += 1;
            continue;
        }
        let (mut out, err) = (ours.plain(&done.stdout), ours.plain(&done.stderr));
        let (mut their_out, their_err) = (theirs.plain(&stdout), theirs.plain(&stderr));
        if let (Some(mut a), Some(b)) = (json(&out), json(&their_out)) {
            without_newer(&mut a);
            // Objects are equal in whatever order their fields come.
            if a == b {
                their_out.clone_from(&out);
            } else {
                (out, their_out) = (a.to_string(), b.to_string());
            }
        }
        if (done.code.map(i64::from), &out, &err) != (Some(code), &their_out, &their_err) {
            differences.push(format!(
                "amtool {shown}\n  recorded: {code} {their_out:?} {their_err:?}\n  ours: {:?} {out:?} {err:?}\n",
                done.code
            ));
        }
    }
    assert_eq!(otherwise, OTHERWISE.len());
    assert!(compared >= 59, "only {compared} of {} calls", recorded.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
