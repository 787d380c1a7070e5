//! alertmanager.yml (Alertmanager 0.34).

mod anything;
mod globals;
mod integrations;
mod marshal;
mod read;
mod receivers;
mod route;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cupola_model::Matcher;

use crate::common::{HttpClientConfig, SecretSource};
use crate::error::{ConfigError, ConfigWarning};
use crate::time_interval::TimeInterval;

pub use anything::Anything;
pub use integrations::{IntegrationConfig, Item};
pub use read::{load_alertmanager, parse_alertmanager};
pub use receivers::parse_go_duration as go_duration;

/// A whole alertmanager.yml, defaults and inheritance applied, every reference resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertmanagerConfig {
    /// How long an alert without an end counts as firing after its last update. Default 5m.
    pub resolve_timeout: Duration,
    /// Template files as glob patterns, joined to the configuration file's folder. No match is fine.
    pub templates: Vec<PathBuf>,
    /// The root route; it matches every alert.
    pub route: Route,
    /// Names are unique.
    pub receivers: Vec<Receiver>,
    /// Which alerts silence which.
    pub inhibit_rules: Vec<InhibitRule>,
    /// Named times, of `time_intervals` and of the older `mute_time_intervals`; names are unique over both.
    pub time_intervals: Vec<NamedTimeIntervals>,
    /// What deserves a look: matchers that the newer parser would read otherwise, older spellings.
    pub warnings: Vec<ConfigWarning>,
    /// Where the file asks for what this version does not do yet. The file is right; whoever runs it refuses it.
    pub not_yet: Vec<ConfigError>,
    /// The file's text with every secret replaced by `<secret>`.
    pub(crate) shown_text: String,
    pub(crate) whole_text: String,
}

impl AlertmanagerConfig {
    /// The file's own text, comments removed, secrets shown as `<secret>`.
    #[must_use]
    pub fn to_yaml(&self) -> &str {
        &self.shown_text
    }

    /// The configuration for `/api/v2/status` and `amtool config show`, as Alertmanager 0.34 writes it: with defaults and
    /// with what receivers take from `global`, in the order of its structs, secrets shown as `<secret>`.
    #[must_use]
    pub fn to_whole_yaml(&self) -> &str {
        &self.whole_text
    }

    /// The receiver of this name.
    #[must_use]
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }
}

/// A node of the routing tree. Values are the node's own or inherited from its parent; only `matchers`,
/// `continue_matching` and the time intervals are always the node's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// An existing receiver.
    pub receiver: String,
    /// Which labels make a group.
    pub group_by: GroupBy,
    /// All must match; those of `match`, `match_re` and `matchers` together, sorted by name, value and operator.
    pub matchers: Vec<Matcher>,
    /// Whether later siblings are tried after this node matched.
    pub continue_matching: bool,
    /// How long a new group waits for more alerts. Default 30s; may be zero.
    pub group_wait: Duration,
    /// How long a group waits before it tells of changes. Default 5m; never zero.
    pub group_interval: Duration,
    /// How long before an unchanged group is told again. Default 4h; never zero.
    pub repeat_interval: Duration,
    /// Names of existing time intervals; a hit of any mutes.
    pub mute_time_intervals: Vec<String>,
    /// Names of existing time intervals; where there are any, all missing mutes.
    pub active_time_intervals: Vec<String>,
    /// Labels for notifications (0.34), own over inherited ones; the values are templates.
    pub labels: BTreeMap<String, String>,
    /// Children, tried in order.
    pub routes: Vec<Route>,
}

/// What makes a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// `['...']`: all labels, so each alert is a group of its own.
    All,
    /// These labels, sorted; none means one group for everything.
    Labels(Vec<String>),
}

/// Where notifications go. A receiver without integrations is legal and swallows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Receiver {
    /// Unique.
    pub name: String,
    /// Labels of the receiver (0.33).
    pub labels: BTreeMap<String, String>,
    /// `webhook_configs`
    pub webhook_configs: Vec<WebhookConfig>,
    /// `discord_configs`
    pub discord_configs: Vec<DiscordConfig>,
    /// All others, kind after kind.
    pub integrations: Vec<IntegrationConfig>,
}

/// One webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookConfig {
    /// Tell of resolved alerts, too. Default true.
    pub send_resolved: bool,
    /// Where to post; a template unless it comes from a file.
    pub url: SecretSource,
    /// Alerts in one message; 0 means all.
    pub max_alerts: u64,
    /// For one request; zero means no limit of its own.
    pub timeout: Duration,
    /// What to post instead of the JSON of version 4 (0.32); its texts are templates.
    pub payload: Option<Anything>,
    /// How to speak to it; `global.http_config` where the receiver has none.
    pub http: HttpClientConfig,
}

/// One Discord channel.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscordConfig {
    /// Tell of resolved alerts, too. Default true.
    pub send_resolved: bool,
    /// The webhook of the channel.
    pub webhook_url: SecretSource,
    /// Template of the embed's title, default [`DISCORD_TITLE`].
    pub title: String,
    /// Template of the embed's description, default [`DISCORD_MESSAGE`].
    pub message: String,
    /// Template of the text above the embed, default empty.
    pub content: String,
    /// Shown as the sender; not a template. Empty leaves it to Discord.
    pub username: String,
    /// Picture of the sender; not a template. Empty leaves it to Discord.
    pub avatar_url: String,
    /// How to speak to it; `global.http_config` where the receiver has none.
    pub http: HttpClientConfig,
}

/// Default of [`DiscordConfig::title`].
pub const DISCORD_TITLE: &str = r#"{{ template "discord.default.title" . }}"#;
/// Default of [`DiscordConfig::message`].
pub const DISCORD_MESSAGE: &str = r#"{{ template "discord.default.message" . }}"#;

/// While an alert that matches `source` fires, alerts that match `target` and agree in `equal` are muted.
#[derive(Debug, Clone, PartialEq)]
pub struct InhibitRule {
    /// For people; may be empty.
    pub name: String,
    /// All must match the source; none matches every alert.
    pub source: Vec<Matcher>,
    /// All must match the target; none matches every alert.
    pub target: Vec<Matcher>,
    /// Labels that must be equal in both; absent equals empty.
    pub equal: Vec<String>,
}

/// Named times; the time is inside where any of the intervals holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTimeIntervals {
    /// Unique.
    pub name: String,
    /// Alternatives.
    pub intervals: Vec<TimeInterval>,
}
