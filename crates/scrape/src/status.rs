//! What is known of a target, for the targets page and the API.

use cupola_model::Labels;
use parking_lot::Mutex;

/// Whether the last scrape worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape worked.
    Up,
    /// The last scrape failed.
    Down,
}

impl Health {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// One target at one moment.
#[derive(Debug, Clone)]
pub struct TargetStatus {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// Labels of its samples.
    pub labels: Labels,
    /// Its job.
    pub scrape_pool: String,
    /// What is asked.
    pub scrape_url: String,
    /// Empty where the last scrape worked.
    pub last_error: String,
    /// Start of the last scrape, milliseconds; `None` before the first.
    pub last_scrape: Option<i64>,
    /// Seconds the last scrape took.
    pub last_scrape_duration: f64,
    /// Samples of the last scrape after relabelling.
    pub last_samples: usize,
    /// Whether the last scrape worked.
    pub health: Health,
    /// Milliseconds between scrapes.
    pub interval_ms: i64,
    /// Milliseconds a scrape may take.
    pub timeout_ms: i64,
}

// What one scrape left behind.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastScrape {
    pub error: String,
    pub at: Option<i64>,
    pub seconds: f64,
    pub samples: usize,
    pub health: Health,
}

/// Written by the target's task, read by whoever asks.
#[derive(Debug, Default)]
pub(crate) struct StatusCell(Mutex<LastScrape>);

impl StatusCell {
    /// Whether the last scrape left another error behind than `error`.
    pub(crate) fn is_other(&self, error: &str) -> bool {
        self.0.lock().error != error
    }

    /// Takes over a scrape that failed. An error that is told again and again is kept as it is.
    pub(crate) fn fail(&self, error: String, at: i64, seconds: f64) {
        let mut last = self.0.lock();
        if last.error != error {
            last.error = error;
        }
        (last.at, last.seconds, last.samples, last.health) = (Some(at), seconds, 0, Health::Down);
    }

    /// Takes over one that worked; whether the one before had failed.
    pub(crate) fn succeed(&self, samples: usize, at: i64, seconds: f64) -> bool {
        let health = Health::Up;
        let last = LastScrape {
            error: String::new(),
            at: Some(at),
            seconds,
            samples,
            health,
        };
        std::mem::replace(&mut *self.0.lock(), last).health == Health::Down
    }

    pub(crate) fn get(&self) -> LastScrape {
        self.0.lock().clone()
    }
}

/// Why no target of a pool is scraped, where that is so; shared by all of them.
#[derive(Debug, Default)]
pub(crate) struct ForcedError(Mutex<Option<String>>);

impl ForcedError {
    /// Whether that is news.
    pub(crate) fn set(&self, error: Option<String>) -> bool {
        let mut current = self.0.lock();
        let is_news = *current != error;
        *current = error;
        is_news
    }

    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().clone()
    }
}
