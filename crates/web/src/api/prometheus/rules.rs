//! Rules and the alerts they give.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cupola_model::{Matcher, fmt_f64_e};
use cupola_promql::{parse_selector, render_errors};
use cupola_rules::{ActiveAlert, AlertState, GroupStatus, RuleDetail, RuleStatus};
use sha2::{Digest as _, Sha256};

use crate::api::answer::Ask;
use crate::api::json::{
    Answer, ApiError, success, write_labels, write_list, write_number, write_pairs, write_str, write_time,
};
use crate::api::params::{Params, parse_bool, parse_int};

/// `rules`: all groups with the rules that were asked for.
pub(super) fn rules(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let filter = Filter::read(ask.params)?;
    let page = Page::read(ask.params)?;
    write_groups(&ask.app.rules.groups(), &filter, &page).map(|data| success(&data))
}

/// `alerts`: all pending and firing alerts.
pub(super) fn alerts(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let groups = ask.app.rules.groups();
    let rules = groups.iter().flat_map(|group| &group.rules);
    let alerts = rules.flat_map(|rule| match &rule.detail {
        RuleDetail::Alerting { alerts, .. } => alerts.as_slice(),
        RuleDetail::Recording => &[],
    });
    let mut data = String::from("{\"alerts\":");
    write_list(&mut data, alerts, write_alert);
    data.push('}');
    Ok(success(&data))
}

// Which rules are asked for; an empty list asks for all.
#[derive(Default)]
struct Filter {
    shows_alerting: bool,
    shows_recording: bool,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    // One of the lists must match the rule's labels.
    matchers: Vec<Vec<Matcher>>,
    excludes_alerts: bool,
}

impl Filter {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let kind = params.get("type").to_lowercase();
        if !matches!(kind.as_str(), "" | "alert" | "record") {
            return Err(ApiError::param("type", format!("not supported value \"{kind}\"")));
        }
        let excludes_alerts = match params.get("exclude_alerts").to_lowercase().as_str() {
            "" => false,
            text => parse_bool(text)
                .map_err(|e| ApiError::param("exclude_alerts", format!("error converting exclude_alerts: {e}")))?,
        };
        let mut matchers = Vec::new();
        for text in params.all("match[]") {
            let selector = parse_selector(text).map_err(|e| ApiError::param("match[]", render_errors(text, &e)))?;
            matchers.push(selector);
        }
        let all = |name| params.all(name).map(str::to_owned).collect();
        Ok(Self {
            shows_alerting: kind != "record",
            shows_recording: kind != "alert",
            names: all("rule_name[]"),
            groups: all("rule_group[]"),
            files: all("file[]"),
            matchers,
            excludes_alerts,
        })
    }

    fn takes_group(&self, group: &GroupStatus) -> bool {
        (self.groups.is_empty() || self.groups.contains(&group.name))
            && (self.files.is_empty() || self.files.contains(&group.file))
    }

    fn takes(&self, rule: &RuleStatus) -> bool {
        let value = |name: &str| rule.labels.get(name).map_or("", String::as_str);
        let kind = match rule.detail {
            RuleDetail::Recording => self.shows_recording,
            RuleDetail::Alerting { .. } => self.shows_alerting,
        };
        kind && (self.names.is_empty() || self.names.contains(&rule.name))
            && (self.matchers.is_empty()
                || self
                    .matchers
                    .iter()
                    .any(|selector| selector.iter().all(|m| m.matches(value(m.name())))))
    }
}

// Which of the groups that were asked for are told at once.
#[derive(Default)]
struct Page {
    // The most groups; 0 is all.
    limit: usize,
    // Of the first group to be told; empty is the first of all.
    token: String,
}

