//! `meta.json`: what a block covers and where it comes from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{Ulid, native};

/// In which form a block holds its samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BlockFormat {
    /// As Prometheus's blocks do, which opens them.
    #[default]
    Prometheus,
    /// In columns, `docs/format/block.md`: a fraction of the bytes.
    Native,
}

impl BlockFormat {
    /// `prometheus` or `native`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Native => "native",
        }
    }

    /// The folder of blocks of this format in the data folder `data`. Native ones have one of their own: a Prometheus
    /// that is put back on the data folder passes over it, but would not start with a block that it cannot open.
    #[must_use]
    pub fn folder(self, data: &Path) -> PathBuf {
        match self {
            Self::Prometheus => data.to_path_buf(),
            Self::Native => data.join(native::HOME),
        }
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no format of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be native or prometheus")]
pub struct BlockFormatError;

impl FromStr for BlockFormat {
    type Err = BlockFormatError;

    fn from_str(text: &str) -> Result<Self, BlockFormatError> {
        let all = [Self::Prometheus, Self::Native];
        all.into_iter().find(|f| f.as_str() == text).ok_or(BlockFormatError)
    }
}

/// What the meta of a native block says of its format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeFormat {
    /// `columns`.
    pub format: String,
    /// 1.
    pub version: u32,
}

/// The content of `meta.json`, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    /// The block's name.
    pub ulid: Ulid,
    /// Milliseconds since the epoch; no sample is older.
    pub min_time: i64,
    /// Milliseconds since the epoch; every sample is older than this.
    pub max_time: i64,
    /// Counts.
    #[serde(default)]
    pub stats: BlockStats,
    /// How the block came to be.
    pub compaction: Compaction,
    /// Always 1.
    pub version: u32,
    /// In native blocks: how samples are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cupola: Option<NativeFormat>,
    /// What other programs added (Thanos, Mimir); kept as it is.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Counts of what a block holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockStats {
    /// Samples of all kinds.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Float samples; newer Prometheus versions write it.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Native histograms.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Deleted intervals.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

/// How a block came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Compaction {
    /// 1 for a block cut from the head, higher for merged ones.
    pub level: u32,
    /// The blocks of level 1 that went into it; itself, if it is one.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub sources: Vec<Ulid>,
    /// All its samples are deleted; it may go.
    #[serde(skip_serializing_if = "is_false")]
    pub deletable: bool,
    /// The blocks it was merged from directly.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub parents: Vec<ParentBlock>,
    /// Merging it failed before.
    #[serde(skip_serializing_if = "is_false")]
    pub failed: bool,
    /// Such as `from-out-of-order`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub hints: Vec<String>,
}

/// A block that was merged into another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentBlock {
    /// Its name.
    pub ulid: Ulid,
    /// Its oldest sample may be this old.
    pub min_time: i64,
    /// All its samples are older than this.
    pub max_time: i64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_false(b: &bool) -> bool {
    !*b
}

