//! Files of command-line tools: an `http_config` alone, and flags as a map (amtool's config.yml).

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::HttpClientConfig;
use crate::error::ConfigErrors;
use crate::files::{Files, read_text};
use crate::http::read_http_config;
use crate::read::Reader;

/// Reads a file that is one `<http_config>` (`--http.config.file` of amtool and promtool).
///
/// # Errors
/// Every mistake of the file; also what this version does not do yet.
pub fn load_http_config(path: &Path, files: &dyn Files) -> Result<HttpClientConfig, ConfigErrors> {
    let text = read_text(files, path)?;
    let reader = Reader::new(path);
    let document = reader.document(&text);
    let config = document.root.as_deref().map(|root| read_http_config(&reader, root));
    reader.result(Some(config.unwrap_or_default()))
}

/// Reads a file of flags: names and values.
///
/// # Errors
/// Where the file is no map of texts.
pub fn load_flags(path: &Path, files: &dyn Files) -> Result<BTreeMap<String, String>, ConfigErrors> {
    let text = read_text(files, path)?;
    let reader = Reader::new(path);
    let document = reader.document(&text);
    let flags = document.root.as_deref().map(|root| reader.text_map(root));
    reader.result(Some(flags.unwrap_or_default()))
}
