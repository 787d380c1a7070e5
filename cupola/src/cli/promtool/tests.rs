use cupola_config::MemoryFiles;
use expect_test::{Expect, expect};

use super::*;

const RULES: &str = "groups:\n- name: g\n  rules:\n  - {record: a, expr: sum(x)}\n  - {alert: B, expr: x > 1}\n";
const TWICE: &str = "groups:\n- name: g\n  rules:\n  - {alert: B, expr: x, labels: {severity: page}}\n  - {alert: B, expr: y, labels: {severity: page}}\n";
const BAD: &str = "groups:\n- name: g\n  rules:\n  - {record: a, expr: 'sum('}\n  - {record: b, expr: 'x{a=~\"(\"}'}\n";
const EXTENDED: &str =
    "x-owner: a\ngroups:\n- name: g\n  team: b\n  rules:\n  - {record: a, expr: sum(x), runbook: c}\n";
const FEATURES: &str = "groups:\n- name: g\n  rules:\n  - {record: a, expr: 'limitk(1, x)'}\n";
const SCRIPT: &str = "load 1m\n  x 1 2\n\neval instant at 1m x\n  x 2\n\neval instant at 1m x + 1\n  {} 4\n";

// Runs promtool over files in memory and shows all that it said.
#[track_caller]
fn check(args: &[&str], input: &str, expected: Expect) {
    let files = MemoryFiles::new([
        ("rules.yml", RULES),
        ("twice.yml", TWICE),
        ("bad.yml", BAD),
        ("features.yml", FEATURES),
        ("extended.yml", EXTENDED),
        ("a.test", SCRIPT),
        ("b.test", "load 1m\n  y 1\n\neval instant at 0 y\n  y 1\n"),
        ("broken.test", "load\n"),
        (
            "good.yml",
            "rule_files: [rules.yml, 'none*.yml']\nscrape_configs: [{job_name: a}]\n",
        ),
        ("lint.yml", "rule_files: [twice.yml]\n"),
        ("badrules.yml", "rule_files: [features.yml]\n"),
        ("typo.yml", "globl: {}\n"),
        ("ownfields.yml", "rule_files: [extended.yml]\n"),
        (
            "seldom.yml",
            "rule_files: [rules.yml]\nscrape_configs: [{job_name: a, scrape_interval: 10m}, {job_name: b, scrape_interval: 1h}]\n",
        ),
        (
            "groups.yml",
            "groups:\n- name: g\n  labels: {dc: a}\n  rules: [{alert: B, expr: x}]\n- name: h\n  labels: {dc: b}\n  rules: [{alert: B, expr: x}]\n- name: i\n  rules: [{alert: B, expr: x, labels: {dc: b}}]\n",
        ),
        (
            "missing.yml",
            "rule_files: [gone.yml]\nscrape_configs:\n- job_name: a\n  authorization: {credentials_file: token}\n  tls_config: {cert_file: c, key_file: rules.yml}\n",
        ),
    ]);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let promtool = Promtool::try_parse_from([&["promtool"], args].concat()).unwrap();
    let code = promtool
        .run_with(&mut Io {
            files: &files,
            input: &mut input.as_bytes(),
            out: &mut out,
            err: &mut err,
        })
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    expected.assert_eq(&format!("{}-- stderr\n{}-- exit {code}\n", text(out), text(err)));
}

