//! `promtool explain`, which Prometheus's promtool has not. `explain target`: what became of what discovery found, step by
//! step; `explain alert` lies in [`alert`].
//!
//! Asks `/api/v1/targets`, `/api/v1/targets/relabel_steps` (Prometheus 3.8 has it, too) and, for what discovery itself
//! could not find, our `/api/v1/status/discovery`.

mod alert;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use cupola_model::go_quote;
use serde_json::{Value, json};

use super::api::{ApiServer, HttpArgs};
use super::{FAILURE, Io};

const TIMEOUT: Duration = Duration::from_secs(30);

type LabelMap = BTreeMap<String, String>;

/// What can be explained.
#[derive(Debug, Subcommand)]
pub(super) enum Explain {
    /// Say why a target is scraped, is not, or fails: what was discovered, each relabelling step, the last scrape.
    ///
    /// Exits with 0 where all that was found is scraped well, else with 1.
    Target(TargetArgs),
    /// Tell the life of alerts: since when pending and firing, to whom sent, and where the server has an Alertmanager, what
    /// became of them there.
    ///
    /// Exits with 0 where something is known of such an alert, else with 1.
    Alert(alert::AlertArgs),
}

/// Which targets, and of which server.
#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    /// The server.
    server: String,
    /// A job's name, or a part of an address or of any discovered label's value; all targets where it is not told.
    what: Option<String>,
    /// Only targets of this job.
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// How many targets are shown at most; those that are not scraped come first.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    limit: usize,
    /// How the explanation looks.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    http: HttpArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// A list of what became of each target.
    Json,
}

/// Asks and explains.
pub(super) fn run(what: &Explain, io: &mut Io<'_>) -> io::Result<u8> {
    match what {
        Explain::Target(args) => run_target(args, io),
        Explain::Alert(args) => alert::run(args, io),
    }
}

fn run_target(args: &TargetArgs, io: &mut Io<'_>) -> io::Result<u8> {
    match Report::of(args, io) {
        Ok(report) => {
            match args.output {
                Output::Text => io.out.write_all(report.text().as_bytes())?,
                Output::Json => writeln!(io.out, "{:#}", report.json())?,
            }
            Ok(if report.is_well() { 0 } else { FAILURE })
        }
        Err(error) => {
            writeln!(io.err, "promtool: error: {error}")?;
            Ok(FAILURE)
        }
    }
}

/// One target, scraped or dropped.
#[derive(Debug)]
struct Target {
    pool: String,
    discovered: LabelMap,
    // Of the steps; `None` where the server cannot tell them.
    steps: Option<Vec<Step>>,
    scraped: Option<Scraped>,
}

#[derive(Debug)]
struct Scraped {
    labels: LabelMap,
    url: String,
    health: String,
    error: String,
    last: String,
    seconds: f64,
}

/// One relabelling step.
#[derive(Debug)]
struct Step {
    rule: Value,
    keeps: bool,
    // As they are before it and after it.
    before: LabelMap,
    after: LabelMap,
}