// Go writes a nil slice as null.
fn null_as_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl BlockMeta {
    /// Reads the file's bytes; the error says why they are no version 1 meta.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let meta: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if meta.version != 1 {
            return Err(format!("version {} is not supported", meta.version));
        }
        if meta.min_time > meta.max_time {
            return Err(format!("minTime {} is after maxTime {}", meta.min_time, meta.max_time));
        }
        if let Some(told) = &meta.cupola
            && !native::is_known(told)
        {
            let NativeFormat { format, version } = told;
            return Err(format!("format {format:?} version {version} is not supported"));
        }
        Ok(meta)
    }

    /// In which form the block holds its samples.
    #[must_use]
    pub fn format(&self) -> BlockFormat {
        match self.cupola {
            None => BlockFormat::Prometheus,
            Some(_) => BlockFormat::Native,
        }
    }

    /// The block's folder in the data folder `data`, if it was written there by a [`crate::BlockWriter`].
    #[must_use]
    pub fn dir_in(&self, data: &Path) -> PathBuf {
        self.format().folder(data).join(self.ulid.to_string())
    }

    /// The file's bytes, laid out as upstream does.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut out = Vec::new();
        let layout = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        self.serialize(&mut serde_json::Serializer::with_formatter(&mut out, layout))?;
        Ok(out)
    }

    /// Whether the block may hold samples with `mint <= ts <= maxt`.
    #[must_use]
    pub fn overlaps(&self, mint: i64, maxt: i64) -> bool {
        // A block of one moment may say minTime == maxTime.
        self.min_time <= maxt && (mint < self.max_time || mint == self.min_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As Prometheus 2.42 wrote it, with what Thanos adds.
    const META: &str = r#"{
	"ulid": "01M887VKTP0WM0BFM118DR0KEQ",
	"minTime": 1700000000000,
	"maxTime": 1700000015001,
	"stats": {
		"numSamples": 3,
		"numSeries": 2,
		"numChunks": 2
	},
	"compaction": {
		"level": 2,
		"sources": [
			"01M887VKTP0WM0BFM118DR0KEQ"
		],
		"parents": [
			{
				"ulid": "01M887VKTP0WM0BFM118DR0KEQ",
				"minTime": 1,
				"maxTime": 2
			}
		],
		"hints": [
			"from-out-of-order"
		]
	},
	"version": 1,
	"thanos": {
		"labels": {}
	}
}"#;

    #[test]
    fn a_meta_is_written_as_it_was_read() {
        let meta = BlockMeta::parse(META.as_bytes()).unwrap();
        assert_eq!((meta.stats.num_series, meta.compaction.level), (2, 2));
        assert_eq!(String::from_utf8(meta.to_json().unwrap()).unwrap(), META);
        assert!(meta.overlaps(0, 1_700_000_000_000) && meta.overlaps(1_700_000_015_000, i64::MAX));
        assert!(!meta.overlaps(0, 1_699_999_999_999) && !meta.overlaps(1_700_000_015_001, i64::MAX));
    }

    #[test]
    fn null_lists_and_missing_stats_are_empty() {
        let text = r#"{"ulid":"01M887VKTP0WM0BFM118DR0KEQ","minTime":0,"maxTime":1,
            "compaction":{"level":1,"sources":null},"version":1}"#;
        let meta = BlockMeta::parse(text.as_bytes()).unwrap();
        assert!(meta.compaction.sources.is_empty());
        assert_eq!(meta.stats, BlockStats::default());
    }

    #[test]
    fn other_versions_and_nonsense_are_refused() {
        let other = META.replace("\"version\": 1", "\"version\": 2");
        assert_eq!(
            BlockMeta::parse(other.as_bytes()).unwrap_err(),
            "version 2 is not supported"
        );
        let turned = META.replace("\"maxTime\": 1700000015001", "\"maxTime\": 5");
        assert!(
            BlockMeta::parse(turned.as_bytes())
                .unwrap_err()
                .starts_with("minTime 1700000000000 is after")
        );
        assert!(BlockMeta::parse(b"").is_err());
        assert!(
            BlockMeta::parse(META.replace("01M887V", "nonsens").as_bytes())
                .unwrap_err()
                .contains("not a ULID")
        );
    }

    #[test]
    fn a_native_block_says_its_format_and_others_than_ours_are_refused() {
        let native = META.replace(
            "\"version\": 1,",
            "\"version\": 1,\n\t\"cupola\": {\n\t\t\"format\": \"columns\",\n\t\t\"version\": 1\n\t},",
        );
        let meta = BlockMeta::parse(native.as_bytes()).unwrap();
        assert_eq!(meta.format(), BlockFormat::Native);
        assert!(meta.dir_in(Path::new("data")).starts_with("data/cupola-blocks"));
        assert_eq!(String::from_utf8(meta.to_json().unwrap()).unwrap(), native);
        let other = |told: &str| BlockMeta::parse(native.replace("\"columns\",\n\t\t\"version\": 1", told).as_bytes());
        assert_eq!(
            other("\"columns\", \"version\": 2").unwrap().format(),
            BlockFormat::Native
        );
        for (told, refused) in [
            (
                "\"columns\", \"version\": 3",
                "format \"columns\" version 3 is not supported",
            ),
            (
                "\"columns\", \"version\": 0",
                "format \"columns\" version 0 is not supported",
            ),
            ("\"rows\", \"version\": 1", "format \"rows\" version 1 is not supported"),
        ] {
            assert_eq!(other(told).unwrap_err(), refused);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        cupola_testkit::fuzz(
            3_000,
            &[META.as_bytes().to_vec()],
            &["null", "-1", "1e99", "{", "]"],
            |bytes| {
                if let Ok(meta) = BlockMeta::parse(bytes) {
                    meta.to_json().unwrap();
                }
            },
        );
    }
}
