//! `promtool check rules`, and what `check config` has of it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use cupola_config::{ConfigErrors, RuleFile, RuleOptions, parse_rules};
use cupola_promql::ParseOptions;

use super::{FAILURE, Io};

// One or more checks beyond validity failed, and that was to count.
const LINT_FAILURE: u8 = 3;

/// What is checked, and how.
#[derive(Debug, Args)]
pub(super) struct RuleArgs {
    /// The rule files; standard input where none is named.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Checks beyond validity: all, duplicate-rules, none. Several are separated by commas.
    #[arg(long, value_name = "CHECKS", default_value = "duplicate-rules")]
    lint: String,
    /// Exit with 3 where such a check fails.
    #[arg(long)]
    lint_fatal: bool,
    /// Accept fields that Prometheus does not know, for rule files with metadata of one's own. Remove them before a
    /// server reads the files: it refuses them.
    #[arg(long)]
    ignore_unknown_fields: bool,
}

/// What the files that were looked at are like, together.
#[derive(Clone, Copy, Default)]
pub(super) struct Outcome {
    pub(super) is_invalid: bool,
    pub(super) has_lint: bool,
}

impl Outcome {
    /// The exit code; `is_lint_fatal` is what `--lint-fatal` says.
    pub(super) fn code(self, is_lint_fatal: bool) -> u8 {
        match self {
            Self { is_invalid: true, .. } => FAILURE,
            Self { has_lint: true, .. } if is_lint_fatal => LINT_FAILURE,
            _ => 0,
        }
    }
}

/// Checks all files, or standard input where none is named.
pub(super) fn check(args: &RuleArgs, promql: ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    if io.tell_missing(&args.files)? {
        return Ok(FAILURE);
    }
    let mut checker = Checker::new(&args.lint, promql, io)?;
    checker.options.ignore_unknown_fields = args.ignore_unknown_fields;
    let mut outcome = Outcome::default();
    if args.files.is_empty() {
        writeln!(io.out, "Checking standard input")?;
        let mut text = String::new();
        match io.input.read_to_string(&mut text) {
            Ok(_) => checker.file(Path::new("<stdin>"), &text, &mut outcome, io)?,
            Err(error) => {
                writeln!(io.err, "  FAILED: {error}")?;
                outcome.is_invalid = true;
            }
        }
    }
    checker.files(&args.files, &mut outcome, io)?;
    Ok(outcome.code(args.lint_fatal))
}

/// Looks at rule files as `--lint` says.
pub(super) struct Checker {
    pub(super) options: RuleOptions,
    finds_duplicates: bool,
}

impl Checker {
    /// `lint` is the flag's value; names in it that nobody knows are told.
    pub(super) fn new(lint: &str, promql: ParseOptions, io: &mut Io<'_>) -> io::Result<Self> {
        let mut finds_duplicates = false;
        for name in lint.split(',') {
            match name {
                "all" | "duplicate-rules" => finds_duplicates = true,
                "none" => {}
                "" => {}
                unknown => {
                    let unknown = cupola_model::go_quote(unknown);
                    writeln!(io.out, "WARNING: unknown lint option: {unknown}")?;
                }
            }
        }
        let options = RuleOptions {
            promql,
            ..RuleOptions::default()
        };
        Ok(Self {
            options,
            finds_duplicates,
        })
    }

    /// Checks all of `files` and tells what it finds.
    pub(super) fn files(&self, files: &[PathBuf], outcome: &mut Outcome, io: &mut Io<'_>) -> io::Result<()> {
        for file in files {
            writeln!(io.out, "Checking {}", file.display())?;
            match super::read(file, io) {
                Ok(text) => self.file(file, &text, outcome, io)?,
                Err(error) => {
                    writeln!(io.err, "  FAILED:\n{error}")?;
                    outcome.is_invalid = true;
                }
            }
        }
        Ok(())
    }

    fn file(&self, path: &Path, text: &str, outcome: &mut Outcome, io: &mut Io<'_>) -> io::Result<()> {
        match parse_rules(text, path, self.options) {
            Ok(file) => self.valid(&file, outcome, io)?,
            Err(errors) => {
                outcome.is_invalid = true;
                tell(&errors, io)?;
            }
        }
        writeln!(io.out)
    }

    fn valid(&self, file: &RuleFile, outcome: &mut Outcome, io: &mut Io<'_>) -> io::Result<()> {
        for warning in &file.warnings {
            writeln!(io.err, "  WARNING: {warning}")?;
        }
        let duplicates = if self.finds_duplicates {
            duplicates(file)
        } else {
            Vec::new()
        };
        if duplicates.is_empty() {
            let count: usize = file.groups.iter().map(|group| group.rules.len()).sum();
            return writeln!(io.out, "  SUCCESS: {count} rules found");
        }
        outcome.has_lint = true;
        writeln!(io.err, "  FAILED:")?;
        writeln!(io.err, "lint error {} duplicate rule(s) found.", duplicates.len())?;
        for (name, labels) in duplicates {
            writeln!(io.err, "Metric: {name}\nLabel(s):")?;
            for (label, value) in labels {
                writeln!(io.err, "\t{label}: {value}")?;
            }
        }
        writeln!(io.err, "Might cause inconsistency while recording expressions")
    }
}

// As upstream shows them: `FILE: LINE:COLUMN: message`.
fn tell(errors: &ConfigErrors, io: &mut Io<'_>) -> io::Result<()> {
    writeln!(io.err, "  FAILED:")?;
    for error in errors.iter() {
        write!(io.err, "{}: ", error.file.display())?;
        if error.line > 0 {
            write!(io.err, "{}:{}: ", error.line, error.column)?;
        }
        write!(io.err, "{}", error.message)?;
        match &error.hint {
            Some(hint) => writeln!(io.err, " ({hint})")?,
            None => writeln!(io.err)?,
        }
    }
    Ok(())
}

type Identity<'a> = (&'a str, &'a BTreeMap<String, String>);

// Name and labels that more than one rule has, ascending.
fn duplicates(file: &RuleFile) -> Vec<Identity<'_>> {
    let mut counts: BTreeMap<Identity<'_>, usize> = BTreeMap::new();
    for rule in file.groups.iter().flat_map(|group| &group.rules) {
        *counts.entry((rule.name(), &rule.labels)).or_default() += 1;
    }
    counts.retain(|_, count| *count > 1);
    counts.into_keys().collect()
}
