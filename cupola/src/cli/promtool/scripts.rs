//! `promtool test promql`: runs test scripts and counts.

use std::io;
use std::path::{Path, PathBuf};

use cupola_engine::script::{Runner, script_options};

use super::{FAILURE, Io};

#[derive(Clone, Copy, Default)]
struct Counts {
    passed: usize,
    failed: usize,
}

/// Runs every script over an empty store. Each failure is told with its file and line; each file ends with its numbers,
/// and the last line is the sum. A script that cannot be read counts as one failure.
pub(super) fn test(files: &[PathBuf], io: &mut Io<'_>) -> io::Result<u8> {
    if io.tell_missing(files)? {
        return Ok(FAILURE);
    }
    let mut all = Counts::default();
    for file in files {
        let counts = run(file, io)?;
        all.passed += counts.passed;
        all.failed += counts.failed;
        writeln!(
            io.out,
            "{}: {} passed, {} failed",
            file.display(),
            counts.passed,
            counts.failed
        )?;
    }
    writeln!(io.out, "{} passed, {} failed", all.passed, all.failed)?;
    Ok(if all.failed > 0 { FAILURE } else { 0 })
}

fn run(file: &Path, io: &mut Io<'_>) -> io::Result<Counts> {
    const BROKEN: Counts = Counts { passed: 0, failed: 1 };
    let name = file.display();
    let text = match super::read(file, io) {
        Ok(text) => text,
        Err(error) => {
            writeln!(io.out, "{error}")?;
            return Ok(BROKEN);
        }
    };
    let report = match Runner::new(script_options()).run(&text) {
        Ok(report) => report,
        Err(error) => {
            writeln!(io.out, "{name}:{}: {}", error.line, error.message)?;
            return Ok(BROKEN);
        }
    };
    for failure in &report.failures {
        writeln!(io.out, "{name}:{}: {}", failure.line, failure.query)?;
        for line in failure.message.lines() {
            writeln!(io.out, "    {line}")?;
        }
    }
    Ok(Counts {
        passed: report.passed,
        failed: report.failures.len(),
    })
}
