//! Flags as Prometheus and Alertmanager read them: `--name=value`, `--name value`, and switches with `--name` and
//! `--no-name`.

use std::collections::BTreeMap;

use super::Exit;

/// The values of each flag that was given, in their order.
pub(super) type Given = BTreeMap<&'static str, Vec<String>>;

/// Whether a flag of this default is a switch.
pub(super) fn is_switch(default: &str) -> bool {
    matches!(default, "true" | "false")
}

/// Reads `args`. `find` gives a flag's own name and its default. `help` and `version` are shown where they are asked for.
///
/// # Errors
/// What is to be shown in place of running: the help, the version, or a mistake.
pub(super) fn read(
    args: &[String],
    find: impl Fn(&str) -> Option<(&'static str, &'static str)>,
    help: impl Fn() -> String,
    version: String,
) -> Result<Given, Exit> {
    let mut given = Given::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => return Err(shown(help())),
            "--version" => return Err(shown(version)),
            _ => {}
        }
        let Some(name) = arg.strip_prefix("--") else {
            return Err(Exit::mistake(format_args!("unexpected {arg}")));
        };
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let negated = name.strip_prefix("no-").and_then(&find);
        let negated = negated.filter(|(_, default)| is_switch(default));
        let (name, value) = match (find(name), negated) {
            (Some((own, default)), _) if is_switch(default) => (own, value.or_else(|| Some("true".to_owned()))),
            (Some((own, _)), _) => (own, value.or_else(|| args.next().cloned())),
            (None, Some((own, _))) => (own, value.or_else(|| Some("false".to_owned()))),
            (None, None) => return Err(Exit::mistake(format_args!("unknown long flag '--{name}'"))),
        };
        let Some(value) = value else {
            return Err(Exit::mistake(format_args!("expected argument for flag '--{name}'")));
        };
        given.entry(name).or_default().push(value);
    }
    Ok(given)
}

fn shown(text: String) -> Exit {
    Exit {
        text,
        code: 0,
        to_stdout: true,
    }
}
