//! The scenarios of Alertmanager's own acceptance tests, in our words (`scenarios.json`), with a clock that the test turns.

use std::collections::BTreeMap;

use serde_json::Value;

use super::timing::{Sent, fakes};
use super::*;

// Of the scenarios these need several processes or other programs; they are elsewhere.
fn is_for_the_engine(case: &Value) -> bool {
    !matches!(case["area"].as_str(), Some("ha" | "amtool" | "web"))
}

struct Run {
    manager: Alertmanager,
    sinks: BTreeMap<String, Sent>,
    yaml: String,
    begin: Instant,
    base_ms: i64,
    silences: HashMap<String, Arc<str>>,
    seen: Vec<Seen>,
}

struct Seen {
    at: f64,
    sink: String,
    notification: cupola_notify::Notification,
}

impl Run {
    fn start(case: &Value) -> Self {
        let mut yaml = case["config"].as_str().unwrap().to_owned();
        for sink in ["SINK1", "SINK2"] {
            yaml = yaml.replace(sink, &format!("http://x/{sink}"));
        }
        let mut options = Options::default();
        for step in case["steps"].as_array().unwrap() {
            for flag in step["flags"].as_array().into_iter().flatten() {
                let delay = flag.as_str().unwrap().strip_prefix("--dispatch.start-delay=").unwrap();
                options.start_delay = Duration::from_secs(delay.trim_end_matches('s').parse().unwrap());
            }
        }
        let begin = Instant::now();
        let manager = start_at(&yaml, options, begin);
        let sinks = fakes(&manager);
        Self {
            base_ms: manager.now_ms(),
            manager,
            sinks,
            yaml,
            begin,
            silences: HashMap::new(),
            seen: Vec::new(),
        }
    }

    fn time(&self, seconds: &Value) -> Option<i64> {
        Some(self.base_ms + (seconds.as_f64()? * 1000.0) as i64)
    }

    // Goes on to that second, and notes what is sent meanwhile.
    async fn go_on(&mut self, seconds: f64) {
        let end = self.begin + Duration::from_secs_f64(seconds);
        loop {
            for (path, sink) in &self.sinks {
                while let Ok((notification, code)) = sink.try_recv() {
                    if code == 200 {
                        self.seen.push(Seen {
                            at: self.begin.elapsed().as_secs_f64(),
                            sink: path.clone(),
                            notification,
                        });
                    }
                }
            }
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn step(&mut self, step: &Value) {
        for alert in step["post"].as_array().into_iter().flatten() {
            let pairs = |json: &Value| -> Labels {
                let pairs = json.as_object().into_iter().flatten();
                pairs
                    .map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned()))
                    .collect()
            };
            let (start, end) = (self.time(&alert["start"]), self.time(&alert["end"]));
            self.manager.post(&[Alert {
                labels: pairs(&alert["labels"]),
                annotations: pairs(&alert["annotations"]),
                starts_at: start.or(end).unwrap_or_else(|| self.manager.now_ms()),
                ends_at: end,
                generator_url: String::new(),
            }]);
        }
        if let Some(silence) = step["silence"].as_object() {
            let matchers = silence["matchers"].as_array().unwrap().iter();
            let matchers = matchers.map(|text| {
                let parsed = cupola_config::matchers::parse_matcher(text.as_str().unwrap(), MatcherMode::Fallback);
                let matcher = parsed.unwrap().matchers.remove(0);
                (matcher.name().to_owned(), matcher.op(), matcher.value().to_owned())
            });
            let request = crate::SilenceRequest {
                matchers: matchers.collect(),
                starts_at: self.time(&silence["start"]),
                ends_at: self.time(&silence["end"]).unwrap(),
                ..crate::SilenceRequest::default()
            };
            let id = self.manager.set_silence(request).unwrap();
            let name = silence.get("id").and_then(Value::as_str).unwrap_or("");
            self.silences.insert(name.to_owned(), id);
        }
        if let Some(name) = step["expire"].as_str() {
            self.manager.expire_silence(&self.silences[name]).unwrap();
        }
        if step["reload"] == true {
            self.manager.reload(parsed(&self.yaml), &[]).unwrap();
            self.sinks = fakes(&self.manager);
        }
        if let Some(code) = step["respond"].as_u64() {
            // As many refusals as there are attempts until then: half a second, then one and a half times as long.
            let until = step["until"].as_f64().unwrap();
            let times = [0.0, 0.5, 1.25, 2.375, 4.0625]
                .iter()
                .filter(|t| 2.0 + **t < until)
                .count();
            self.refuse(step["sink"].as_str().unwrap(), code as u16, times);
        }
        let want = &step["want"];
        if let Some(state) = want["state"].as_str() {
            let is_warning = step["get"].as_str().unwrap().contains("warning");
            let all = self.manager.alert_statuses(&crate::AlertFilter::default());
            let is_meant = |s: &&crate::AlertStatus| !is_warning || s.alert.labels.value("severity") == "warning";
            let status = all.iter().find(is_meant).unwrap();
            assert_eq!(status.is_suppressed(), state == "suppressed", "{step}");
            if let Some(count) = want["silencedBy"].as_u64() {
                assert_eq!(status.silenced_by.len() as u64, count, "{step}");
            }
            assert_eq!(status.inhibited_by.is_some(), want["inhibitedBy"].is_string(), "{step}");
        } else if let Some(count) = want["count"].as_u64() {
            assert_eq!(self.manager.silences(&[]).len() as u64, count, "{step}");
        }
    }

