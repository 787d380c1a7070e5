//! Constructs of text/template, one line each, with what Go prints.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use cupola_gotemplate::{
    AlertData, AlertExpander, Budget, ExpandError, Kv, Set, TemplateError, Time, Value, alertmanager,
    check_alert_template, prometheus,
};
use cupola_model::Labels;

fn dot() -> Value {
    Value::map([
        ("kv", Value::object(Kv::new([("alertname", "Down"), ("a", "1")]))),
        ("list", Value::strings(["x", "y", "z"])),
        ("time", Value::object(Time::from_unix_ms(1_714_557_600_000))),
        ("s", Value::from("text")),
        ("n", Value::Int(3)),
        ("f", Value::Float(1_234_567.5)),
    ])
}

fn set() -> Set {
    Set::new(alertmanager::funcs(|| Time::from_unix_ms(1_714_557_660_000)))
}

#[track_caller]
fn check(template: &str, expected: &str) {
    assert_eq!(set().execute_text(template, &dot()).unwrap(), expected, "{template}");
}

#[track_caller]
fn check_error(template: &str, expected: &str) {
    assert_eq!(
        set().execute_text(template, &dot()).unwrap_err().to_string(),
        expected,
        "{template}"
    );
}

#[test]
fn values_print_as_go_prints_them() {
    check(
        "{{ .f }} {{ .n }} {{ .s }} {{ .nope }} {{ .kv.nope }}|",
        "1.2345675e+06 3 text <no value> |",
    );
    check(
        "{{ .list }} {{ .kv }} {{ .time }}",
        "[x y z] alertname=Down, a=1 2024-05-01 10:00:00 +0000 UTC",
    );
    check(
        "{{ print nil }} {{ true }} {{ 'a' }} {{ 1e6 }} {{ 0x1F }} {{ `r` }}",
        "<nil> true 97 1e+06 31 r",
    );
    check(
        "{{ printf \"%T %T %T %T\" .kv .kv.SortedPairs .list .time }}",
        "template.KV template.Pairs []string time.Time",
    );
}

#[test]
fn variables_live_as_long_as_their_block() {
    check("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21");
    check("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2");
    check("{{ with $x := .s }}{{ $x }}{{ . }}{{ end }}{{ $.s }}", "texttexttext");
    check("{{ $i := 9 }}{{ range $i = .list }}{{ $i }}{{ end }}{{ $i }}", "xyzz");
    check("{{ range $i, $v := .list }}{{ $i }}{{ $v }}{{ end }}", "0x1y2z");
}

#[test]
fn loops_break_and_continue() {
    check(
        "{{ range .list }}{{ if eq . \"y\" }}{{ continue }}{{ end }}{{ . }}{{ end }}",
        "xz",
    );
    check(
        "{{ range .list }}{{ if eq . \"y\" }}{{ break }}{{ end }}{{ . }}{{ end }}",
        "x",
    );
    check(
        "{{ range 3 }}{{ . }}{{ else }}none{{ end }}{{ range 0 }}{{ else }}none{{ end }}",
        "012none",
    );
    check(
        "{{ range $k, $v := .kv }}{{ $k }}={{ $v }} {{ end }}",
        "a=1 alertname=Down ",
    );
    check("{{ range .nope }}x{{ else }}empty{{ end }}", "empty");
}

#[test]
fn functions_and_methods_chain() {
    check("{{ .list | join \",\" | printf \"%s-%d\" \"a\" | len }}", "19");
    check(
        "{{ (.time.Add 3600000000000).UTC.Format \"15:04\" }} {{ .time.Month }} {{ since .time }}",
        "11:00 May 1m0s",
    );
    check(
        "{{ and .n .nope }} {{ or .nope .n }} {{ and 1 2 }} {{ not .n }}",
        "<no value> 3 2 false",
    );
    check(
        "{{ eq .n 1 2 3 }} {{ ne .s \"a\" }} {{ lt .n 4 }} {{ eq .nope nil }} {{ eq .time .time }}",
        "true true true true true",
    );
    check(
        "{{ index .list 1 }} {{ slice .list 1 }} {{ index .kv \"a\" }} {{ slice \"hello\" 1 3 }}",
        "y [y z] 1 el",
    );
    check("{{ index \"abc\" 1 }} {{ len .kv }} {{ len \"é\" }}", "98 2 2");
    check(
        "{{ (.kv.Remove (stringSlice \"a\")).Names }} {{ .kv.Values }}",
        "[alertname] [Down 1]",
    );
}

