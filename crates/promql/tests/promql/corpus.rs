//! Every expression of the shared scripts, rules and dashboards parses.

use std::path::{Path, PathBuf};

use cupola_promql::{ParseOptions, parse_with};
use cupola_testkit::conformance_dir;

fn files(dir: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path
                .extension()
                .and_then(|e| e.to_str())
                .is_some_and(|e| extensions.contains(&e))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

// Counts and lists rather than stopping at the first, so that one run shows the whole state.
#[derive(Default)]
struct Tally {
    parsed: usize,
    failed: Vec<String>,
}

impl Tally {
    fn add(&mut self, place: &Path, expr: &str) {
        let options = ParseOptions::all();
        match parse_with(expr, &options) {
            Ok(tree) => {
                let printed = tree.to_string();
                let again = parse_with(&printed, &options).map(|tree| tree.to_string());
                assert_eq!(again.as_ref(), Ok(&printed), "{}: {expr}", place.display());
                self.parsed += 1;
            }
            Err(errors) => self
                .failed
                .push(format!("{}: {expr}\n    {}", place.display(), errors[0].render(expr))),
        }
    }

    #[track_caller]
    fn finish(self, what: &str, at_least: usize) {
        println!("{what}: {} parsed, {} failed", self.parsed, self.failed.len());
        assert!(self.failed.is_empty(), "{}", self.failed.join("\n"));
        assert!(
            self.parsed >= at_least,
            "{what}: only {} expressions found",
            self.parsed
        );
    }
}

// `eval instant at 50m EXPR`, `eval range from 0 to 1h step 5m EXPR`.
fn script_expr(line: &str) -> Option<&str> {
    let (_, rest) = line.trim_start().strip_prefix("eval")?.split_once(' ')?;
    let (mode, mut rest) = rest.trim_start().split_once(' ')?;
    let parameters: &[&str] = if mode == "instant" {
        &["at "]
    } else {
        &["from ", "to ", "step "]
    };
    for name in parameters {
        if let Some(after) = rest.trim_start().strip_prefix(name) {
            rest = after.trim_start().split_once([' ', '\t'])?.1;
        }
    }
    Some(rest.trim())
}

#[test]
fn scripts() {
    let Some(dir) = conformance_dir("promql") else { return };
    let mut tally = Tally::default();
    for file in files(&dir, &["test"]) {
        let text = std::fs::read_to_string(&file).unwrap();
        for expr in text.lines().filter_map(script_expr) {
            tally.add(&file, expr);
        }
    }
    tally.finish("scripts", 1_851);
}

// The values of all `expr:` keys: plain, quoted and block scalars. Enough YAML for rule files.
fn yaml_exprs(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let key = line.trim_start().trim_start_matches("- ").trim_start();
        let Some(value) = key.strip_prefix("expr:") else {
            continue;
        };
        let value = value.trim();
        let column = line.len() - key.len();
        let below = lines[at + 1..]
            .iter()
            .take_while(|l| l.trim().is_empty() || indent(l) > column);
        if value.starts_with(['|', '>']) {
            found.push(below.copied().collect::<Vec<_>>().join("\n"));
        } else if let Some(quoted) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
            found.push(quoted.replace("\\\"", "\"").replace("\\\\", "\\"));
        } else if let Some(quoted) = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')) {
            found.push(quoted.replace("''", "'"));
        } else {
            let plain = value.split(" #").next().unwrap_or_default();
            found.push(
                [plain]
                    .into_iter()
                    .chain(below.map(|l| l.trim()))
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
    }
    found
}

#[test]
fn rules() {
    let mut tally = Tally::default();
    for folder in ["rules", "promtool", "rulefmt", "dome"] {
        let Some(dir) = conformance_dir(folder) else { return };
        for file in files(&dir, &["yml", "yaml"]) {
            // These are wrong on purpose.
            let is_bad = file
                .file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.contains("bad"));
            let text = std::fs::read_to_string(&file).unwrap();
            for expr in yaml_exprs(&text) {
                // Charts that are not rendered yet hold no PromQL.
                if !is_bad && !expr.contains("{{") {
                    tally.add(&file, &expr);
                }
            }
        }
    }
    tally.finish("rules", 10_000);
}

fn dashboard_exprs(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(expr) if key == "expr" && !expr.trim().is_empty() => found.push(expr.to_owned()),
                    _ => dashboard_exprs(value, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| dashboard_exprs(item, found)),
        _ => {}
    }
}

// `$__rate_interval`, `$cluster`, `${cluster:regex}`: times become 5m, others `other`.
fn substitute(expr: &str, other: &str) -> String {
    let mut out = String::new();
    let mut rest = expr;
    while let Some(at) = rest.find('$') {
        let before = &rest[..at];
        out.push_str(before);
        let after = &rest[at + 1..];
        let in_brackets = out.rfind('[') > out.rfind(']');
        let (name, tail) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some((name, tail)) => (name, tail),
            None => after.split_at(
                after
                    .bytes()
                    .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
                    .count(),
            ),
        };
        // `$1` of label_replace and a regular expression's `$` stay.
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            out.push('$');
            rest = after;
            continue;
        }
        out.push_str(if in_brackets || name.starts_with("__") {
            "5m"
        } else {
            other
        });
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[test]
fn dashboards() {
    let Some(dir) = conformance_dir("dashboards") else {
        return;
    };
    let mut tally = Tally::default();
    for file in files(&dir, &["json"]) {
        let text = std::fs::read_to_string(&file).unwrap();
        let Ok(json) = serde_json::from_str(&text) else {
            continue;
        };
        let mut exprs = Vec::new();
        dashboard_exprs(&json, &mut exprs);
        for expr in exprs {
            // A variable may stand for a name or for a number.
            let name = substitute(&expr, "x");
            let expr = if parse_with(&name, &ParseOptions::all()).is_ok() {
                name
            } else {
                substitute(&expr, "5")
            };
            tally.add(&file, &expr);
        }
    }
    tally.finish("dashboards", 400);
}
