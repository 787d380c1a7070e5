//! The shared PromQL scripts: how many evaluations pass must never fall below what passed before.

use cupola_engine::script::{Runner, script_options};

/// Evaluations that pass per script; raise them as the engine learns.
const FLOORS: [(&str, usize); 15] = [
    ("aggregators.test", 160),
    ("duration_expression.test", 59),
    ("extended_vectors.test", 169),
    ("fill-modifier.test", 46),
    ("functions.test", 431),
    ("histograms.test", 185),
    ("info.test", 53),
    ("limit.test", 37),
    ("literals.test", 25),
    ("name_label_dropping.test", 30),
    ("native_histograms.test", 522),
    ("selectors.test", 31),
    ("start_timestamps.test", 26),
    ("trig_functions.test", 19),
    ("type_and_unit.test", 58),
];

#[test]
fn no_script_passes_less_than_before() {
    let Some(dir) = cupola_testkit::conformance_dir("promql") else {
        return;
    };
    let mut runner = Runner::new(script_options());
    let mut fallen = Vec::new();
    let mut total = (0, 0);
    // What is still wrong is printed only where it is asked for.
    let verbose = std::env::var_os("CUPOLA_SCRIPT_FAILURES").is_some();
    let mut scripts: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    for path in scripts
        .iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "test"))
    {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let script = std::fs::read_to_string(path).unwrap();
        let report = runner.run(&script).unwrap_or_else(|error| panic!("{name}: {error}"));
        let failed = report.failures.len();
        println!("{name:26} {:4} passed {failed:4} failed", report.passed);
        if verbose {
            for failure in &report.failures {
                println!(
                    "    {name}:{}: {}\n        {}",
                    failure.line, failure.query, failure.message
                );
            }
        }
        total = (total.0 + report.passed, total.1 + failed);
        let floor = FLOORS
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, floor)| *floor);
        if report.passed < floor {
            fallen.push(format!("{name}: {} passed, {floor} did before", report.passed));
        }
    }
    println!("{} passed, {} failed", total.0, total.1);
    assert!(fallen.is_empty(), "{}", fallen.join("\n"));
}
