//! Whether what the configuration consists of has changed since it was read (`auto-reload-config`).
//!
//! Contents are compared and not times of change: a file that is written anew as it was reloads nothing, and a ConfigMap
//! whose symbolic links are swapped does.

use std::path::{Path, PathBuf};

use cupola_config::matchers::MatcherMode;
use cupola_config::{DiskFiles, Files as _, parse_alertmanager, parse_prometheus};
use sha2::{Digest as _, Sha256};

use crate::cli::Settings;

/// What stands for the contents of all files of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum([u8; 32]);

/// Reads prometheus.yml, its rule files and scrape configuration files as Prometheus 3 does, and alertmanager.yml with its
/// templates where the built-in Alertmanager has one. A file that cannot be read counts as one without contents, so that
/// its disappearance is a change, too; which mistake that is, reloading tells.
pub(crate) fn checksum(settings: &Settings) -> Checksum {
    let mut hash = Sha256::new();
    if let Some(file) = &settings.config_file
        && let Some(text) = add(&mut hash, b'p', file)
        && let Ok(config) = parse_prometheus(&text, file)
    {
        add_all(&mut hash, b'r', &config.rule_files);
        add_all(&mut hash, b's', &config.scrape_config_files);
    }
    if let Some(file) = &settings.alertmanager_config_file
        && let Some(text) = add(&mut hash, b'a', file)
        && let Ok(config) = parse_alertmanager(&text, file, MatcherMode::Fallback)
    {
        add_all(&mut hash, b't', &config.templates);
    }
    Checksum(hash.finalize().into())
}

fn add_all(hash: &mut Sha256, kind: u8, patterns: &[PathBuf]) {
    // A pattern that is malformed matches nothing here; reloading says so.
    for file in patterns.iter().flat_map(|p| DiskFiles.glob(p).unwrap_or_default()) {
        add(hash, kind, &file);
    }
}

// Kind, name, and length before each text: no two sets of files look the same.
fn add(hash: &mut Sha256, kind: u8, file: &Path) -> Option<String> {
    let text = DiskFiles.read(file).ok();
    let name = file.as_os_str().as_encoded_bytes();
    hash.update([kind, u8::from(text.is_some())]);
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    hash.update((text.as_ref().map_or(0, String::len) as u64).to_le_bytes());
    hash.update(text.as_deref().unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Command, parse};

    #[test]
    fn contents_names_and_absence_are_seen_and_a_touch_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let main = "rule_files: ['r*.yml']\nscrape_config_files: ['s*.yml']\n";
        write("p.yml", main);
        let flag = format!("--config.file={}", dir.path().join("p.yml").display());
        let Ok(Command::Serve(settings)) = parse(["cupola", "prometheus", &flag].map(OsString::from)) else {
            panic!("flags")
        };
        let mut seen = vec![checksum(&settings)];
        let mut changed = |what: &str| {
            let now = checksum(&settings);
            assert!(!seen.contains(&now), "{what}");
            assert_eq!(checksum(&settings), now, "{what}");
            seen.push(now);
        };
        write("r1.yml", "groups: []\n");
        changed("a rule file is there");
        write("r1.yml", "groups: [] # as before\n");
        changed("a rule file says something else");
        write("s1.yml", "scrape_configs: []\n");
        changed("a file with jobs is there");
        std::fs::rename(dir.path().join("r1.yml"), dir.path().join("r2.yml")).unwrap();
        changed("a rule file has another name");
        write("p.yml", "nonsense");
        changed("the main file is broken");
        std::fs::remove_file(dir.path().join("p.yml")).unwrap();
        changed("the main file is gone");
        write("p.yml", "");
        changed("the main file is empty");

        write("p.yml", main);
        let before = checksum(&settings);
        write("p.yml", main);
        write("other.yml", "nobody asked\n");
        assert_eq!(checksum(&settings), before);
    }
}
