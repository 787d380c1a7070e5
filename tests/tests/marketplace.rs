//! The files of the marketplace that asked for Cupola: its rules, its Alertmanager's configuration and its targets load and
//! run, and Debian's tools say the same of them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

use cupola_tests::{Finished, Home, Server, conformance, cupola, eventually, neighbour, run};

// What stands below `key`, without its indentation. The files are written by people and by Helm, all in block style.
fn below(text: &str, key: &str) -> String {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| !line.trim_start().starts_with(key));
    let outer = indentation(lines.next().unwrap_or_else(|| panic!("no {key}")));
    let is_in = |line: &&str| line.trim().is_empty() || indentation(line) > outer;
    let lines: Vec<&str> = lines.take_while(is_in).collect();
    let own = lines.iter().map(|line| indentation(line)).find(|own| *own > outer);
    let cut = lines.iter().map(|line| line.get(own.unwrap_or(0)..).unwrap_or(""));
    cut.map(|line| format!("{line}\n")).collect()
}

// The files below `dir` whose names are so.
fn files(dir: &Path, is_meant: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match path.is_dir() {
            true => found.extend(files(&path, is_meant)),
            false if is_meant(name) => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

// Our tool takes the file, and so does the original where it is installed: with the same words about it.
fn checked(tool: &str, args: &[&str], file: &Path, told: &str) {
    let is_told = |done: &Finished, whose: &str| {
        assert_eq!(done.code, Some(0), "{whose} {tool} of {}: {done:?}", file.display());
        assert!(
            done.stdout.contains(told),
            "{whose} {tool} of {}: {done:?}",
            file.display()
        );
    };
    is_told(&run(cupola([tool]).args(args).arg(file), b""), "our");
    if let Some(theirs) = neighbour(tool) {
        is_told(&run(Command::new(theirs).args(args).arg(file), b""), "Debian's");
    }
}

// Each file of rules as Prometheus reads it: what the operator makes of the custom resource.
fn rule_files(home: &Home) -> Option<Vec<PathBuf>> {
    let dir = conformance("dome")?;
    let resources = files(&dir, &|name| {
        name.contains("recording-rules") && name.ends_with(".yaml")
    });
    assert!(resources.len() >= 7, "{resources:?}");
    let written = resources.iter().enumerate().map(|(n, resource)| {
        let text = std::fs::read_to_string(resource).unwrap();
        assert!(text.contains("kind: PrometheusRule"), "{}", resource.display());
        home.write(&format!("rules{n}.yml"), &below(&text, "spec:"))
    });
    Some(written.collect())
}

#[test]
fn rules_of_the_marketplace_pass_and_are_evaluated() {
    let home = Home::new();
    let Some(files) = rule_files(&home) else { return };
    let mut count = 0;
    for file in &files {
        let records = std::fs::read_to_string(file).unwrap().matches("record:").count();
        checked(
            "promtool",
            &["check", "rules"],
            file,
            &format!("SUCCESS: {records} rules found"),
        );
        count += records;
    }
    let config = home.write(
        "prometheus.yml",
        "global: {evaluation_interval: 1s}\nrule_files: ['rules*.yml']\n",
    );
    let server = Server::prometheus(&home, &config, &[]);
    eventually(60, "every rule was evaluated", || {
        let groups = server.api("/api/v1/rules", &[]);
        let rules = groups["groups"]
            .as_array()?
            .iter()
            .map(|group| group["rules"].as_array());
        let rules: Vec<&serde_json::Value> = rules.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
        assert_eq!(rules.len(), count);
        let failed = rules.iter().find(|rule| rule["health"] == "err");
        assert!(failed.is_none(), "{failed:?}");
        rules.iter().all(|rule| rule["health"] == "ok").then_some(())
    });
}

#[test]
fn the_alertmanager_of_the_marketplace_is_configured() {
    let Some(dir) = conformance("dome") else { return };
    let home = Home::new();
    let values = files(&dir, &|name| name == "values.yaml").into_iter().filter(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        text.contains("alertmanager:\n  config:\n")
    });
    let mut texts: Vec<String> = values
        .map(|file| {
            below(
                &below(&std::fs::read_to_string(file).unwrap(), "alertmanager:"),
                "config:",
            )
        })
        .collect();
    // What Helm made of it: a secret.
    for file in files(&dir, &|name| {
        name.starts_with("kube-prometheus-stack-") && name.ends_with(".yaml")
    }) {
        let text = std::fs::read_to_string(file).unwrap();
        let secret = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("alertmanager.yaml: "));
        let decoded = run(Command::new("base64").arg("-d"), secret.unwrap().as_bytes());
        assert_eq!(decoded.code, Some(0), "{decoded:?}");
        texts.push(decoded.stdout);
    }
    assert!(texts.len() >= 3, "{}", texts.len());
    for (n, text) in texts.iter().enumerate() {
        let config = home.write(&format!("alertmanager{n}.yml"), text);
        checked("amtool", &["check-config"], &config, "SUCCESS");
        let server = Server::alertmanager(&home, &config, &[]);
        let receivers = server.get("/api/v2/receivers").json();
        let names: Vec<&str> = (receivers.as_array().unwrap().iter())
            .map(|receiver| receiver["name"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"infrastructure"), "{names:?}");
    }
}

#[test]
fn the_targets_of_the_marketplace_are_read() {
    let Some(dir) = conformance("dome") else { return };
    let home = Home::new();
    let found = files(&dir, &|name| name == "alastria-scrape.yaml");
    assert!(!found.is_empty());
    for file in found {
        let text = std::fs::read_to_string(&file).unwrap();
        let jobs = below(&text, "alastria-scrape.yaml:");
        let config = home.write("prometheus.yml", &format!("scrape_configs:\n{jobs}"));
        checked("promtool", &["check", "config"], &config, "SUCCESS");
    }
}
