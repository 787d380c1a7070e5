//! `amtool check-config`, `config`, `cluster` and `template`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use cupola_config::alertmanager::Route;
use cupola_config::matchers::matcher_text;
use cupola_config::{AlertmanagerConfig, load_alertmanager, parse_alertmanager};
use cupola_env::{Clock as _, SystemClock};
use cupola_gotemplate::{Alert, Alerts, Data, Kv, Set, Time, Value as TemplateValue, notification_set};
use cupola_model::Labels;
use serde_json::Value;

use super::{Env, Failure, Output};

#[derive(Debug, Subcommand)]
pub(super) enum Tool {
    /// View the running config.
    Show,
    /// View and test the routing tree.
    #[command(subcommand)]
    Routes(Routes),
}

#[derive(Debug, Subcommand)]
pub(super) enum Routes {
    /// Print the routing tree.
    Show(RoutesArgs),
    /// Tell which receivers get an alert with these labels.
    Test(TestArgs),
}

#[derive(Debug, Args)]
pub(super) struct RoutesArgs {
    /// Config file to be tested, instead of the running one's.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    source: RoutesArgs,
    /// Comma-separated names of the receivers that are expected, in their order.
    #[arg(long = "verify.receivers", value_name = "NAMES")]
    verify: Option<String>,
    /// Print the matching part of the routing tree.
    #[arg(long)]
    tree: bool,
    /// Labels, name=value.
    #[arg(value_name = "LABEL")]
    labels: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Template {
    /// Render a given definition in a template file to standard output.
    Render(RenderArgs),
}

#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    /// Glob of paths that will be expanded and used for rendering.
    #[arg(long = "template.glob", value_name = "GLOB", required = true)]
    globs: Vec<PathBuf>,
    /// The template that will be rendered.
    #[arg(long = "template.text", value_name = "TEXT")]
    text: String,
    /// How it is escaped.
    #[arg(long = "template.type", value_enum, default_value = "text")]
    kind: Kind,
    /// Full path to a file with the data for the template, as a webhook gets it; made-up data where none is named.
    #[arg(long = "template.data", value_name = "FILE")]
    data: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Text,
    Html,
}

fn tree_text(route: &Route) -> String {
    let mut lines = Vec::new();
    draw(&whole(route), "", &mut lines);
    format!("Routing tree:\n.\n{}\n\n", lines.join("\n"))
}

pub(super) fn run(tool: &Tool, env: &mut Env<'_>) -> Result<(), Failure> {
    match tool {
        Tool::Show => show(env),
        Tool::Routes(Routes::Show(args)) => {
            let config = config(args, env)?;
            env.out.write_all(tree_text(&config.route).as_bytes())?;
            Ok(())
        }
        Tool::Routes(Routes::Test(args)) => test(args, env),
    }
}

fn told(errors: &cupola_config::ConfigErrors) -> String {
    let all: Vec<String> = errors.iter().map(|error| error.message.clone()).collect();
    all.join("\n")
}

pub(super) fn check(files: &[PathBuf], env: &mut Env<'_>) -> Result<(), Failure> {
    if let Some(missing) = files.iter().find(|file| !env.files.exists(file)) {
        return Err(format!("path '{}' does not exist", missing.display()).into());
    }
    let stdin = [PathBuf::from("-")];
    let files = if files.is_empty() { &stdin[..] } else { files };
    let mut failed = 0;
    for file in files {
        write!(env.out, "Checking '{}'", file.display())?;
        let read = match file.as_path() == Path::new("-") {
            true => {
                let mut text = String::new();
                env.input.read_to_string(&mut text)?;
                parse_alertmanager(&text, file, env.mode)
            }
            false => load_alertmanager(file, env.mode, env.files),
        };
        match read {
            Err(errors) => {
                writeln!(env.out, "  FAILED: {}", told(&errors))?;
                failed += 1;
            }
            Ok(config) => {
                writeln!(env.out, "  SUCCESS\nFound:\n - global config\n - route")?;
                writeln!(env.out, " - {} inhibit rules", config.inhibit_rules.len())?;
                writeln!(env.out, " - {} receivers", config.receivers.len())?;
                writeln!(env.out, " - {} templates", config.templates.len())?;
                if !config.templates.is_empty() {
                    match set_of(&config.templates, env) {
                        Ok(_) => writeln!(env.out, "  SUCCESS")?,
                        Err(error) => {
                            writeln!(env.out, "  FAILED: {error}")?;
                            failed += 1;
                        }
                    }
                }
            }
        }
        writeln!(env.out)?;
    }
    match failed {
        0 => Ok(()),
        count => Err(format!("failed to validate {count} file(s)").into()),
    }
}

