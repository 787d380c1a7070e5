//! Results of tests as JUnit XML, for those who show them: in the form of Prometheus's promtool.

use std::fmt::Write as _;

use jiff::Timestamp;

/// One file of tests.
pub(super) struct Suite {
    pub(super) name: String,
    pub(super) cases: Vec<Case>,
    /// Why the file could not be run.
    pub(super) error: Option<String>,
    pub(super) started: Timestamp,
}

/// One test of a file.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) failures: Vec<String>,
}

/// All suites as one document.
pub(super) fn document(suites: &[Suite]) -> String {
    let mut out = "<testsuites>".to_owned();
    for suite in suites {
        // An error needs a case that has it.
        let unknown = suite.error.as_ref().filter(|_| suite.cases.is_empty()).map(|_| Case {
            name: "unknown".to_owned(),
            failures: Vec::new(),
        });
        let cases: Vec<&Case> = suite.cases.iter().chain(&unknown).collect();
        let failures: usize = cases.iter().map(|case| case.failures.len()).sum();
        let _ = write!(
            out,
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{}\" skipped=\"0\" timestamp=\"{}\">",
            escaped(&suite.name),
            cases.len(),
            usize::from(suite.error.is_some()),
            suite.started.strftime("%Y-%m-%dT%H:%M:%S"),
        );
        for (at, case) in cases.iter().enumerate() {
            let _ = write!(out, "<testcase name=\"{}\">", escaped(&case.name));
            for failure in &case.failures {
                let _ = write!(out, "<failure>{}</failure>", escaped(failure));
            }
            if let Some(error) = suite.error.as_ref().filter(|_| at + 1 == cases.len()) {
                let _ = write!(out, "<error>{}</error>", escaped(error));
            }
            out += "</testcase>";
        }
        out += "</testsuite>";
    }
    out += "</testsuites>";
    out
}

// As Go's encoding/xml escapes; what XML has no place for becomes the replacement character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out += "&#34;",
            '\'' => out += "&#39;",
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '\t' => out += "&#x9;",
            '\n' => out += "&#xA;",
            '\r' => out += "&#xD;",
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn suites_are_written_with_what_failed() {
        let suite = |cases, error| Suite {
            name: "a\"b.yml".to_owned(),
            cases,
            error,
            started: Timestamp::UNIX_EPOCH,
        };
        let case = |name: &str, failures: &[&str]| Case {
            name: name.to_owned(),
            failures: failures.iter().map(ToString::to_string).collect(),
        };
        let suites = [
            suite(vec![case("one", &[]), case("two", &["x <\n1", "y"])], None),
            suite(vec![], Some("no such file".to_owned())),
        ];
        expect![[r#"<testsuites><testsuite name="a&#34;b.yml" tests="2" failures="2" errors="0" skipped="0" timestamp="1970-01-01T00:00:00"><testcase name="one"></testcase><testcase name="two"><failure>x &lt;&#xA;1</failure><failure>y</failure></testcase></testsuite><testsuite name="a&#34;b.yml" tests="1" failures="0" errors="1" skipped="0" timestamp="1970-01-01T00:00:00"><testcase name="unknown"><error>no such file</error></testcase></testsuite></testsuites>"#]].assert_eq(&document(&suites));
    }
}