struct Report {
    shown: Vec<Target>,
    found: usize,
    failing: usize,
    limit: usize,
    // Jobs there are, and how many targets of each were discovered.
    pools: BTreeMap<String, usize>,
    // Failures of discovery itself.
    discovery: Vec<String>,
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text_at(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn labels_at(value: &Value, name: &str) -> LabelMap {
    let pairs = value.get(name).and_then(Value::as_object).into_iter().flatten();
    pairs
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

impl Target {
    fn of(value: &Value, is_active: bool) -> Self {
        let discovered = labels_at(value, "discoveredLabels");
        let mut pool = text_at(value, "scrapePool");
        if pool.is_empty() {
            // Older servers do not name the pool of what they dropped.
            pool = discovered.get("job").cloned().unwrap_or_default();
        }
        Self {
            pool,
            discovered,
            steps: None,
            scraped: is_active.then(|| Scraped {
                labels: labels_at(value, "labels"),
                url: text_at(value, "scrapeUrl"),
                health: text_at(value, "health"),
                error: text_at(value, "lastError"),
                last: text_at(value, "lastScrape"),
                seconds: value
                    .get("lastScrapeDuration")
                    .and_then(Value::as_f64)
                    .unwrap_or_default(),
            }),
        }
    }

    fn is_meant(&self, args: &TargetArgs) -> bool {
        let Some(what) = &args.what else {
            return args.job.as_ref().is_none_or(|job| *job == self.pool);
        };
        let of_scraped = self.scraped.iter().flat_map(|s| s.labels.values().chain([&s.url]));
        args.job.as_ref().is_none_or(|job| *job == self.pool)
            && (self.pool == *what || self.discovered.values().chain(of_scraped).any(|v| v.contains(what)))
    }

    fn is_up(&self) -> bool {
        self.scraped.as_ref().is_some_and(|scraped| scraped.health == "up")
    }

    // Asks for the steps; a server that has none to tell leaves them unknown.
    fn ask_steps(&mut self, server: &mut ApiServer) {
        let labels = json!(self.discovered).to_string();
        let params = [("scrapePool", self.pool.as_str()), ("labels", labels.as_str())];
        let Ok(answer) = server.get("/api/v1/targets/relabel_steps", &params) else {
            return;
        };
        let mut before = self.discovered.clone();
        let mut steps = Vec::new();
        for step in list(answer.pointer("/data/steps")) {
            let after = labels_at(step, "output");
            let keeps = step.get("keep").and_then(Value::as_bool).unwrap_or(true);
            steps.push(Step {
                rule: step.get("rule").cloned().unwrap_or_default(),
                keeps,
                before: before.clone(),
                after: after.clone(),
            });
            if !keeps {
                break;
            }
            before = after;
        }
        self.steps = Some(steps);
    }

    // In one sentence.
    fn verdict(&self) -> String {
        let Some(scraped) = &self.scraped else {
            return self.why_dropped();
        };
        match scraped.health.as_str() {
            "up" => "is scraped".to_owned(),
            "unknown" => "waits for its first scrape".to_owned(),
            _ => format!("cannot be scraped: {}", scraped.error),
        }
    }

    fn why_dropped(&self) -> String {
        let Some(steps) = &self.steps else {
            return "is dropped; this server does not tell by which relabelling step".to_owned();
        };
        if let Some((number, step)) = steps.iter().enumerate().find(|(_, step)| !step.keeps) {
            return format!("is dropped by relabelling step {}: {}", number + 1, step.why());
        }
        let last = steps.last().map_or(&self.discovered, |step| &step.after);
        match last.get("__address__") {
            None => "is dropped: after relabelling it has no __address__".to_owned(),
            Some(address) if address.is_empty() => "is dropped: after relabelling its __address__ is empty".to_owned(),
            Some(_) => {
                "is dropped although no relabelling step drops it: its labels are refused, or the job has too many targets"
                    .to_owned()
            }
        }
    }

    fn json(&self) -> Value {
        let steps = self.steps.as_ref().map(|steps| {
            let steps = steps.iter();
            steps
                .map(|step| json!({"rule": step.rule, "keep": step.keeps, "changes": step.changes()}))
                .collect::<Vec<_>>()
        });
        let mut out = json!({
            "scrapePool": self.pool,
            "discoveredLabels": self.discovered,
            "verdict": self.verdict(),
            "relabelSteps": steps,
        });
        if let (Some(scraped), Some(out)) = (&self.scraped, out.as_object_mut()) {
            out.insert("labels".to_owned(), json!(scraped.labels));
            out.insert("scrapeUrl".to_owned(), json!(scraped.url));
            out.insert("health".to_owned(), json!(scraped.health));
            out.insert("lastError".to_owned(), json!(scraped.error));
            out.insert("lastScrape".to_owned(), json!(scraped.last));
            out.insert("lastScrapeDuration".to_owned(), json!(scraped.seconds));
        }
        out
    }

    fn text(&self, out: &mut String) {
        let name = match &self.scraped {
            Some(scraped) => scraped.url.clone(),
            None => self
                .discovered
                .get("__address__")
                .map_or("no address".to_owned(), Clone::clone),
        };
        *out += &format!("{}  {name}\n  {}\n", self.pool, self.verdict());
        *out += "  discovered:\n";
        for (name, value) in &self.discovered {
            *out += &format!("    {name}={}\n", go_quote(value));
        }
        match self.steps.as_deref() {
            None => *out += "  relabelling: this server does not tell its steps\n",
            Some([]) => *out += "  relabelling: none\n",
            Some(steps) => {
                *out += "  relabelling:\n";
                for (index, step) in steps.iter().enumerate() {
                    *out += &format!("    {}. {}\n", index + 1, step.rule_text());
                    for change in step.changes() {
                        *out += &format!("         {change}\n");
                    }
                }
            }
        }
        if let Some(scraped) = &self.scraped {
            let labels = scraped.labels.iter().map(|(name, v)| format!("{name}={}", go_quote(v)));
            *out += &format!("  labels: {{{}}}\n", labels.collect::<Vec<_>>().join(", "));
            if scraped.health != "unknown" {
                *out += &format!("  last scrape: {}, took {} s", scraped.last, scraped.seconds);
                let error = scraped.error.replace('\n', "\n    ");
                *out += &match error.is_empty() {
                    true => "\n".to_owned(),
                    false => format!("\n    {error}\n"),
                };
            }
        }
        out.push('\n');
    }
}

impl Step {
    fn field(&self, name: &str) -> String {
        text_at(&self.rule, name)
    }

    fn sources(&self) -> Vec<&str> {
        list(self.rule.get("sourceLabels"))
            .iter()
            .filter_map(Value::as_str)
            .collect()
    }

    // What the regular expression is held against.
    fn subject(&self) -> String {
        let separator = self.rule.get("separator").and_then(Value::as_str).unwrap_or_default();
        let values = self.sources().into_iter();
        let values = values.map(|name| self.before.get(name).map_or("", String::as_str));
        values.collect::<Vec<_>>().join(separator)
    }

    fn why(&self) -> String {
        let sources = self.sources().join(", ");
        let (subject, regex) = (go_quote(&self.subject()), self.field("regex"));
        match self.field("action").as_str() {
            "keep" => format!("keep, but [{sources}] is {subject}, which {regex} does not match"),
            "drop" => format!("drop, as [{sources}] is {subject}, which {regex} matches"),
            "keepequal" => format!("keepequal, but [{sources}] is {subject}, and the target label's value is another"),
            "dropequal" => format!("dropequal, as [{sources}] is {subject}, and so is the target label's value"),
            other => other.to_owned(),
        }
    }

    fn rule_text(&self) -> String {
        let mut out = self.field("action");
        let sources = self.sources();
        if !sources.is_empty() {
            out += &format!(" [{}]", sources.join(", "));
        }
        for (name, shown) in [
            ("regex", "regex"),
            ("modulus", "modulus"),
            ("targetLabel", "target_label"),
            ("replacement", "replacement"),
        ] {
            match self.rule.get(name) {
                Some(Value::String(text)) if !text.is_empty() => out += &format!(" {shown}={text}"),
                Some(Value::Number(number)) => out += &format!(" {shown}={number}"),
                _ => {}
            }
        }
        out
    }

    // What it did, in lines.
    fn changes(&self) -> Vec<String> {
        if !self.keeps {
            return vec![format!("DROPPED: {}", self.why())];
        }
        let mut changes = Vec::new();
        for (name, value) in &self.after {
            match self.before.get(name) {
                Some(old) if old == value => {}
                Some(old) => changes.push(format!("{name}: {} -> {}", go_quote(old), go_quote(value))),
                None => changes.push(format!("+ {name}={}", go_quote(value))),
            }
        }
        let gone = self.before.iter().filter(|(name, _)| !self.after.contains_key(*name));
        changes.extend(gone.map(|(name, value)| format!("- {name}={}", go_quote(value))));
        if changes.is_empty() {
            changes.push("changes nothing".to_owned());
        }
        changes
    }
}

impl Report {
    fn of(args: &TargetArgs, io: &Io<'_>) -> Result<Self, String> {
        let url = match args.server.contains("://") {
            true => args.server.clone(),
            false => format!("http://{}", args.server),
        };
        let mut server = args.http.server(&url, TIMEOUT, io.files)?;
        let answer = server.get("/api/v1/targets", &[("state", "any")])?;
        let data = answer.get("data").cloned().unwrap_or_default();
        let dropped = list(data.get("droppedTargets")).iter().map(|t| Target::of(t, false));
        let active = list(data.get("activeTargets")).iter().map(|t| Target::of(t, true));
        let all: Vec<Target> = dropped.chain(active).collect();
        let mut pools = BTreeMap::new();
        if let Ok(answer) = server.get("/api/v1/scrape_pools", &[]) {
            let names = list(answer.pointer("/data/scrapePools"))
                .iter()
                .filter_map(Value::as_str);
            pools.extend(names.map(|name| (name.to_owned(), 0)));
        }
        for target in &all {
            let count = pools.entry(target.pool.clone()).or_default();
            *count += 1;
        }
        let mut meant: Vec<Target> = all.into_iter().filter(|target| target.is_meant(args)).collect();
        meant.sort_by_key(Target::is_up);
        let (found, failing) = (meant.len(), meant.iter().filter(|target| !target.is_up()).count());
        meant.truncate(args.limit);
        for target in &mut meant {
            target.ask_steps(&mut server);
        }
        Ok(Self {
            shown: meant,
            found,
            failing,
            limit: args.limit,
            pools,
            discovery: discovery_failures(&mut server),
        })
    }

    fn is_well(&self) -> bool {
        self.found > 0 && self.failing == 0
    }

    fn json(&self) -> Value {
        let targets: Vec<Value> = self.shown.iter().map(Target::json).collect();
        json!({
            "found": self.found,
            "notScraped": self.failing,
            "targets": targets,
            "discoveryFailures": self.discovery,
        })
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for target in &self.shown {
            target.text(&mut out);
        }
        if self.found > self.limit {
            out += &format!("{} more; --limit shows more of them.\n", self.found - self.limit);
        }
        match self.found {
            0 => {
                out += "Nothing that was discovered matches. Targets of each job:\n";
                for (pool, count) in &self.pools {
                    out += &format!("  {pool}: {count}\n");
                }
            }
            found => out += &format!("{found} found, {} of them not scraped.\n", self.failing),
        }
        for failure in &self.discovery {
            out += &format!("Discovery fails: {failure}\n");
        }
        out
    }
}

// Prometheus does not have this; then nothing is known.
fn discovery_failures(server: &mut ApiServer) -> Vec<String> {
    let Ok(answer) = server.get("/api/v1/status/discovery", &[]) else {
        return Vec::new();
    };
    let providers = list(answer.pointer("/data/providers")).iter();
    let failing = providers.filter(|provider| !text_at(provider, "lastError").is_empty());
    failing
        .map(|provider| {
            let jobs: Vec<&str> = list(provider.get("configs")).iter().filter_map(Value::as_str).collect();
            format!(
                "{} {} of {}: {}",
                text_at(provider, "mechanism"),
                text_at(provider, "place"),
                jobs.join(", "),
                text_at(provider, "lastError")
            )
        })
        .collect()
}