#[test]
fn templates_call_each_other() {
    check(
        "{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" .s }}{{ template \"t\" }}",
        "<text><<no value>>",
    );
    check("{{ block \"b\" .n }}[{{ . }}]{{ end }}", "[3]");
    let mut set = set();
    set.add(
        "lib",
        "{{ define \"name\" }}old{{ end }}{{ define \"hello\" }}hi {{ template \"name\" }}{{ end }}",
    )
    .unwrap();
    assert_eq!(
        set.execute_text("{{ template \"hello\" }}", &Value::Nil).unwrap(),
        "hi old"
    );
    let own = "{{ define \"name\" }}new{{ end }}{{ template \"hello\" }}";
    assert_eq!(set.execute_text(own, &Value::Nil).unwrap(), "hi new");
    // The set itself is as before.
    let mut out = String::new();
    set.execute("hello", &Value::Nil, &mut out).unwrap();
    assert_eq!(out, "hi old");
    assert!(matches!(
        set.execute("nope", &Value::Nil, &mut out),
        Err(TemplateError::NoSuchTemplate(_))
    ));
}

// Recorded from amtool 0.25, the names of fields changed to ours.
#[test]
fn errors_name_the_place_as_go_does() {
    check_error(
        "{{ .list.Foo }}",
        "template: :1:8: executing \"\" at <.list.Foo>: can't evaluate field Foo in type []string",
    );
    check_error(
        "{{ .s.Foo }}",
        "template: :1:5: executing \"\" at <.s.Foo>: can't evaluate field Foo in type string",
    );
    check_error(
        "{{ toUpper 1 }}",
        "template: :1:11: executing \"\" at <1>: expected string; found 1",
    );
    check_error(
        "{{ toUpper }}",
        "template: :1:3: executing \"\" at <toUpper>: wrong number of args for toUpper: want 1 got 0",
    );
    check_error(
        "{{ toUpper .n }}",
        "template: :1:11: executing \"\" at <.n>: wrong type for value; expected string; got int",
    );
    check_error(
        "{{ index .list 10 }}",
        "template: :1:3: executing \"\" at <index .list 10>: error calling index: index out of range: 10",
    );
    check_error(
        "{{ len 3 }}",
        "template: :1:3: executing \"\" at <len 3>: error calling len: len of type int",
    );
    check_error(
        "{{ lt 1 1.5 }}",
        "template: :1:3: executing \"\" at <lt 1 1.5>: error calling lt: incompatible types for comparison",
    );
    check_error(
        "{{ 3 \"a\" }}",
        "template: :1:3: executing \"\" at <3>: can't give argument to non-function 3",
    );
    check_error(
        "{{ $y = 1}}",
        "template: :1:8: executing \"\" at <1>: undefined variable: $y",
    );
    check_error(
        "{{ $y := 1}}{{ $y.Foo }}",
        "template: :1:17: executing \"\" at <$y.Foo>: can't evaluate field Foo in type int",
    );
    check_error(
        "{{ (1).Foo }}",
        "template: :1:4: executing \"\" at <1>: can't evaluate field Foo in type int",
    );
    check_error(
        "{{ template \"a\" 1 2 }}",
        "template: :1:12: executing \"\" at <{{template \"a\" 1 2}}>: template \"a\" not defined",
    );
    check_error(
        "{{ nil }}",
        "template: :1:3: executing \"\" at <nil>: nil is not a command",
    );
    check_error(
        "{{ .time.Format }}",
        "template: :1:8: executing \"\" at <.time.Format>: wrong number of args for Format: want 1 got 0",
    );
}

#[test]
fn a_failed_template_leaves_the_output_as_it_was() {
    let mut set = set();
    set.add("t", "abc{{ .s.Foo }}").unwrap();
    let mut out = "before".to_owned();
    assert!(set.execute("t", &dot(), &mut out).is_err());
    assert_eq!(out, "before");
}

