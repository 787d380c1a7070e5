//! `cupola tsdb`: looks after a data folder.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use cupola_block::{BlockError, BlockFormat, BlockStats, Ulid, list_blocks, verify};
use cupola_env::{RealFs, SystemClock};
use cupola_tsdb::{Conversion, ConvertError, Converted, convert};

const FAULTY: u8 = 1;
// Of one block; a folder whose disk has died would fill the terminal.
const MOST_FAULTS: u64 = 100;

/// Look after a data folder.
#[derive(Debug, Args)]
pub(crate) struct TsdbTool {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Read every block whole and tell each fault with its file and byte. Changes nothing; may run beside a server.
    Verify {
        /// The data folder.
        #[arg(value_name = "PATH", default_value = "./data")]
        path: PathBuf,
    },
    /// Bring the blocks of a stopped server into the other format, one after the other. A block goes once the one that was
    /// made of it is on the disk; what was deleted of it is not taken along.
    Convert {
        /// What the blocks are to be: native (a fraction of the bytes) or prometheus (which Prometheus opens).
        #[arg(long, value_name = "FORMAT")]
        to: BlockFormat,
        /// Only this block; may be given several times.
        #[arg(long = "block", value_name = "ULID")]
        blocks: Vec<Ulid>,
        /// The data folder.
        #[arg(value_name = "PATH", default_value = "./data")]
        path: PathBuf,
    },
}

impl TsdbTool {
    /// Does what was asked for and gives the exit code.
    pub(crate) fn run(&self) -> u8 {
        let done = match &self.tool {
            Tool::Verify { path } => verify_folder(path, &mut io::stdout()),
            Tool::Convert { to, blocks, path } => {
                let conversion = Conversion {
                    dir: path,
                    to: *to,
                    blocks,
                };
                convert_folder(conversion, &mut io::stdout())
            }
        };
        match done {
            Ok(true) => 0,
            Ok(false) => FAULTY,
            // The reader has what it wanted: `cupola tsdb verify | head`.
            Err(Ended::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Err(Ended::Output(error)) => told(&format!("cannot write the result: {error}")),
            Err(Ended::Folder(error)) => told(&error.to_string()),
            Err(Ended::Conversion(error)) => told(&error.to_string()),
        }
    }
}

fn told(text: &str) -> u8 {
    // Where nothing can be written there is nobody to tell.
    let _ = writeln!(io::stderr(), "cupola: {text}");
    FAULTY
}

enum Ended {
    Folder(BlockError),
    Conversion(ConvertError),
    Output(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

// A line for each block and each fault; whether there was no fault.
fn verify_folder(path: &Path, out: &mut dyn Write) -> Result<bool, Ended> {
    let found = list_blocks(&RealFs, path).map_err(Ended::Folder)?;
    let blocks = found.blocks.iter().map(|(dir, _)| dir);
    let broken = found.broken.iter().map(|broken| &broken.dir);
    let (mut all, mut bad) = (0_u64, 0_u64);
    for dir in blocks.chain(broken) {
        all += 1;
        if !verify_block(dir, out)? {
            bad += 1;
        }
    }
    for left in &found.leftovers {
        writeln!(
            out,
            "{}: left over from an interrupted write or deletion; not part of the data",
            left.display()
        )?;
    }
    writeln!(out, "{all} blocks, {bad} with faults")?;
    Ok(bad == 0)
}

fn verify_block(dir: &Path, out: &mut dyn Write) -> io::Result<bool> {
    let mut faults = 0_u64;
    let mut printed = Ok(());
    let verified = verify(&RealFs, dir, &mut |fault| {
        faults += 1;
        if faults <= MOST_FAULTS && printed.is_ok() {
            printed = writeln!(out, "{}", one_line(&fault.to_string()));
        }
    });
    printed?;
    if faults > MOST_FAULTS {
        writeln!(out, "... and {} more faults", faults - MOST_FAULTS)?;
    }
    let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy();
    let verdict = match faults {
        0 => "ok".to_owned(),
        1 => "1 fault".to_owned(),
        faults => format!("{faults} faults"),
    };
    write!(out, "{name}: {verdict}")?;
    if let Some(verified) = verified {
        let BlockStats {
            num_series,
            num_chunks,
            num_samples,
            ..
        } = verified.found;
        write!(out, ": {num_series} series, {num_chunks} chunks, {num_samples} samples")?;
        for (encoding, count) in &verified.undecoded {
            write!(out, "; {count} {encoding} chunks: checksums read, samples not decoded")?;
        }
    }
    writeln!(out)?;
    Ok(faults == 0)
}

// A line for each block; whether all could be converted.
fn convert_folder(conversion: Conversion<'_>, out: &mut dyn Write) -> Result<bool, Ended> {
    let (mut done, mut failed) = (0_u64, 0_u64);
    let mut printed = Ok(());
    // That nobody reads what is printed does not stop it.
    let mut tell = |outcome: Result<Converted, ConvertError>| {
        let line = match outcome {
            Ok(converted) => {
                done += 1;
                told_of(&converted, conversion.to)
            }
            Err(error) => {
                failed += 1;
                one_line(&error.to_string())
            }
        };
        if printed.is_ok() {
            printed = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    };
    convert(conversion, &SystemClock, &RealFs::shared(), &mut tell).map_err(Ended::Conversion)?;
    printed?;
    writeln!(out, "{done} blocks converted, {failed} failed")?;
    Ok(failed == 0)
}

fn told_of(converted: &Converted, to: BlockFormat) -> String {
    let Converted { from, from_bytes, into } = converted;
    match into {
        Some((ulid, bytes)) => format!("{from}: is now the {to} block {ulid}, {from_bytes} bytes before, {bytes} now"),
        None => format!("{from}: is gone, all of it was deleted"),
    }
}

// Label values may hold line feeds.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}
