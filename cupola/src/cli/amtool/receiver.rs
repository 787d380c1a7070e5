//! `amtool receiver test`, which is ours.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Env, Failure, Output, text};

#[derive(Debug, Subcommand)]
pub(super) enum Tool {
    /// Have the Alertmanager send one test message to a receiver, past routes and silences.
    Test(TestArgs),
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// An annotation of the alert, name=value; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// The receiver's name.
    #[arg(value_name = "RECEIVER")]
    receiver: String,
    /// Labels of the alert, name=value; without them it says that it is a test.
    #[arg(value_name = "LABEL")]
    labels: Vec<String>,
}

pub(super) fn run(tool: &Tool, env: &mut Env<'_>) -> Result<(), Failure> {
    let Tool::Test(args) = tool;
    let body = json!({
        "receiver": args.receiver,
        "labels": env.labels(&args.labels)?,
        "annotations": env.labels(&args.annotation)?,
    });
    let answer = env.client.post("/receivers/test", &body)?;
    let tested: Vec<&Value> = answer.as_array().into_iter().flatten().collect();
    if env.output == Output::Json {
        writeln!(env.out, "{answer}")?;
    } else if tested.is_empty() {
        writeln!(env.out, "{} has no integrations: it tells nobody.", args.receiver)?;
    } else {
        for tested in &tested {
            let integration = text(&tested["integration"]);
            match tested["sent"].as_bool() {
                Some(true) => writeln!(env.out, "{integration}  sent")?,
                _ => writeln!(env.out, "{integration}  failed: {}", text(&tested["error"]))?,
            }
            if env.output == Output::Extended {
                for exchange in tested["exchanges"].as_array().into_iter().flatten() {
                    let of = |name: &str| text(&exchange[name]);
                    writeln!(
                        env.out,
                        "  {} to {}: {}",
                        of("method"),
                        of("host"),
                        of("body").trim_end()
                    )?;
                    writeln!(
                        env.out,
                        "  answered {}: {}",
                        exchange["status"],
                        of("answer").trim_end()
                    )?;
                }
            }
        }
    }
    match tested.iter().all(|tested| tested["sent"] == true) {
        true => Ok(()),
        false => Err(Failure::Silent),
    }
}