impl Page {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let token = params.get("group_next_token").to_owned();
        let limit = match params.get("group_limit") {
            "" if token.is_empty() => 0,
            "" => {
                let reason = "group_limit needs to be present in order to paginate over the groups";
                return Err(ApiError::param("group_limit", reason));
            }
            text => {
                let limit = parse_int(text).map_err(|e| {
                    ApiError::param("group_limit", format!("group_limit needs to be a valid number: {e}"))
                })?;
                let above_zero = usize::try_from(limit).ok().filter(|limit| *limit > 0);
                above_zero.ok_or_else(|| ApiError::param("group_limit", "group_limit needs to be greater than 0"))?
            }
        };
        Ok(Self { limit, token })
    }

    // The groups from the one that the token names.
    fn groups_of<'a>(&self, groups: &'a [GroupStatus]) -> Result<&'a [GroupStatus], ApiError> {
        if self.token.is_empty() {
            return Ok(groups);
        }
        let at = groups.iter().position(|group| token(group) == self.token);
        at.and_then(|at| groups.get(at..)).ok_or_else(|| {
            let reason = format!("invalid group_next_token '{}'. were rule groups changed?", self.token);
            ApiError::param("group_next_token", reason)
        })
    }
}

// What names a group as the first of the next page.
fn token(group: &GroupStatus) -> String {
    let digest = Sha256::digest(format!("{};{}", group.file, group.name));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_groups(groups: &[GroupStatus], filter: &Filter, page: &Page) -> Result<String, ApiError> {
    let asked = page
        .groups_of(groups)?
        .iter()
        .filter(|group| filter.takes_group(group))
        .filter_map(|group| {
            let rules: Vec<&RuleStatus> = group.rules.iter().filter(|rule| filter.takes(rule)).collect();
            // A group of which no rule was asked for is left out.
            (!rules.is_empty()).then_some((group, rules))
        });
    let mut asked: Vec<_> = asked.collect();
    let next = if page.limit > 0 {
        asked.get(page.limit).map(|(group, _)| token(group))
    } else {
        None
    };
    if next.is_some() {
        asked.truncate(page.limit);
    }
    let mut out = String::from("{\"groups\":");
    write_list(&mut out, asked, |out, (group, rules)| {
        out.push_str("{\"name\":");
        write_str(out, &group.name);
        out.push_str(",\"file\":");
        write_str(out, &group.file);
        out.push_str(",\"rules\":");
        write_list(out, rules, |out, rule| write_rule(out, rule, filter.excludes_alerts));
        out.push_str(",\"interval\":");
        write_number(out, seconds(group.interval_ms));
        let _ = write!(out, ",\"limit\":{},\"evaluationTime\":", group.limit);
        write_number(out, group.evaluation_seconds);
        out.push_str(",\"lastEvaluation\":");
        write_time(out, group.last_evaluation);
        out.push('}');
    });
    if let Some(next) = next {
        out.push_str(",\"groupNextToken\":");
        write_str(&mut out, &next);
    }
    out.push('}');
    Ok(out)
}

fn write_rule(out: &mut String, rule: &RuleStatus, excludes_alerts: bool) {
    out.push('{');
    if let RuleDetail::Alerting { alerts, .. } = &rule.detail {
        let state = alerts
            .iter()
            .map(|alert| alert.state)
            .max()
            .unwrap_or(AlertState::Inactive);
        // Whether it would be active nobody has looked yet, as Prometheus 3.14 says it.
        let is_known = rule.last_evaluation.is_some();
        let state = if is_known { state.as_str() } else { "unknown" };
        let _ = write!(out, "\"state\":\"{state}\",");
    }
    out.push_str("\"name\":");
    write_str(out, &rule.name);
    out.push_str(",\"query\":");
    write_str(out, &rule.query);
    if let RuleDetail::Alerting {
        hold_ms,
        keep_firing_ms,
        ..
    } = &rule.detail
    {
        out.push_str(",\"duration\":");
        write_number(out, seconds(*hold_ms));
        out.push_str(",\"keepFiringFor\":");
        write_number(out, seconds(*keep_firing_ms));
    }
    out.push_str(",\"labels\":");
    write_map(out, &rule.labels);
    let kind = match &rule.detail {
        RuleDetail::Recording => "recording",
        RuleDetail::Alerting {
            annotations, alerts, ..
        } => {
            out.push_str(",\"annotations\":");
            write_map(out, annotations);
            out.push_str(",\"alerts\":");
            let alerts = if excludes_alerts { &[] } else { alerts.as_slice() };
            write_list(out, alerts, write_alert);
            "alerting"
        }
    };
    let _ = write!(out, ",\"health\":\"{}\"", rule.health.as_str());
    if let Some(error) = rule.last_error.as_deref().filter(|e| !e.is_empty()) {
        out.push_str(",\"lastError\":");
        write_str(out, error);
    }
    out.push_str(",\"evaluationTime\":");
    write_number(out, rule.evaluation_seconds);
    out.push_str(",\"lastEvaluation\":");
    write_time(out, rule.last_evaluation);
    let _ = write!(out, ",\"type\":\"{kind}\"}}");
}

fn write_alert(out: &mut String, alert: &ActiveAlert) {
    out.push_str("{\"labels\":");
    write_labels(out, &alert.labels);
    out.push_str(",\"annotations\":");
    write_labels(out, &alert.annotations);
    let _ = write!(out, ",\"state\":\"{}\",\"activeAt\":", alert.state.as_str());
    write_time(out, Some(alert.active_at));
    if alert.keep_firing_since.is_some() {
        out.push_str(",\"keepFiringSince\":");
        write_time(out, alert.keep_firing_since);
    }
    let _ = write!(out, ",\"value\":\"{}\"}}", fmt_f64_e(alert.value));
}

fn write_map(out: &mut String, map: &BTreeMap<String, String>) {
    write_pairs(out, map.iter().map(|(name, value)| (name.as_str(), value.as_str())));
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_rules::RuleHealth;
    use expect_test::expect;

    fn rule(name: &str, detail: RuleDetail) -> RuleStatus {
        RuleStatus {
            name: name.into(),
            query: "up == 0".into(),
            labels: BTreeMap::from([("severity".into(), name.into())]),
            health: RuleHealth::Ok,
            last_error: None,
            evaluation_seconds: 0.001,
            last_evaluation: Some(61_000),
            detail,
        }
    }

    fn alerting() -> RuleDetail {
        let annotations = BTreeMap::from([("summary".into(), "{{ $labels.job }}".into())]);
        RuleDetail::Alerting {
            hold_ms: 300_000,
            keep_firing_ms: 0,
            annotations,
            alerts: vec![],
        }
    }

    fn groups() -> Vec<GroupStatus> {
        let mut broken = rule("r", RuleDetail::Recording);
        broken.health = RuleHealth::Err;
        broken.last_error = Some("no \"up\"".into());
        let group = |name: &str, file: &str, rules| GroupStatus {
            name: name.into(),
            file: file.into(),
            interval_ms: 15_000,
            limit: 0,
            rules,
            evaluation_seconds: 0.002,
            last_evaluation: None,
        };
        vec![
            group("g", "a.yml", vec![rule("A", alerting()), broken]),
            group("h", "b.yml", vec![rule("B", alerting())]),
        ]
    }

    #[test]
    fn groups_are_written_as_prometheus_does() {
        let all = Filter {
            shows_alerting: true,
            shows_recording: true,
            ..Filter::default()
        };
        expect![[r#"{"groups":[{"name":"g","file":"a.yml","rules":[{"state":"inactive","name":"A","query":"up == 0","duration":300,"keepFiringFor":0,"labels":{"severity":"A"},"annotations":{"summary":"{{ $labels.job }}"},"alerts":[],"health":"ok","evaluationTime":0.001,"lastEvaluation":"1970-01-01T00:01:01.000Z","type":"alerting"},{"name":"r","query":"up == 0","labels":{"severity":"r"},"health":"err","lastError":"no \"up\"","evaluationTime":0.001,"lastEvaluation":"1970-01-01T00:01:01.000Z","type":"recording"}],"interval":15,"limit":0,"evaluationTime":0.002,"lastEvaluation":"0001-01-01T00:00:00Z"}]}"#]]
        .assert_eq(&write_groups(&groups()[..1], &all, &Page::default()).unwrap());
    }

    #[test]
    fn a_rule_that_nobody_has_evaluated_is_of_unknown_state() {
        let mut groups = groups();
        groups[0].rules[0].last_evaluation = None;
        let filter = Filter::read(&Params::parse("type=alert", "")).unwrap();
        let written = write_groups(&groups, &filter, &Page::default()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&written).unwrap();
        let states = [0, 1].map(|at| json["groups"][at]["rules"][0]["state"].clone());
        assert_eq!(states, ["unknown", "inactive"]);
    }

    #[test]
    fn only_what_was_asked_for_is_told() {
        for (query, expected) in [
            ("", "A r B"),
            ("type=alert", "A B"),
            ("type=RECORD", "r"),
            ("rule_name[]=A&rule_name[]=r", "A r"),
            ("rule_group[]=h", "B"),
            ("file[]=a.yml&type=alert", "A"),
            ("match[]={severity=\"A\"}&match[]={severity=\"B\"}", "A B"),
            ("match[]={severity=~\"A|r\",severity!=\"A\"}", "r"),
            ("rule_name[]=nope", ""),
        ] {
            let filter = Filter::read(&Params::parse(query, "")).unwrap();
            let json: serde_json::Value = {
                let written = write_groups(&groups(), &filter, &Page::default()).unwrap();
                serde_json::from_str(&written).unwrap()
            };
            let groups = json["groups"].as_array().unwrap();
            let rules = groups.iter().flat_map(|g| g["rules"].as_array().unwrap());
            let names: Vec<_> = rules.map(|r| r["name"].as_str().unwrap()).collect();
            assert_eq!(names.join(" "), expected, "{query}");
            assert!(
                groups.iter().all(|g| !g["rules"].as_array().unwrap().is_empty()),
                "{query}"
            );
        }
    }

    #[test]
    fn groups_come_page_by_page() {
        let tell = |query: &str| {
            let params = Params::parse(query, "");
            let page = Page::read(&params).map_err(|e| e.message)?;
            let filter = Filter::read(&params).map_err(|e| e.message)?;
            let json = write_groups(&groups(), &filter, &page).map_err(|e| e.message)?;
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            let names: Vec<_> = json["groups"]
                .as_array()
                .unwrap()
                .iter()
                .map(|g| g["name"].clone())
                .collect();
            Ok::<_, String>((names, json["groupNextToken"].as_str().map(str::to_owned)))
        };
        let h = "2c8b6bb3ea9d0ea45b5b2d5a1d5a0ac9";
        let (names, next) = tell("group_limit=1").unwrap();
        assert_eq!(names, ["g"]);
        let next = next.unwrap();
        assert_eq!(next, "ff6762db688b1fef2e4c9a80a36b119d4c500af498c6f00e99e1e8f6b351990d");
        assert_eq!(
            tell(&format!("group_limit=1&group_next_token={next}")).unwrap(),
            (vec!["h".into()], None)
        );
        assert_eq!(tell("group_limit=2").unwrap(), (vec!["g".into(), "h".into()], None));
        assert_eq!(tell("group_limit=1&rule_group[]=h").unwrap(), (vec!["h".into()], None));
        for (query, text) in [
            ("group_limit=0", "invalid parameter \"group_limit\": group_limit needs to be greater than 0".to_owned()),
            (
                "group_limit=x",
                "invalid parameter \"group_limit\": group_limit needs to be a valid number: strconv.Atoi: parsing \"x\": \
                 invalid syntax"
                    .to_owned(),
            ),
            (
                "group_next_token=1",
                "invalid parameter \"group_limit\": group_limit needs to be present in order to paginate over the groups"
                    .to_owned(),
            ),
            (
                &format!("group_limit=1&group_next_token={h}"),
                format!("invalid parameter \"group_next_token\": invalid group_next_token '{h}'. were rule groups changed?"),
            ),
        ] {
            assert_eq!(tell(query).unwrap_err(), text, "{query}");
        }
    }

    #[test]
    fn wrong_parameters_are_named() {
        for (query, expected) in [
            ("type=x", "invalid parameter \"type\": not supported value \"x\""),
            (
                "exclude_alerts=maybe",
                "invalid parameter \"exclude_alerts\": error converting exclude_alerts: \
                 strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
        ] {
            assert_eq!(Filter::read(&Params::parse(query, "")).err().unwrap().message, expected);
        }
        assert!(Filter::read(&Params::parse("match[]={", "")).is_err());
    }
}
