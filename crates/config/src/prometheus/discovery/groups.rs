//! Files of target groups, as file discovery reads them.

use std::path::Path;

use cupola_model::Labels;

use super::super::TargetGroup;
use crate::error::ConfigErrors;
use crate::read::Reader;

/// Reads a YAML file of target groups; the groups' sources are `path:index`, as upstream names them.
///
/// # Errors
/// Every mistake in the text. A group must be a map of `targets` and `labels`, and nothing else.
pub fn parse_target_groups(text: &str, path: &Path) -> Result<Vec<TargetGroup>, ConfigErrors> {
    let reader = Reader::new(path);
    let document = reader.document(text);
    let mut groups = Vec::new();
    if let Some(root) = &document.root {
        let items = reader.items(root, "[]*targetgroup.Group", "nil target group item found");
        for (index, node) in items.into_iter().enumerate() {
            let section = reader.section(node, "targetgroup.Group");
            let targets = section.texts("targets");
            let labels = section
                .get("labels")
                .map_or_else(Labels::empty, |node| reader.labels(node));
            section.finish();
            let source = format!("{}:{index}", path.display());
            groups.push(TargetGroup::of_addresses(source, targets, labels));
        }
    }
    reader.result(Some(groups))
}
