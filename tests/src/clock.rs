//! A wall clock that a test sets.

use std::path::PathBuf;
use std::process::Command;

use crate::child::run;
use crate::neighbours::neighbour;
use crate::world::Home;

/// The wall clock of one process. A library that is loaded before libc adds the seconds that stand in a file; clocks that do
/// not jump go on as they are.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

const CLOCK: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *now) {
    long done = syscall(SYS_clock_gettime, id, now);
    if (done != 0 || id != CLOCK_REALTIME) return (int)done;
    int before = errno, file = open(getenv("CLOCK_AHEAD"), O_RDONLY | O_CLOEXEC);
    char text[32] = {0};
    if (file >= 0 && read(file, text, sizeof text - 1) > 0) now->tv_sec += atol(text);
    if (file >= 0) close(file);
    errno = before;
    return 0;
}
"#;

impl Clock {
    /// One that is right. Nothing where there is no C compiler.
    ///
    /// # Panics
    /// Where the library cannot be made, and in CI where the compiler is missing.
    #[track_caller]
    #[must_use]
    pub fn new(home: &Home) -> Option<Self> {
        let compiler = neighbour("cc")?;
        let (library, file) = (home.path().join("clock.so"), home.write("ahead", "0"));
        let source = home.write("clock.c", CLOCK);
        let mut command = Command::new(compiler);
        let done = run(command.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source), b"");
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        Some(Self { library, file })
    }

    /// The process that the command starts goes by it. It must be linked dynamically.
    pub fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_AHEAD", &self.file);
    }

    /// Sets it, at once: the file is never seen half-written.
    ///
    /// # Panics
    /// Where the file cannot be written.
    #[track_caller]
    pub fn is_ahead_by(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, seconds.to_string()).expect("the folder of the test can be written");
        std::fs::rename(new, &self.file).expect("the folder of the test can be written");
    }
}