fn show(env: &mut Env<'_>) -> Result<(), Failure> {
    if env.output == Output::Json {
        let body = env.client.get("/status", &[])?;
        writeln!(env.out, "{}", body.trim_end())?;
        return Ok(());
    }
    let status = env.client.get_json("/status", &[])?;
    let original = status["config"]["original"].as_str().unwrap_or_default();
    writeln!(env.out, "{original}")?;
    if env.output == Output::Extended {
        // Upstream prints addresses in memory here.
        for name in ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"] {
            writeln!(
                env.out,
                "{name} {}",
                status["versionInfo"][name].as_str().unwrap_or_default()
            )?;
        }
        writeln!(env.out, "uptime {}", status["uptime"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

pub(super) fn cluster(env: &mut Env<'_>) -> Result<(), Failure> {
    let status = env.client.get_json("/status", &[])?;
    let cluster = &status["cluster"];
    if env.output == Output::Json {
        writeln!(env.out, "{cluster}")?;
        return Ok(());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = [("Cluster Status:", "status"), ("Node Name:", "name")];
    for (head, name) in rows {
        // Not padded behind, unlike tables.
        writeln!(env.out, "{head:<17}{}", text(&cluster[name]))?;
    }
    if env.output == Output::Extended {
        let mut peers: Vec<Vec<String>> = cluster["peers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|peer| vec![text(&peer["address"]), text(&peer["name"])])
            .collect();
        peers.sort();
        let widest = |column: usize| {
            peers
                .iter()
                .filter_map(|row| row.get(column)?.chars().count().into())
                .max()
        };
        let address_width = widest(0).unwrap_or(0).max("Address".len()) + 2;
        // Padded behind, unlike the head.
        let name_width = widest(1).unwrap_or(0) + 2;
        writeln!(env.out)?;
        writeln!(env.out, "{:<address_width$}Name", "Address")?;
        for row in &peers {
            if let [address, name] = row.as_slice() {
                writeln!(env.out, "{address:<address_width$}{name:<name_width$}")?;
            }
        }
    }
    Ok(())
}

fn config(args: &RoutesArgs, env: &mut Env<'_>) -> Result<AlertmanagerConfig, Failure> {
    if let Some(file) = &args.config_file {
        // Also where no address was given: amtool warns of the one it takes then.
        writeln!(env.err, "Warning: --config.file flag overrides the --alertmanager.url.")?;
        let loaded = load_alertmanager(file, env.mode, env.files);
        return loaded.map_err(|errors| told(&errors).into());
    }
    let status = env.client.get_json("/status", &[])?;
    let original = status["config"]["original"].as_str().unwrap_or_default();
    // Its secrets are not there, and receivers without them are no receivers.
    let shown = original.replace("<secret>", "http://secret.invalid/");
    parse_alertmanager(&shown, Path::new("running"), env.mode).map_err(|errors| told(&errors).into())
}

/// A node of a tree that is drawn.
struct Branch {
    text: String,
    below: Vec<Branch>,
}

fn slug(route: &Route, shows_continue: bool, shows_receiver: bool) -> String {
    let mut parts = Vec::new();
    parts.push(match route.matchers.is_empty() {
        true => "default-route".to_owned(),
        false => {
            let all: Vec<String> = route.matchers.iter().map(matcher_text).collect();
            format!("{{{}}}", all.join(","))
        }
    });
    if shows_continue && route.continue_matching {
        parts.push("continue: true".to_owned());
    }
    if shows_receiver {
        parts.push(format!("receiver: {}", route.receiver));
    }
    parts.join("  ")
}

fn whole(route: &Route) -> Branch {
    Branch {
        text: slug(route, true, true),
        below: route.routes.iter().map(whole).collect(),
    }
}

// The part that an alert goes through, and the receivers it comes to.
fn matching(route: &Route, labels: &Labels, receivers: &mut Vec<String>) -> Branch {
    let mut below = Vec::new();
    for child in &route.routes {
        if child.matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
            below.push(matching(child, labels, receivers));
            if !child.continue_matching {
                break;
            }
        }
    }
    let ends = below.is_empty();
    if ends {
        receivers.push(route.receiver.clone());
    }
    Branch {
        text: slug(route, false, ends),
        below,
    }
}

fn draw(branch: &Branch, indent: &str, lines: &mut Vec<String>) {
    draw_all(std::slice::from_ref(branch), indent, lines);
}

fn draw_all(branches: &[Branch], indent: &str, lines: &mut Vec<String>) {
    for (at, branch) in branches.iter().enumerate() {
        let is_last = at + 1 == branches.len();
        let (edge, more) = if is_last {
            ("└── ", "    ")
        } else {
            // With spaces that do not break, as amtool's.
            ("├── ", "│\u{a0}\u{a0} ")
        };
        lines.push(format!("{indent}{edge}{}", branch.text));
        draw_all(&branch.below, &format!("{indent}{more}"), lines);
    }
}

fn test(args: &TestArgs, env: &mut Env<'_>) -> Result<(), Failure> {
    let config = config(&args.source, env)?;
    let labels = env
        .labels(&args.labels)
        .map_err(|error| format!("Failed to parse labels: {error}"))?;
    let labels = Labels::from_pairs(labels);
    let mut receivers = Vec::new();
    let tree = matching(&config.route, &labels, &mut receivers);
    if args.tree {
        let mut lines = Vec::new();
        draw(&tree, "", &mut lines);
        writeln!(env.out, "Matching routes:\n.\n{}\n\n", lines.join("\n"))?;
    }
    let found = receivers.join(",");
    writeln!(env.out, "{found}")?;
    match &args.verify {
        Some(expected) if *expected != found => {
            writeln!(env.out, "WARNING: Expected receivers did not match resolved receivers.")?;
            Err(Failure::Silent)
        }
        _ => Ok(()),
    }
}

fn now_ms() -> i64 {
    SystemClock.now_ms()
}

fn set_of(globs: &[PathBuf], env: &Env<'_>) -> Result<Set, String> {
    let mut set = notification_set(|| Time::from_unix_ms(now_ms())).map_err(|error| error.to_string())?;
    for glob in globs {
        for file in env
            .files
            .glob(glob)
            .map_err(|error| format!("{}: {error}", glob.display()))?
        {
            let text = env
                .files
                .read(&file)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            let name = file
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            set.add(&name, &text).map_err(|error| error.to_string())?;
        }
    }
    Ok(set)
}

pub(super) fn render(args: &RenderArgs, env: &mut Env<'_>) -> Result<(), Failure> {
    let set = set_of(&args.globs, env)?;
    let json = match &args.data {
        Some(file) => {
            let text = env
                .files
                .read(file)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?
        }
        None => made_up(),
    };
    let data = data(&json).map_err(|error| format!("template data: {error}"))?;
    let rendered = match args.kind {
        Kind::Text => set.execute_text(&args.text, &data),
        Kind::Html => set.execute_html(&args.text, &data),
    };
    let rendered = rendered.map_err(|error| error.to_string())?;
    write!(env.out, "{rendered}")?;
    Ok(())
}

// What stands for a notification where nobody gives one.
fn made_up() -> Value {
    let alert = |n: u32| {
        let now = now_ms();
        let time = |ms: i64| {
            jiff::Timestamp::from_millisecond(ms)
                .map(|time| time.to_string())
                .unwrap_or_default()
        };
        serde_json::json!({
            "status": "alertstatus",
            "labels": {
                "label1": "value1", "label2": "value2", "instance": "foo.bar:1234",
                "commonlabelkey1": "commonlabelvalue1", "commonlabelkey2": "commonlabelvalue2",
            },
            "annotations": {
                "annotation1": "value1", "annotation2": "value2",
                "commonannotationkey1": "commonannotationvalue1", "commonannotationkey2": "commonannotationvalue2",
            },
            "startsAt": time(now - 300_000),
            "endsAt": time(now),
            "generatorURL": "https://generatorurl.com",
            "fingerprint": format!("fingerprint{n}"),
        })
    };
    serde_json::json!({
        "receiver": "receiver",
        "status": "alertstatus",
        "alerts": [alert(1), alert(2)],
        "groupLabels": { "grouplabelkey1": "grouplabelvalue1", "grouplabelkey2": "grouplabelvalue2" },
        "commonLabels": { "alertname": "AlertNameExample", "customlabelkey1": "customlabelvalue1", "customlabelkey2": "customlabelvalue2" },
        "commonAnnotations": { "customannotationkey1": "customannotationvalue1", "customannotationkey2": "customannotationvalue2" },
        "externalURL": "https://example.com",
    })
}

// A webhook's JSON as templates see it.
fn data(json: &Value) -> Result<TemplateValue, String> {
    let text = |json: &Value| json.as_str().unwrap_or_default().to_owned();
    let kv = |json: &Value| {
        let pairs = json.as_object().into_iter().flatten();
        Kv::new(
            pairs
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect::<Vec<_>>(),
        )
    };
    let time = |json: &Value| match json.as_str() {
        Some(text) => Time::parse("2006-01-02T15:04:05Z07:00", text),
        None => Ok(Time::zero()),
    };
    let mut alerts = Vec::new();
    for alert in json["alerts"].as_array().into_iter().flatten() {
        alerts.push(Alert {
            is_new: true,
            status: text(&alert["status"]),
            labels: kv(&alert["labels"]),
            annotations: kv(&alert["annotations"]),
            starts_at: time(&alert["startsAt"])?,
            ends_at: time(&alert["endsAt"])?,
            generator_url: text(&alert["generatorURL"]),
            fingerprint: text(&alert["fingerprint"]),
        });
    }
    Ok(TemplateValue::object(Data {
        receiver: text(&json["receiver"]),
        status: text(&json["status"]),
        alerts: Alerts::new(alerts),
        group_labels: kv(&json["groupLabels"]),
        common_labels: kv(&json["commonLabels"]),
        common_annotations: kv(&json["commonAnnotations"]),
        external_url: text(&json["externalURL"]),
        notification_reason: text(&json["notification_reason"]),
        route_labels: kv(&json["routeLabels"]),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_config::matchers::MatcherMode;

    #[test]
    fn shared_trees_are_drawn_as_amtool_draws_them() {
        let Some(dir) = cupola_testkit::conformance_dir("alertmanager/routing") else {
            return;
        };
        let text = std::fs::read_to_string(dir.join("cases.json")).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        let trees = all["trees"].as_object().unwrap();
        for (name, tree) in trees {
            let yaml = all["configs"][name].as_str().unwrap();
            let config = parse_alertmanager(yaml, Path::new("a.yml"), MatcherMode::Fallback).unwrap();
            assert_eq!(tree_text(&config.route), tree.as_str().unwrap(), "{name}");
        }
        assert!(trees.len() >= 3, "{}", trees.len());
    }
}
