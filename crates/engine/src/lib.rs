//! Evaluates PromQL (Prometheus 3.14) over the storage traits, in batches: every node of the tree is evaluated once
//! for all steps of the query and gives columns, one value per step.
//!
//! [`Engine::query`] is the way in. Instant selectors become columns at once; range functions read
//! each series once into a reused buffer, mark every step's window with two pointers and hand all windows to a kernel;
//! aggregations and operators number their groups once per query. What does not change from step to step is evaluated
//! once. [`script`] runs Prometheus's test scripts against it.
//!
//! *Invariant:* no disk, no network, no async, and of storage only the traits. *Invariant:* a query that has to stop
//! does so within a few thousand samples. *Invariant:* what is not supported is an error that says so, never another
//! number.

mod aggregate;
mod annotations;
mod binary;
mod budget;
mod cancel;
mod column;
mod engine;
mod error;
mod eval;
mod functions;
mod gate;
mod grid;
mod keys;
mod numeric;
mod options;
mod plan;
mod query;
mod range;
pub mod script;
mod select;
mod window;

pub use cancel::Cancel;
pub use engine::Engine;
pub use error::{ErrorKind, QueryError, Stage};
pub use options::EngineOptions;
pub use query::{Query, QueryResult, QueryStats, QueryTimings, QueryValue};
