//! Child processes that end with their test.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;

// How long a program may take that is expected to end by itself.
const FINISH_SECONDS: u64 = 60;
// How many lines of output a failed test shows.
const SHOWN_LINES: usize = 80;

type Lines = Arc<Mutex<Vec<String>>>;

/// A process in the background. Its output is kept; it is killed on drop.
#[derive(Debug)]
pub struct Background {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<JoinHandle<()>>,
}

impl Background {
    /// # Panics
    /// Where the program cannot be started.
    #[track_caller]
    pub fn start(name: &str, command: &mut Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {command:?}: {error}"),
        };
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            follow(child.stdout.take().expect("stdout is piped"), stdout.clone()),
            follow(child.stderr.take().expect("stderr is piped"), stderr.clone()),
        ];
        Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
            readers,
        }
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All lines of standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().clone()
    }

    /// All lines of standard error so far: the log.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().clone()
    }

    /// The exit status if the process has ended.
    ///
    /// # Panics
    /// Where the system does not tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the system tells of our child")
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// Where the process is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process takes signals");
    }

    /// Waits until the process ends by itself and its output is read to the end.
    #[track_caller]
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let status = eventually(seconds, &what, || self.ended());
        self.drain();
        status
    }

    /// Ends the process at once, as `kill -9` does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.drain();
    }

    fn drain(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader that panicked has told so already.
            let _ = reader.join();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            for (stream, lines) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
                let lines = lines.lock();
                let hidden = lines.len().saturating_sub(SHOWN_LINES);
                eprintln!("---- {stream} of {} ({hidden} lines before these)", self.name);
                for line in lines.iter().skip(hidden) {
                    eprintln!("{line}");
                }
            }
        }
    }
}

fn follow(stream: impl Read + Send + 'static, lines: Lines) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            lines
                .lock()
                .push(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
            line.clear();
        }
    })
}

/// What a program left that ended by itself.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a program to its end, with `input` as its standard input.
///
/// # Panics
/// Where it cannot be started or takes longer than a minute.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Finished {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => panic!("cannot start {command:?}: {error}"),
    };
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program may end without reading everything.
        let _ = stdin.write_all(&input);
    });
    let read = |mut stream: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("stdout is piped")));
    let stderr = read(Box::new(child.stderr.take().expect("stderr is piped")));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(FINISH_SECONDS);
    let status = loop {
        if let Some(status) = child.try_wait().expect("the system tells of our child") {
            break status;
        }
        if std::time::Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
            panic!("{command:?} does not end\n{stdout}\n{stderr}");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    let _ = writer.join();
    Finished {
        code: status.code(),
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    }
}
