//! The templates that notifications use where the configuration names none.

use crate::error::ParseError;
use crate::funcs::alertmanager;
use crate::objects::Time;
use crate::set::Set;

/// The default templates by their names of Alertmanager, each with the same output as there.
const DEFAULTS: &str = include_str!("default.tmpl");
/// The mail, in HTML.
const EMAIL: &str = include_str!("email.tmpl");

/// A set with Alertmanager's functions and default templates, ready for the template files of the configuration.
/// `now` tells the time for the functions `now` and `since`.
///
/// # Errors
/// Never in a build that passes its tests: our own templates parse.
pub fn notification_set(now: impl Fn() -> Time + Send + Sync + 'static) -> Result<Set, ParseError> {
    let mut set = Set::new(alertmanager::funcs(now));
    set.add("default.tmpl", DEFAULTS)?;
    set.add("email.tmpl", EMAIL)?;
    Ok(set)
}