#[test]
fn queries_are_formatted() {
    check(
        &["promql", "format", "sum  by(a)(x)"],
        "",
        expect![[r#"
        sum by (a) (x)
        -- stderr
        -- exit 0
    "#]],
    );
    check(
        &["promql", "format", "-x"],
        "",
        expect![[r#"
        -x
        -- stderr
        -- exit 0
    "#]],
    );
    check(
        &["--experimental", "promql", "format", "x +\n  sum(é 1)"],
        "",
        expect![[r#"
            -- stderr
            2:7: parse error: unexpected character: 'é'
                sum(é 1)
                    ^^^^
            -- exit 1
        "#]],
    );
    check(
        &["promql", "format", "x["],
        "",
        expect![[r#"
            -- stderr
            1:3: parse error: unexpected end of input in duration expression
              x[
                ^
            -- exit 1
        "#]],
    );
}

#[test]
fn a_query_without_quotes_is_told_how_to_be_one() {
    check(
        &["promql", "format", "sum", "by", "(a)"],
        "",
        expect![[r#"
            -- stderr
            promtool: error: a query is one argument, put it in quotes: promtool promql format 'sum by (a)'
            -- exit 1
        "#]],
    );
}

#[test]
fn experimental_parts_are_off_until_they_are_asked_for() {
    check(
        &["promql", "format", "limitk(1, x)"],
        "",
        expect![[r#"
            -- stderr
            1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions
              limitk(1, x)
              ^^^^^^^^^^^^
            -- exit 1
        "#]],
    );
    check(
        &["promql", "format", "mad_over_time(x[5m])"],
        "",
        expect![[r#"
            -- stderr
            1:1: parse error: function "mad_over_time" is not enabled
              mad_over_time(x[5m])
              ^^^^^^^^^^^^^
            This query needs --enable-feature=promql-experimental-functions, here and in the server.
            -- exit 1
        "#]],
    );
    check(
        &[
            "promql",
            "format",
            "--enable-feature=promql-experimental-functions,nope",
            "limitk(1, x)",
        ],
        "",
        expect![[r#"
            limitk(1, x)
            -- stderr
              WARNING: Unknown option for --enable-feature: "nope"
            -- exit 0
        "#]],
    );
}

#[test]
fn queries_are_shown_as_trees() {
    check(
        &["promql", "parse", "1"],
        "",
        expect![[r#"
        {
          "type": "numberLiteral",
          "val": "1"
        }
        -- stderr
        -- exit 0
    "#]],
    );
}

#[test]
fn rules_are_checked_file_by_file() {
    check(
        &["check", "rules", "rules.yml", "bad.yml", "rules.yml"],
        "",
        expect![[r#"
            Checking rules.yml
              SUCCESS: 2 rules found

            Checking bad.yml

            Checking rules.yml
              SUCCESS: 2 rules found

            -- stderr
              FAILED:
            bad.yml: 4:23: group "g", rule 1, "a": could not parse expression: 1:5: parse error: unclosed left parenthesis
            bad.yml: 5:23: group "g", rule 2, "b": could not parse expression: 1:3: parse error: error parsing regexp: missing closing ): `(`
            -- exit 1
        "#]],
    );
    check(
        &["check", "rules"],
        RULES,
        expect![[r#"
            Checking standard input
              SUCCESS: 2 rules found

            -- stderr
            -- exit 0
        "#]],
    );
    check(
        &["check", "rules"],
        BAD,
        expect![[r#"
            Checking standard input

            -- stderr
              FAILED:
            <stdin>: 4:23: group "g", rule 1, "a": could not parse expression: 1:5: parse error: unclosed left parenthesis
            <stdin>: 5:23: group "g", rule 2, "b": could not parse expression: 1:3: parse error: error parsing regexp: missing closing ): `(`
            -- exit 1
        "#]],
    );
    check(
        &["check", "rules", "rules.yml", "nope.yml"],
        "",
        expect![[r#"
            -- stderr
            promtool: error: path 'nope.yml' does not exist, try --help
            -- exit 1
        "#]],
    );
    check(
        &["check", "rules", "features.yml"],
        "",
        expect![[r#"
            Checking features.yml

            -- stderr
              FAILED:
            features.yml: 4:23: group "g", rule 1, "a": could not parse expression: 1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions
            -- exit 1
        "#]],
    );
    check(
        &[
            "--enable-feature=promql-experimental-functions",
            "check",
            "rules",
            "features.yml",
        ],
        "",
        expect![[r#"
            Checking features.yml
              SUCCESS: 1 rules found

            -- stderr
            -- exit 0
        "#]],
    );
}

#[test]
fn unknown_fields_are_mistakes_until_they_are_to_be_ignored() {
    check(
        &["check", "rules", "extended.yml"],
        "",
        expect![[r#"
            Checking extended.yml

            -- stderr
              FAILED:
            extended.yml: 1:1: field x-owner not found in type rulefmt.RuleGroups
            extended.yml: 4:3: field team not found in type rulefmt.RuleGroup
            extended.yml: 6:31: field runbook not found in type rulefmt.Rule
            -- exit 1
        "#]],
    );
    check(
        &["check", "rules", "--ignore-unknown-fields", "extended.yml"],
        "",
        expect![[r#"
            Checking extended.yml
              SUCCESS: 1 rules found

            -- stderr
            -- exit 0
        "#]],
    );
    // Everything else is as strict as ever.
    check(
        &["check", "rules", "--ignore-unknown-fields", "bad.yml"],
        "",
        expect![[r#"
            Checking bad.yml

            -- stderr
              FAILED:
            bad.yml: 4:23: group "g", rule 1, "a": could not parse expression: 1:5: parse error: unclosed left parenthesis
            bad.yml: 5:23: group "g", rule 2, "b": could not parse expression: 1:3: parse error: error parsing regexp: missing closing ): `(`
            -- exit 1
        "#]],
    );
}

#[test]
fn rules_that_come_twice_are_told_and_count_where_they_should() {
    check(
        &["check", "rules", "twice.yml"],
        "",
        expect![[r#"
            Checking twice.yml

            -- stderr
              FAILED:
            lint error 1 duplicate rule(s) found.
            Metric: B
            Label(s):
            	severity: page
            Might cause inconsistency while recording expressions
            -- exit 0
        "#]],
    );
    check(
        &["check", "rules", "--lint=all", "--lint-fatal", "twice.yml"],
        "",
        expect![[r#"
            Checking twice.yml

            -- stderr
              FAILED:
            lint error 1 duplicate rule(s) found.
            Metric: B
            Label(s):
            	severity: page
            Might cause inconsistency while recording expressions
            -- exit 3
        "#]],
    );
    check(
        &["check", "rules", "--lint=none,foo", "--lint-fatal", "twice.yml"],
        "",
        expect![[r#"
            WARNING: unknown lint option: "foo"
            Checking twice.yml
              SUCCESS: 2 rules found

            -- stderr
            -- exit 0
        "#]],
    );
}

#[test]
fn configurations_are_checked_with_their_rules() {
    check(
        &["check", "config", "good.yml"],
        "",
        expect![[r#"
        Checking good.yml
          SUCCESS: 1 rule files found
         SUCCESS: good.yml is valid prometheus config file syntax

        Checking rules.yml
          SUCCESS: 2 rules found

        -- stderr
        -- exit 0
    "#]],
    );
    check(
        &["check", "config", "typo.yml", "badrules.yml"],
        "",
        expect![[r#"
        Checking typo.yml

        Checking badrules.yml
          SUCCESS: 1 rule files found
         SUCCESS: badrules.yml is valid prometheus config file syntax

        Checking features.yml

        -- stderr
          FAILED: typo.yml:1:1: field globl not found in type config.plain (did you mean global?)
          FAILED:
        features.yml: 4:23: group "g", rule 1, "a": could not parse expression: 1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions
        -- exit 1
    "#]],
    );
}

#[test]
fn lint_of_a_configurations_rules_counts_where_it_is_to_count() {
    check(
        &["check", "config", "lint.yml"],
        "",
        expect![[r#"
        Checking lint.yml
          SUCCESS: 1 rule files found
         SUCCESS: lint.yml is valid prometheus config file syntax

        Checking twice.yml

        -- stderr
          FAILED:
        lint error 1 duplicate rule(s) found.
        Metric: B
        Label(s):
        	severity: page
        Might cause inconsistency while recording expressions
        -- exit 0
    "#]],
    );
    check(
        &["check", "config", "--lint-fatal", "lint.yml"],
        "",
        expect![[r#"
        Checking lint.yml
          SUCCESS: 1 rule files found
         SUCCESS: lint.yml is valid prometheus config file syntax

        Checking twice.yml

        -- stderr
          FAILED:
        lint error 1 duplicate rule(s) found.
        Metric: B
        Label(s):
        	severity: page
        Might cause inconsistency while recording expressions
        -- exit 3
    "#]],
    );
    check(
        &["check", "config", "--lint-fatal", "--lint=none", "lint.yml"],
        "",
        expect![[r#"
            Checking lint.yml
              SUCCESS: 1 rule files found
             SUCCESS: lint.yml is valid prometheus config file syntax

            Checking twice.yml
              SUCCESS: 2 rules found

            -- stderr
            -- exit 0
        "#]],
    );
}

#[test]
fn files_that_a_configuration_names_must_be_there_unless_only_syntax_is_asked_for() {
    check(
        &["check", "config", "missing.yml"],
        "",
        expect![[r#"
        Checking missing.yml

        -- stderr
          FAILED: "gone.yml" does not point to an existing file
        error checking authorization credentials or bearer token file "token" of job a: no such file
        error checking client cert file "c" of job a: no such file
        -- exit 1
    "#]],
    );
    check(
        &["check", "config", "--syntax-only", "missing.yml"],
        "",
        expect![[r#"
        Checking missing.yml
         SUCCESS: missing.yml is valid prometheus config file syntax

        -- stderr
        -- exit 0
    "#]],
    );
}

#[test]
fn upstreams_files_of_targets_get_upstreams_verdicts() {
    let Some(dir) = cupola_testkit::conformance_dir("promtool") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    for (name, is_good) in [
        ("url_in_scrape_targetgroup_with_relabel_config.good.yml", true),
        ("url_in_scrape_targetgroup_with_relabel_config.bad.yml", false),
        ("good-sd-file.yml", true),
        ("good-sd-file.json", true),
        ("bad-sd-file-format.yml", false),
    ] {
        let file = dir.join(name);
        let config = home.path().join("p.yml");
        let text = format!(
            "scrape_configs: [{{job_name: a, file_sd_configs: [{{files: ['{}']}}]}}]\n",
            file.display()
        );
        std::fs::write(&config, text).unwrap();
        let checked = if name.contains("sd-file") { &config } else { &file };
        let args = ["promtool", "check", "config", &checked.to_string_lossy()];
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let promtool = Promtool::try_parse_from(args).unwrap();
        let mut io = Io {
            files: &DiskFiles,
            input: &mut io::empty(),
            out: &mut out,
            err: &mut err,
        };
        let code = promtool.run_with(&mut io).unwrap();
        assert_eq!(code == 0, is_good, "{name}: {}", String::from_utf8_lossy(&err));
    }
}

#[test]
fn own_fields_of_rules_are_accepted_in_a_configuration_too_where_they_are_to_be() {
    check(
        &["check", "config", "--ignore-unknown-fields", "ownfields.yml"],
        "",
        expect![[r#"
            Checking ownfields.yml
              SUCCESS: 1 rule files found
             SUCCESS: ownfields.yml is valid prometheus config file syntax

            Checking extended.yml
              SUCCESS: 1 rules found

            -- stderr
            -- exit 0
        "#]],
    );
}

#[test]
fn jobs_that_are_scraped_too_seldom_are_told_where_that_is_asked() {
    check(
        &["check", "config", "--lint-fatal", "seldom.yml"],
        "",
        expect![[r#"
        Checking seldom.yml
          SUCCESS: 1 rule files found
         SUCCESS: seldom.yml is valid prometheus config file syntax

        Checking rules.yml
          SUCCESS: 2 rules found

        -- stderr
        -- exit 0
    "#]],
    );
    check(
        &[
            "check",
            "config",
            "--lint=too-long-scrape-interval",
            "--lint-fatal",
            "seldom.yml",
        ],
        "",
        expect![[r#"
            Checking seldom.yml
              SUCCESS: 1 rule files found
             SUCCESS: seldom.yml is valid prometheus config file syntax

            Checking rules.yml
              SUCCESS: 2 rules found

            -- stderr
              FAILED: too long scrape interval found, data point will be marked as stale - job: a, interval: 10m
            -- exit 3
        "#]],
    );
    check(
        &[
            "check",
            "config",
            "--lint=all",
            "--query.lookback-delta=11m",
            "seldom.yml",
        ],
        "",
        expect![[r#"
            Checking seldom.yml
              SUCCESS: 1 rule files found
             SUCCESS: seldom.yml is valid prometheus config file syntax

            Checking rules.yml
              SUCCESS: 2 rules found

            -- stderr
              FAILED: too long scrape interval found, data point will be marked as stale - job: b, interval: 1h
            -- exit 0
        "#]],
    );
    check(
        &["check", "config", "--lint=all,none", "--lint-fatal", "seldom.yml"],
        "",
        expect![[r#"
            Checking seldom.yml
              SUCCESS: 1 rule files found
             SUCCESS: seldom.yml is valid prometheus config file syntax

            Checking rules.yml
              SUCCESS: 2 rules found

            -- stderr
            -- exit 0
        "#]],
    );
}

#[test]
fn rules_of_one_name_differ_by_their_groups_labels() {
    check(
        &["check", "rules", "groups.yml"],
        "",
        expect![[r#"
        Checking groups.yml

        -- stderr
          FAILED:
        lint error 1 duplicate rule(s) found.
        Metric: B
        Label(s):
        	dc: b
        Might cause inconsistency while recording expressions
        -- exit 0
    "#]],
    );
}

#[test]
fn metrics_are_counted_without_lint_and_something_must_be_asked_for() {
    let odd = "# TYPE x counter\nx 1\n";
    check(
        &["check", "metrics", "--lint=none"],
        odd,
        expect![[r#"
        -- stderr
        error: at least one of --extended or linting must be enabled
        Use --extended for cardinality analysis, or remove --lint=none to enable linting
        -- exit 1
    "#]],
    );
    check(
        &["check", "metrics", "--lint=none", "--extended"],
        odd,
        expect![[r#"
            Metric    Cardinality    Percentage    
            x         1              100.00%       
            Total     1              100%          
            -- stderr
            -- exit 0
        "#]],
    );
    check(
        &["check", "metrics", "--extended"],
        odd,
        expect![[r#"
        Metric    Cardinality    Percentage    
        x         1              100.00%       
        Total     1              100%          
        -- stderr
        x counter metrics should have "_total" suffix
        x no help text
        -- exit 3
    "#]],
    );
}

#[test]
fn metrics_are_read_as_strictly_as_by_the_reference() {
    for body in [
        "a 1",
        "a{b=\"c\",b=\"d\"} 1\n",
        "a{__name__=\"c\"} 1\n",
        "a{b=\"\\x\"} 1\n",
        "a 1\n# TYPE a gauge\n",
        "# TYPE h histogram\nh_bucket{le=\"x\"} 1\n",
        "# TYPE s summary\ns{quantile=\"x\"} 1\n",
    ] {
        let told = metrics(body);
        assert!(
            told.1.starts_with("error while linting: text format parsing error in "),
            "{body}: {told:?}"
        );
        assert_eq!(told.0, 1, "{body}");
    }
    // A scrape would not take these.
    for body in ["# TYPE a\na 1\n", "a 1 -5\n"] {
        assert_eq!(metrics(body), (3, "a no help text\n".to_owned()), "{body}");
    }
}

fn metrics(body: &str) -> (u8, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut io = Io {
        files: &DiskFiles,
        input: &mut body.as_bytes(),
        out: &mut out,
        err: &mut err,
    };
    let code = super::metrics::check(false, true, &mut io).unwrap_or(u8::MAX);
    (code, String::from_utf8_lossy(&err).into_owned())
}

#[test]
fn coverage_of_rules_is_refused_in_so_many_words() {
    check(
        &["test", "rules", "--coverage", "rules.yml"],
        "",
        expect![[r#"
        -- stderr
        promtool: error: --coverage: which rules the tests cover is not measured by this version; leave the flag out
        -- exit 1
    "#]],
    );
}

#[test]
fn scripts_are_run_and_counted() {
    check(
        &["test", "promql", "b.test"],
        "",
        expect![[r#"
            b.test: 1 passed, 0 failed
            1 passed, 0 failed
            -- stderr
            -- exit 0
        "#]],
    );
    check(
        &["test", "promql", "a.test", "broken.test", "b.test"],
        "",
        expect![[r#"
            a.test:7: x + 1
                {}: expected 4, got 3
            a.test: 1 passed, 1 failed
            broken.test:1: load needs a step
            broken.test: 0 passed, 1 failed
            b.test: 1 passed, 0 failed
            2 passed, 2 failed
            -- stderr
            -- exit 1
        "#]],
    );
}
