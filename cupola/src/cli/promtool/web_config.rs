//! `promtool check web-config`: the file of `--web.config.file`, and the certificates and keys that it names.

use std::io;
use std::path::PathBuf;

use cupola_web::WebConfigFile;

use super::{FAILURE, Io};

/// Checks all files; says what promtool says, where it says it.
pub(super) fn check(files: &[PathBuf], io: &mut Io<'_>) -> io::Result<u8> {
    if io.tell_missing(files)? {
        return Ok(FAILURE);
    }
    let mut code = 0;
    for file in files {
        let name = file.display();
        match WebConfigFile::load(file) {
            Ok(loaded) => {
                for warning in loaded.warnings() {
                    writeln!(io.err, "  WARNING: {warning}")?;
                }
                writeln!(io.err, "{name} SUCCESS")?;
            }
            Err(mistakes) => {
                code = FAILURE;
                writeln!(io.err, "{name} FAILED: {mistakes}")?;
            }
        }
    }
    Ok(code)
}