#[track_caller]
fn check_stopped(template: &str) {
    let error = set().execute_text(template, &dot()).unwrap_err();
    assert!(
        matches!(&error, TemplateError::Exec(e) if e.is_over_budget),
        "{template}: {error}"
    );
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    check_stopped("{{ range 1000000000 }}{{ range 1000000000 }}{{ end }}{{ end }}");
    check_stopped("{{ range 1000000 }}0123456789{{ end }}");
    check_stopped("{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}");
    check_stopped("{{ $l := list }}{{ range 1000 }}{{ $l = list $l $l }}{{ end }}");
    check_stopped("{{ $l := list 1 }}{{ range 30 }}{{ $l = list $l $l }}{{ end }}{{ $l }}");
    check_stopped("{{ range 100000 }}{{ $x := reReplaceAll \"a\" \"b\" \"c\" }}{{ end }}");
    // A text that doubles is stopped by the function that made it.
    let error = set().execute_text(
        "{{ $x := \"ab\" }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}",
        &dot(),
    );
    assert!(error.unwrap_err().to_string().contains("bytes of text"));
}

#[test]
fn the_deepest_template_fits_a_small_stack() {
    let parens = format!("{{{{ {}1{} }}}}", "(len (printf `%v` ".repeat(24), "))".repeat(24));
    let recursive = format!(
        "{{{{ define \"a\" }}}}{}{{{{ if true }}}}{parens}{{{{ template \"a\" }}}}{{{{ end }}}}{}{{{{ end }}}}{{{{ template \"a\" }}}}",
        "{{ with 1 }}".repeat(40),
        "{{ end }}".repeat(40)
    );
    let run = move || {
        let error = set().execute_text(&recursive, &Value::Nil).unwrap_err();
        assert!(matches!(&error, TemplateError::Exec(e) if e.is_over_budget), "{error}");
    };
    // Half of what tokio gives its threads.
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn budgets_can_be_set() {
    let set = set().with_budget(Budget {
        output_bytes: 3,
        ..Budget::default()
    });
    assert_eq!(set.execute_text("{{ 123 }}", &Value::Nil).unwrap(), "123");
    assert!(set.execute_text("{{ 1234 }}", &Value::Nil).is_err());
}

// Rules.

fn context() -> prometheus::Context {
    let sample = |instance: &str, value| prometheus::Sample {
        labels: Labels::from_pairs([("instance", instance)]),
        value,
    };
    prometheus::Context {
        external_url: "http://prom.example/p".to_owned(),
        now_ms: 1_714_557_600_500,
        query: std::sync::Arc::new(move |expr| match expr {
            "up" => Ok(vec![sample("b", 2.0), sample("a", 1.0)]),
            "none" => Ok(vec![]),
            other => Err(format!("unknown query {other}")),
        }),
    }
}

fn expand(text: &str, value: f64) -> Result<String, String> {
    let labels = Labels::from_pairs([("instance", "node1.example.org:9100"), ("job", "node")]);
    let external_labels = Labels::from_pairs([("cluster", "c1")]);
    let data = AlertData {
        labels: &labels,
        external_labels: &external_labels,
        external_url: "http://prom.example/p",
        value: Value::Float(value),
    };
    AlertExpander::new("Down", context())
        .expand(text, &data)
        .map_err(|e| e.to_string())
}

#[test]
fn annotations_expand_as_prometheus_expands_them() {
    for (text, value, expected) in [
        ("plain", 1.0, "plain"),
        (
            "{{ $labels.instance }} of {{ $labels.job }} {{ $labels.nope }}|",
            1.0,
            "node1.example.org:9100 of node |",
        ),
        (
            "{{ $value }} {{ $value | humanize }} {{ printf \"%.2f\" $value }}",
            1_234_567.0,
            "1.234567e+06 1.235M 1234567.00",
        ),
        (
            "{{ $value | humanizePercentage }} {{ $value | humanizeDuration }}",
            0.125,
            "12.5% 125ms",
        ),
        (
            "{{ $externalLabels.cluster }} {{ $externalURL }} {{ externalURL }} {{ pathPrefix }}",
            0.0,
            "c1 http://prom.example/p http://prom.example/p /p",
        ),
        (
            "{{ with query \"up\" }}{{ . | first | value }} {{ range sortByLabel \"instance\" . }}{{ label \"instance\" . }}={{ .Value }} {{ end }}{{ end }}",
            0.0,
            "2 a=1 b=2 ",
        ),
        ("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", 0.0, "nothing"),
        (
            "{{ .Labels.instance | stripPort | stripDomain }} {{ $labels.instance | reReplaceAll \":.*\" \"\" | title }}",
            0.0,
            "node1 Node1.Example.Org",
        ),
        (
            "{{ \"43200\" | humanizeDuration }} {{ 1435065584.128 | humanizeTimestamp }}",
            0.0,
            "12h 0m 0s 2015-06-23 13:19:44.128 +0000 UTC",
        ),
        (
            "{{ (1435065584.128 | toTime).Format \"2006\" }} {{ now }} {{ parseDuration \"1h30m\" }}",
            0.0,
            "2015 1.7145576005e+09 5400",
        ),
        ("{{ $labels }}", 0.0, "map[instance:node1.example.org:9100 job:node]"),
        (
            "{{ graphLink \"up == 0\" }} {{ tableLink \"x\" }}",
            0.0,
            "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=x&g0.tab=1",
        ),
        (
            "{{ (args 1 \"b\").arg1 }} {{ match \"a+\" \"caat\" }} {{ toDuration 90 }}",
            0.0,
            "b true 1m30s",
        ),
    ] {
        assert_eq!(expand(text, value).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn failed_annotations_tell_what_prometheus_tells() {
    let columns = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";
    let at = columns.len() + "{{ $".len();
    assert_eq!(
        expand("{{ $.labels.service }}", 0.0).unwrap_err(),
        format!(
            "error executing template __alert_Down: template: __alert_Down:1:{at}: executing \"__alert_Down\" at <$.labels.service>: \
             can't evaluate field labels in type struct {{ Labels map[string]string; ExternalLabels map[string]string; \
             ExternalURL string; Value interface {{}} }}"
        )
    );
    assert_eq!(
        expand("{{ $label }}", 0.0).unwrap_err(),
        "error parsing template __alert_Down: template: __alert_Down:1: undefined variable \"$label\""
    );
    assert!(
        expand("{{ query \"bad\" | first }}", 0.0)
            .unwrap_err()
            .ends_with("error calling query: unknown query bad")
    );
    let source = check_alert_template("Down", "{{ nope }}").unwrap_err();
    let error = ExpandError::Parse {
        name: "__alert_Down".to_owned(),
        source,
    };
    assert!(
        error
            .placeholder()
            .starts_with("<error expanding template: error parsing template __alert_Down: template: ")
    );
    let empty = expand("{{ query \"none\" | first }}", 0.0).unwrap_err();
    assert!(empty.ends_with("error calling first: first() called on vector with no elements"));
}

#[test]
fn rule_templates_are_checked_without_being_run() {
    assert_eq!(
        check_alert_template("Down", "{{ $labels.x }}{{ $value | humanize }}{{ query \"up\" }}"),
        Ok(())
    );
    let error = check_alert_template("Down", "é {{ $label }}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "template: __alert_Down:1: undefined variable \"$label\""
    );
    assert_eq!((error.line, error.column), (1, 6));
    assert!(check_alert_template("Down", "{{ nosuch 1 }}").is_err());
}

#[test]
fn nothing_was_written_as_no_value_in_html() {
    let set = cupola_gotemplate::notification_set(Time::zero).unwrap();
    let mine = "{{ define \"mine\" }}[{{ . }}]{{ end }}{{ template \"mine\" }}";
    assert_eq!(set.execute_text(mine, &Value::Nil).unwrap(), "[<no value>]");
    assert_eq!(set.execute_html(mine, &Value::Nil).unwrap(), "[]");
    let page = "<script>x = {{ . }};{{ 1 }};{{ \"s\" }}</script><a href=\"{{ . }}\" onclick=\"f({{ . }})\" style=\"a: {{ . }}\">";
    let expected = "<script>x =  null ; 1 ;\"s\"</script><a href=\"\" onclick=\"f( null )\" style=\"a: \">";
    assert_eq!(set.execute_html(page, &Value::Nil).unwrap(), expected);
}
