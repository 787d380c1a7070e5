//! Evaluates PromQL (Prometheus 3.14) over the storage traits, in batches: every node of the tree is evaluated once
//! for all steps of the query and gives columns, one value per step.
//!
//! [`Engine::query`] is the way in. Instant selectors become columns at once; range functions read
//! each series once into a reused buffer, mark every step's window by walking along it (`walk`) and hand all windows to a kernel;
//! aggregations and operators number their groups once per query. What does not change from step to step is evaluated
//! once. [`script`] runs Prometheus's test scripts against it.
//!
//! No query can hurt the server: `budget` counts what one query holds and stops it at its limits, `ledger` counts the
//! bytes of all of them, `gate` lets only so many run, and `turns` has them share the cores so that short queries get
//! ahead of long ones and rules wait for nobody.
//!
//! Where a storage keeps downsampled tiers, `tiers` decides which selectors they may answer.
//!
//! What cannot have changed since a range query was answered is not computed again: `cache`.
//!
//! *Invariant:* no disk, no network, no async, and of storage only the traits. *Invariant:* a query that has to stop
//! does so within a few thousand samples. *Invariant:* what is not supported is an error that says so, never another
//! number.

mod aggregate;
mod annotations;
mod binary;
mod budget;
mod cache;
mod cancel;
mod column;
mod engine;
mod error;
mod eval;
mod functions;
mod gate;
mod grid;
mod keys;
mod ledger;
mod numeric;
mod options;
mod order;
mod plan;
mod query;
mod range;
pub mod script;
mod select;
mod tiers;
mod turns;
mod walk;
mod window;

pub use cache::ResultCacheStatus;
pub use cancel::Cancel;
pub use engine::{Engine, EngineStatus};
pub use error::{ErrorKind, QueryError, Stage};
pub use ledger::Memory;
pub use options::EngineOptions;
pub use query::{Asker, Origin, Query, QueryLog, QueryResult, QueryStats, QueryTimings, QueryValue, SourceResolution};
