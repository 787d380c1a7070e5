//! No template and no data make the engine panic or run on.

use cupola_gotemplate::{Budget, Kv, Set, Time, Value, alertmanager};
use cupola_testkit::fuzz;

const CORPUS: [&str; 14] = [
    "{{ range $i, $a := .list }}{{ if eq $i 1 }}{{ continue }}{{ else }}{{ $a }}{{ break }}{{ end }}{{ end }}",
    "{{ with .kv.SortedPairs }}{{ range . }}{{ .Name }}={{ .Value }}{{ end }}{{ else with .nope }}x{{ end }}",
    "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}",
    "{{ block \"b\" .kv }}{{ .a | printf \"%-10s|%5.2q\" }}{{ end }}{{- /* comment */ -}}",
    "{{ printf \"%[2]*[1]d %+v %#v %x % x %e %08.3f %U %c %T\" 12 5 . .kv \"a\" \"bc\" 1.5 2.5 65 66 . }}",
    "{{ (.t.Add 3600000000000).Format \"Mon Jan _2 15:04:05.000 MST 2006 -07:00\" }} {{ .t.Month }} {{ .t.AddDate 1 2 3 }}",
    "{{ $x := \"ab\" }}{{ range 100000 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}{{ len $x }}",
    "{{ $l := list }}{{ range 100000 }}{{ $l = list $l $l }}{{ end }}{{ $l | toJson }}",
    "{{ $d := dict \"a\" (list 1 2 3) \"b\" 0x1p4 }}{{ index $d.a 1 }}{{ slice \"hello\" 1 3 }}{{ len .list | print }}",
    "{{ reReplaceAll \"(.*)a\" \"$1$1\" .s }}{{ match \"^a{2,}\" .s }}{{ .s | toUpper | title | urlquery | html | js }}",
    "{{ toDate \"2006-01-02T15:04:05.999Z07:00\" \"2024-05-01T10:00:00.5+02:00\" | tz \"Europe/Brussels\" | date \"02 MST\" }}",
    "{{ humanizeDuration 1234.5 }}{{ since .t }}{{ base64decode \"Zg==\" }}{{ 'a' }}{{ `raw` }}{{ 1_000 }}{{ -3.5e2 }}",
    "{{ range 1000000000 }}{{ range 1000000000 }}{{ end }}{{ end }}",
    "{{ and 1 0 (not .nope) }}{{ or \"\" nil .s }}{{ lt 1 2 }}{{ call .s }}{{ .list.foo }}{{ (index .list 0).x }}",
];

const WORDS: [&str; 34] = [
    "{{",
    "}}",
    "{{-",
    "-}}",
    " | ",
    "(",
    ")",
    "$x",
    ":=",
    "=",
    "{{end}}",
    "{{else}}",
    "{{ range . }}",
    "{{ if .s }}",
    "\"",
    "`",
    "'",
    ".",
    ".kv",
    ".t",
    "printf",
    "%*d",
    "%[1]s",
    "%.1000000f",
    "9223372036854775807",
    "-1",
    "nil",
    "template \"a\"",
    "index",
    "slice",
    "AddDate",
    "Truncate",
    "toJson",
    "\u{1f642}",
];

#[test]
fn templates_never_panic_and_always_end() {
    let data = Value::map([
        ("list", Value::strings(["a", "b", "c"])),
        ("kv", Value::object(Kv::new([("a", "1"), ("alertname", "x")]))),
        ("t", Value::object(Time::from_unix_ms(1_714_557_600_123))),
        ("s", Value::from("aaab é")),
        ("n", Value::Int(3)),
    ]);
    let budget = Budget {
        output_bytes: 10_000,
        steps: 5_000,
        depth: 200,
    };
    let set = Set::new(alertmanager::funcs(|| Time::from_unix_ms(0))).with_budget(budget);
    let corpus: Vec<Vec<u8>> = CORPUS.iter().map(|t| t.as_bytes().to_vec()).collect();
    fuzz(20_000, &corpus, &WORDS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match set.execute_text(&text, &data) {
            Ok(out) => assert!(out.len() <= 10_000 || !text.contains("{{")),
            Err(error) => assert!(error.to_string().starts_with("template: ")),
        }
    });
}