    fn refuse(&self, sink: &str, code: u16, times: usize) {
        let loaded = self.manager.inner.loaded.lock().clone();
        let index = if sink == "SINK2" { 1 } else { 0 };
        let Channel::Fake(fake) = &loaded.integrations["d"][index] else {
            panic!("no fake");
        };
        fake.codes.lock().extend(std::iter::repeat_n(code, times));
    }

    fn check(&self, expected: &Value, tolerance: f64) -> Result<(), String> {
        let from = expected["between"][0].as_f64().unwrap();
        let to = expected["between"][1].as_f64().unwrap();
        let of_sink = self.seen.iter().filter(|s| s.sink == expected["sink"]);
        if expected["none"] == true || expected["none_with"].is_object() {
            let inside: Vec<_> = of_sink.filter(|s| s.at > from && s.at < to).collect();
            let forbidden = inside.iter().any(|s| {
                expected["none"] == true
                    || s.notification
                        .alerts
                        .iter()
                        .any(|a| has_labels(&a.labels, &expected["none_with"]))
            });
            return if forbidden {
                Err("a message came".into())
            } else {
                Ok(())
            };
        }
        let inside: Vec<&Seen> = of_sink
            .filter(|s| s.at >= from - tolerance && s.at <= to + tolerance)
            .collect();
        if let Some(total) = expected["total"].as_u64()
            && inside.len() as u64 != total
        {
            return Err(format!("{} messages", inside.len()));
        }
        for key in expected["group_keys"].as_array().into_iter().flatten() {
            if !inside.iter().any(|s| *key == *s.notification.group_key) {
                return Err(format!("no group {key}"));
            }
        }
        // Resolved alerts that a message must tell of, whatever else is in it.
        for labels in expected["resolved"].as_array().into_iter().flatten() {
            let is_told = |s: &&Seen| {
                let mut alerts = s.notification.alerts.iter();
                alerts.any(|a| a.ends_at.is_some() && has_labels(&a.labels, labels))
            };
            if !inside.iter().any(is_told) {
                return Err(format!("{labels} was not told resolved"));
            }
        }
        let Some(alerts) = expected["alerts"].as_array() else {
            return Ok(());
        };
        let fits = |seen: &&Seen| {
            let told = &seen.notification.alerts;
            told.len() == alerts.len()
                && alerts.iter().all(|wanted| {
                    told.iter().any(|a| {
                        let status = if a.ends_at.is_some() { "resolved" } else { "firing" };
                        let near =
                            |ms: i64, wanted: &Value| self.time(wanted).is_none_or(|wanted| ms.abs_diff(wanted) < 300);
                        wanted["status"].as_str().is_none_or(|s| s == status)
                            && has_labels(&a.labels, &wanted["labels"])
                            && has_labels(&a.annotations, &wanted["annotations"])
                            && near(a.starts_at, &wanted["start"])
                            && near(
                                a.ends_at.unwrap_or(0),
                                if a.ends_at.is_some() {
                                    &wanted["end"]
                                } else {
                                    &Value::Null
                                },
                            )
                    })
                })
        };
        if inside.iter().any(fits) {
            return Ok(());
        }
        Err("no message fits".into())
    }
}

fn has_labels(labels: &Labels, wanted: &Value) -> bool {
    let wanted = wanted.as_object().into_iter().flatten();
    wanted.into_iter().all(|(name, value)| labels.value(name) == value)
}

#[tokio::test(start_paused = true)]
async fn shared_scenarios() {
    let Some(dir) = cupola_testkit::conformance_dir("alertmanager") else {
        return;
    };
    let text = std::fs::read_to_string(dir.join("scenarios.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let mut checked = 0;
    for case in all["cases"].as_array().unwrap().iter().filter(|c| is_for_the_engine(c)) {
        // What a webhook leaves out is the webhook's.
        if case["area"] == "webhook" {
            continue;
        }
        let mut run = Run::start(case);
        for step in case["steps"].as_array().unwrap() {
            run.go_on(step["t"].as_f64().unwrap()).await;
            run.step(step);
        }
        let expected = case["expect"].as_array().unwrap();
        let tolerance = case["tolerance_s"].as_f64().unwrap();
        let end = expected
            .iter()
            .map(|e| e["between"][1].as_f64().unwrap())
            .fold(0.0, f64::max);
        run.go_on(end + tolerance + 1.0).await;
        for one in expected {
            if let Err(reason) = run.check(one, tolerance) {
                let seen = run
                    .seen
                    .iter()
                    .map(|s| format!("{:.2} {}: {:?}\n", s.at, s.sink, s.notification.alerts));
                panic!("{}: {reason}: {one}\n{}", case["id"], seen.collect::<String>());
            }
        }
        run.manager.inner.stop.cancel();
        checked += 1;
    }
    assert!(checked >= 17, "only {checked} scenarios");
}
