//! Targets and where alerts go.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cupola_model::format_duration;
use cupola_scrape::{DroppedTarget, TargetStatus};
use http::Uri;

use crate::api::answer::Ask;
use crate::api::json::{
    Answer, ApiError, success, write_labels, write_list, write_number, write_str, write_strs, write_time,
};

/// `targets`: what is scraped and what relabelling dropped.
pub(super) fn targets(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let state = ask.params.get("state").to_lowercase();
    let pool = ask.params.get("scrapePool");
    let is_asked = |name: &str| pool.is_empty() || name == pool;
    let shows = |kind: &str| state.is_empty() || state == "any" || state == kind;
    let mut active = if shows("active") {
        ask.app.scrape.targets()
    } else {
        Vec::new()
    };
    active.retain(|target| is_asked(&target.scrape_pool));
    active.sort_by(|a, b| a.scrape_pool.cmp(&b.scrape_pool));
    let dropped = shows("dropped").then(|| {
        let mut dropped = ask.app.scrape.dropped();
        dropped.retain(|target| is_asked(&target.scrape_pool));
        dropped.sort_by(|a, b| a.scrape_pool.cmp(&b.scrape_pool));
        dropped
    });
    let mut counts = ask.app.scrape.dropped_counts();
    counts.retain(|name, _| is_asked(name));
    Ok(success(&write_targets(
        &active,
        dropped.as_deref(),
        counts,
        &ask.app.external_url,
    )))
}

/// `scrape_pools`: the names of all jobs.
pub(super) fn scrape_pools(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let mut data = String::from("{\"scrapePools\":");
    write_strs(&mut data, &ask.app.scrape.pools());
    data.push('}');
    Ok(success(&data))
}

/// `alertmanagers`: those outside this process.
pub(super) fn alertmanagers(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let mut data = String::from("{\"activeAlertmanagers\":");
    let write_url = |out: &mut String, url: &String| {
        out.push_str("{\"url\":");
        write_str(out, url);
        out.push('}');
    };
    write_list(&mut data, &ask.app.remote_alertmanagers.urls(), write_url);
    data.push_str(",\"droppedAlertmanagers\":");
    write_list(&mut data, &ask.app.remote_alertmanagers.dropped(), write_url);
    data.push('}');
    Ok(success(&data))
}

fn write_targets(
    active: &[TargetStatus],
    dropped: Option<&[DroppedTarget]>,
    counts: BTreeMap<String, usize>,
    external_url: &str,
) -> String {
    let mut out = String::from("{\"activeTargets\":");
    write_list(&mut out, active, |out, target| write_target(out, target, external_url));
    out.push_str(",\"droppedTargets\":");
    write_list(&mut out, dropped.unwrap_or_default(), |out, target| {
        out.push_str("{\"discoveredLabels\":");
        write_labels(out, &target.discovered);
        out.push_str(",\"scrapePool\":");
        write_str(out, &target.scrape_pool);
        out.push('}');
    });
    out.push_str(",\"droppedTargetCounts\":");
    match dropped {
        // Prometheus does not count what was not asked for.
        None => out.push_str("null"),
        Some(_) => {
            out.push('{');
            for (i, (pool, count)) in counts.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                write_str(&mut out, pool);
                let _ = write!(out, ":{count}");
            }
            out.push('}');
        }
    }
    out.push('}');
    out
}

fn write_target(out: &mut String, target: &TargetStatus, external_url: &str) {
    out.push_str("{\"discoveredLabels\":");
    write_labels(out, &target.discovered_labels);
    out.push_str(",\"labels\":");
    write_labels(out, &target.labels);
    for (name, text) in [
        ("scrapePool", &target.scrape_pool),
        ("scrapeUrl", &target.scrape_url),
        ("globalUrl", &global_url(&target.scrape_url, external_url)),
        ("lastError", &target.last_error),
    ] {
        let _ = write!(out, ",\"{name}\":");
        write_str(out, text);
    }
    out.push_str(",\"lastScrape\":");
    write_time(out, target.last_scrape);
    out.push_str(",\"lastScrapeDuration\":");
    write_number(out, target.last_scrape_duration);
    let _ = write!(
        out,
        ",\"health\":\"{}\",\"scrapeInterval\":\"{}\",\"scrapeTimeout\":\"{}\"}}",
        target.health.as_str(),
        format_duration(target.interval_ms),
        format_duration(target.timeout_ms),
    );
}

// The URL as others may reach it: for a target on this machine, the machine's name in the external URL replaces localhost.
fn global_url(scrape_url: &str, external_url: &str) -> String {
    let outside = external_url
        .parse::<Uri>()
        .ok()
        .and_then(|u| u.host().map(str::to_owned));
    let inside = scrape_url.parse::<Uri>().ok().and_then(|u| u.host().map(str::to_owned));
    match (outside, inside.as_deref()) {
        (Some(outside), Some(inside @ ("localhost" | "127.0.0.1" | "[::1]"))) => {
            scrape_url.replacen(&format!("//{inside}"), &format!("//{outside}"), 1)
        }
        _ => scrape_url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_model::Labels;
    use cupola_scrape::Health;
    use expect_test::expect;

    #[test]
    fn targets_are_written_as_prometheus_does() {
        let target = TargetStatus {
            discovered_labels: Labels::from_pairs([("__address__", "localhost:9100"), ("job", "node")]),
            labels: Labels::from_pairs([("instance", "localhost:9100"), ("job", "node")]),
            scrape_pool: "node".into(),
            scrape_url: "http://localhost:9100/metrics".into(),
            last_error: "server returned HTTP status 500".into(),
            last_scrape: Some(1_500),
            last_scrape_duration: 0.25,
            last_samples: 7,
            health: Health::Down,
            interval_ms: 90_000,
            timeout_ms: 10_000,
        };
        let dropped = DroppedTarget {
            discovered: Labels::from_pairs([("__address__", "x:1")]),
            scrape_pool: "node".into(),
        };
        let counts = BTreeMap::from([("node".to_owned(), 1), ("other".to_owned(), 0)]);
        let text = write_targets(
            &[target],
            Some(&[dropped]),
            counts.clone(),
            "https://mon.example.org/prom",
        );
        expect![[r#"{"activeTargets":[{"discoveredLabels":{"__address__":"localhost:9100","job":"node"},"labels":{"instance":"localhost:9100","job":"node"},"scrapePool":"node","scrapeUrl":"http://localhost:9100/metrics","globalUrl":"http://mon.example.org:9100/metrics","lastError":"server returned HTTP status 500","lastScrape":"1970-01-01T00:00:01.500Z","lastScrapeDuration":0.25,"health":"down","scrapeInterval":"1m30s","scrapeTimeout":"10s"}],"droppedTargets":[{"discoveredLabels":{"__address__":"x:1"},"scrapePool":"node"}],"droppedTargetCounts":{"node":1,"other":0}}"#]]
        .assert_eq(&text);
        expect![[r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":null}"#]].assert_eq(&write_targets(
            &[],
            None,
            counts,
            "",
        ));
    }

    #[test]
    fn only_addresses_of_this_machine_are_made_global() {
        let global = |url| global_url(url, "http://mon:9090");
        assert_eq!(global("http://127.0.0.1:9100/metrics"), "http://mon:9100/metrics");
        assert_eq!(global("http://[::1]:9100/m?a=b"), "http://mon:9100/m?a=b");
        assert_eq!(global("http://db1:9100/metrics"), "http://db1:9100/metrics");
        assert_eq!(global_url("http://localhost/", ""), "http://localhost/");
    }
}
