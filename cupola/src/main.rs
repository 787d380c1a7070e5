//! The one binary: arguments, wiring, signals. No domain logic.

mod alert_history;
mod alertmanager;
mod auto_reload;
mod builtin;
mod cli;
mod cluster;
mod discovery;
mod listen;
mod load;
mod logging;
mod machine;
mod reads;
mod server;
mod sinks;

use std::process::ExitCode;

use cli::Command;

// Gives memory back sooner than the system's allocator and splits less. Without transparent huge pages (feature no_thp): with
// them an idle server took 42 MB instead of 14, as every arena begins with a page of two megabytes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(cli::Exit { text, code, to_stdout }) => {
            if to_stdout {
                print!("{text}");
            } else {
                eprint!("{text}");
            }
            return ExitCode::from(code);
        }
    };
    let settings = match command {
        Command::Serve(settings) => settings,
        Command::Promtool(promtool) => return ExitCode::from(promtool.run()),
        Command::Amtool(amtool) => return ExitCode::from(amtool.run()),
        Command::Tsdb(tool) => return ExitCode::from(tool.run()),
        Command::Alertmanager(settings) => {
            return served(&settings.log_level.clone(), settings.log_format, || {
                alertmanager::run(*settings)
            });
        }
    };
    served(&settings.log_level.clone(), settings.log_format, || {
        server::run(*settings)
    })
}

fn served(log_level: &str, log_format: logging::LogFormat, run: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    if let Err(error) = logging::init(log_level, log_format) {
        eprintln!("cupola: {error:#}");
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // On the terminal of the one who started it, whole and once; the log may go elsewhere.
            eprintln!("cupola: {error:#}");
            ExitCode::FAILURE
        }
    }
}
