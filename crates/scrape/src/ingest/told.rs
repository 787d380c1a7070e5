//! Type and unit as labels of series (Prometheus 3, feature `type-and-unit-labels`).

use cupola_exposition::Entry;
use cupola_model::{LabelsBuilder, MetricType};

/// What the family of the line that is read tells of itself.
#[derive(Default)]
pub(super) struct Told {
    family: String,
    pub(super) kind: MetricType,
    pub(super) unit: String,
}

impl Told {
    /// Takes in a line that is no sample. A unit is that of its family alone; upstream's parser gives it to all that
    /// follow, up to the next unit.
    pub(super) fn line(&mut self, entry: &Entry<'_>) {
        let (Entry::Help { name, .. } | Entry::Type { name, .. } | Entry::Unit { name, .. }) = entry else {
            return;
        };
        if self.family != **name {
            (**name).clone_into(&mut self.family);
            self.unit.clear();
        }
        if let Entry::Unit { unit, .. } = entry {
            (*unit).clone_into(&mut self.unit);
        }
    }

    /// A series as sent, and what makes it another one here.
    pub(super) fn with(&self, raw: &[u8]) -> Vec<u8> {
        [raw, self.kind.name().as_bytes(), self.unit.as_bytes()].join(&b'\n')
    }

    /// Sets the labels, in the place of those that the target gave them itself.
    pub(super) fn label(&self, labels: &mut LabelsBuilder) {
        if self.kind != MetricType::Unknown {
            labels.set("__type__", self.kind.name());
        }
        if !self.unit.is_empty() {
            labels.set("__unit__", &self.unit);
        }
    }
}
