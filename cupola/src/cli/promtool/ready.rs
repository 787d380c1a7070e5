//! `promtool check healthy` and `check ready`.

use std::io;
use std::time::Duration;

use clap::Args;

use super::api::HttpArgs;
use super::{FAILURE, Io};

// As upstream.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Which server.
#[derive(Debug, Args)]
pub(super) struct ReadyArgs {
    /// The server.
    #[arg(long, value_name = "URL", default_value = "http://localhost:9090")]
    url: String,
    #[command(flatten)]
    http: HttpArgs,
}

/// Asks the server at `path` how it is.
pub(super) fn check(args: &ReadyArgs, path: &str, io: &mut Io<'_>) -> io::Result<u8> {
    let url = match args.url.contains("://") {
        true => args.url.clone(),
        false => format!("http://{}", args.url),
    };
    let failure = match args
        .http
        .server(&url, TIMEOUT, io.files)
        .and_then(|mut server| server.get_raw(path))
    {
        Ok((status, body)) if status.as_u16() == 200 => {
            writeln!(io.err, "  SUCCESS:  {}", String::from_utf8_lossy(&body))?;
            return Ok(0);
        }
        Ok((status, _)) => format!("check failed: URL={url}, status={}", status.as_u16()),
        Err(error) => error,
    };
    writeln!(io.err, "{failure}")?;
    Ok(FAILURE)
}
