//! Reading the kernel's small files, all into one buffer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::CollectError;
use crate::netlink::{self, Link};

const READ_ONLY: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// The roots, and the memory that every read of a scrape shares.
#[derive(Debug)]
pub(crate) struct Files {
    procfs: PathBuf,
    sysfs: PathBuf,
    buf: Vec<u8>,
    path: PathBuf,
    // `/proc/stat` is dear to make for the kernel and two collectors read it: once a scrape must do.
    stat: Vec<u8>,
    stat_len: Option<usize>,
    cpus: Option<Arc<[String]>>,
    links: Option<Arc<[Link]>>,
}

impl Files {
    pub(crate) fn new(procfs: &Path, sysfs: &Path) -> Self {
        Self {
            procfs: procfs.to_path_buf(),
            sysfs: sysfs.to_path_buf(),
            buf: vec![0; 32 << 10],
            path: PathBuf::new(),
            stat: vec![0; 16 << 10],
            stat_len: None,
            cpus: None,
            links: None,
        }
    }

    /// Forgets what the last scrape read.
    pub(crate) fn begin_scrape(&mut self) {
        self.stat_len = None;
        self.cpus = None;
        self.links = None;
    }

    /// The content of `rel` below the proc root.
    pub(crate) fn proc(&mut self, rel: &str) -> Result<&[u8], CollectError> {
        self.path.clone_from(&self.procfs);
        self.path.push(rel);
        read(&self.path, &mut self.buf)
    }

    /// The content of the first of `rels` that exists and may be read.
    pub(crate) fn proc_first(&mut self, rels: &[&str]) -> Result<&[u8], CollectError> {
        let mut failure = CollectError::NoData(rels.join(", "));
        for rel in rels {
            match self.proc(rel).map(<[u8]>::len) {
                Ok(len) => return Ok(self.buf.get(..len).unwrap_or(&[])),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The content of `rel` below the sys root.
    pub(crate) fn sys(&mut self, rel: &str) -> Result<&[u8], CollectError> {
        self.path.clone_from(&self.sysfs);
        self.path.push(rel);
        read(&self.path, &mut self.buf)
    }

    /// The content of a file anywhere.
    pub(crate) fn any(&mut self, path: &Path) -> Result<&[u8], CollectError> {
        read(path, &mut self.buf)
    }

    /// `/proc/stat` as this scrape saw it first.
    pub(crate) fn stat(&mut self) -> Result<&[u8], CollectError> {
        let len = match self.stat_len {
            Some(len) => len,
            None => {
                self.path.clone_from(&self.procfs);
                self.path.push("stat");
                let len = read(&self.path, &mut self.stat)?.len();
                *self.stat_len.insert(len)
            }
        };
        Ok(self.stat.get(..len).unwrap_or(&[]))
    }

    /// A sysfs attribute without its line feed; `None` where it is absent or cannot be read.
    pub(crate) fn attribute(&mut self, rel: &str) -> Option<String> {
        let content = self.sys(rel).ok()?;
        Some(String::from_utf8_lossy(content.trim_ascii()).into_owned())
    }

    /// A sysfs attribute that is a number, decimal or `0x`.
    pub(crate) fn number(&mut self, rel: &str) -> Option<i64> {
        crate::parse::int(self.sys(rel).ok()?.trim_ascii())
    }

    /// A folder below the sys root, to read several attributes of: the way to it is walked once.
    pub(crate) fn sys_dir(&self, rel: &str) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(self.sysfs.join(rel), flags, Mode::empty()).ok()
    }

    /// As [`Files::attribute`], of the folder `dir`.
    pub(crate) fn attribute_in(&mut self, dir: &OwnedFd, name: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.sysfs_file(dir, name)?.trim_ascii()).into_owned())
    }

    /// As [`Files::number`], of the folder `dir`.
    pub(crate) fn number_in(&mut self, dir: &OwnedFd, name: &str) -> Option<i64> {
        crate::parse::int(self.sysfs_file(dir, name)?.trim_ascii())
    }

    // Sysfs hands out an attribute whole, at most a page of it: one read is all of it.
    fn sysfs_file(&mut self, dir: &OwnedFd, name: &str) -> Option<&[u8]> {
        let file = rustix::fs::openat(dir, name, READ_ONLY, Mode::empty()).ok()?;
        let len = loop {
            match rustix::io::read(&file, self.buf.as_mut_slice()) {
                Ok(len) => break len,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        };
        self.buf.get(..len)
    }

    /// The names in a folder below the sys root, sorted; empty where it is absent.
    pub(crate) fn sys_names(&self, rel: &str) -> Vec<String> {
        names(&self.sysfs.join(rel))
    }

    /// `cpu0`, `cpu1` ...: the folders of `SYS/devices/system/cpu`, by number, as this scrape saw them first.
    pub(crate) fn cpus(&mut self) -> Arc<[String]> {
        let number = |name: &str| crate::parse::uint(name.strip_prefix("cpu")?.as_bytes());
        let cpus = self.cpus.take().unwrap_or_else(|| {
            let mut names = names(&self.sysfs.join("devices/system/cpu"));
            names.retain(|name| number(name).is_some());
            names.sort_by_key(|name| number(name));
            names.into()
        });
        Arc::clone(self.cpus.insert(cpus))
    }

    /// The network devices of our own network namespace, whatever the roots, as this scrape saw them first.
    pub(crate) fn links(&mut self) -> Result<Arc<[Link]>, CollectError> {
        let links = match self.links.take() {
            Some(links) => links,
            None => netlink::links()?.into(),
        };
        Ok(Arc::clone(self.links.insert(links)))
    }

    /// `rel` below the sys root.
    pub(crate) fn sys_path(&self, rel: &str) -> PathBuf {
        self.sysfs.join(rel)
    }
}

/// The names in `dir`, sorted; empty where it is absent.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

// Plain system calls: the standard library would ask for the size first, which says nothing about these files.
fn read<'b>(path: &Path, buf: &'b mut Vec<u8>) -> Result<&'b [u8], CollectError> {
    let fail = |e: Errno| CollectError::Read {
        path: path.display().to_string(),
        source: e.into(),
    };
    let file = rustix::fs::open(path, READ_ONLY, Mode::empty()).map_err(fail)?;
    let mut len = 0;
    loop {
        if len == buf.len() {
            buf.resize(buf.len() * 2 + 4096, 0);
        }
        let room = buf.get_mut(len..).unwrap_or(&mut []);
        match rustix::io::read(&file, room) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(fail(e)),
        }
    }
    Ok(buf.get(..len).unwrap_or(&[]))
}
