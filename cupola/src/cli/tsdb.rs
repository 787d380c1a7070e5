//! `cupola tsdb`: looks after a data folder.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use cupola_block::{BlockError, BlockStats, list_blocks, verify};
use cupola_env::RealFs;

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
}

impl TsdbTool {
    /// Does what was asked for and gives the exit code.
    pub(crate) fn run(&self) -> u8 {
        let Tool::Verify { path } = &self.tool;
        match verify_folder(path, &mut io::stdout()) {
            Ok(true) => 0,
            Ok(false) => FAULTY,
            // The reader has what it wanted: `cupola tsdb verify | head`.
            Err(Ended::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Err(Ended::Output(error)) => told(&format!("cannot write the result: {error}")),
            Err(Ended::Folder(error)) => told(&error.to_string()),
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

// Label values may hold line feeds.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}
