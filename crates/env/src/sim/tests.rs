use std::collections::BTreeSet;

use super::*;

const FOLDER: &str = "/data/log";

// A disk with a folder that is on the device.
fn disk(seed: u64) -> (SimDisk, Arc<dyn Vfs>) {
    let disk = SimDisk::new(seed);
    let fs = disk.mount();
    fs.create_dir_all(Path::new(FOLDER)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs.sync_dir(Path::new("/data")).unwrap();
    (disk, fs)
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

// What a power cut leaves of a file, over many seeds; `None` where its name is gone.
fn after_power_cuts(write: impl Fn(&dyn Vfs)) -> BTreeSet<Option<String>> {
    let left = |seed| {
        let (disk, fs) = disk(seed);
        write(&*fs);
        disk.cut_power();
        assert!(fs.list(Path::new(FOLDER)).is_err(), "the old process is dead");
        let bytes = disk.mount().read(&path("a")).ok();
        bytes.map(|bytes| String::from_utf8(bytes).unwrap().replace('\0', "0"))
    };
    (0..300).map(left).collect()
}

fn outcomes(all: &[Option<&str>]) -> BTreeSet<Option<String>> {
    all.iter().map(|one| one.map(str::to_owned)).collect()
}

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let left = after_power_cuts(|fs| {
        let mut file = fs.create_new(&path("a")).unwrap();
        file.append(b"xy").unwrap();
    });
    let some = [None, Some(""), Some("x"), Some("xy"), Some("x0"), Some("00")];
    assert_eq!(left, outcomes(&some));
    let left = after_power_cuts(|fs| {
        let mut file = fs.create_new(&path("a")).unwrap();
        file.append(b"x").unwrap();
        file.sync().unwrap();
        fs.sync_dir(Path::new(FOLDER)).unwrap();
        file.append(b"y").unwrap();
    });
    assert_eq!(left, outcomes(&[Some("x"), Some("xy"), Some("x0")]));
    let left = after_power_cuts(|fs| {
        let mut file = fs.create_new(&path("b")).unwrap();
        file.append(b"x").unwrap();
        file.sync().unwrap();
        // Syncs the folder as well.
        fs.rename(&path("b"), &path("a")).unwrap();
        fs.remove_file(&path("a")).unwrap();
    });
    assert_eq!(left, outcomes(&[None, Some("x")]));
}

#[test]
fn a_sync_that_failed_leaves_bytes_in_doubt_for_good() {
    let left = after_power_cuts(|fs| {
        let mut file = fs.create_new(&path("b")).unwrap();
        file.append(b"x").unwrap();
        file.sync().unwrap();
        fs.rename(&path("b"), &path("a")).unwrap();
        file.append(b"y").unwrap();
    });
    assert_eq!(left, outcomes(&[Some("x"), Some("xy"), Some("x0")]));
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let (disk, fs) = disk(seed);
        let mut file = fs.create_new(&path("b")).unwrap();
        fs.rename(&path("b"), &path("a")).unwrap();
        file.append(b"x").unwrap();
        disk.set_faults(Faults {
            failing_syncs: true,
            ..Faults::default()
        });
        file.sync().unwrap_err();
        disk.set_faults(Faults::default());
        file.append(b"y").unwrap();
        file.sync().unwrap();
        disk.cut_power();
        seen.insert(disk.mount().read(&path("a")).unwrap());
    }
    assert_eq!(seen, BTreeSet::from([b"xy".to_vec(), b"\0y".to_vec()]));
}

#[test]
fn a_process_that_dies_leaves_what_it_wrote() {
    let (disk, fs) = disk(3);
    let mut file = fs.create_new(&path("a")).unwrap();
    file.append(b"abc").unwrap();
    disk.die_in(Some(1));
    file.append(b"def").unwrap();
    assert!(!disk.is_dead());
    assert!(file.append(b"ghi").is_err());
    assert!(disk.is_dead());
    assert!(file.append(b"jkl").is_err());
    assert!(fs.remove_dir_all(Path::new(FOLDER)).is_err());
    let bytes = disk.mount().read(&path("a")).unwrap();
    assert!(bytes.starts_with(b"abcdef") && bytes.len() < 9, "{bytes:?}");
}

#[test]
fn faults_come_and_go() {
    let (disk, fs) = disk(4);
    let mut file = fs.create_new(&path("a")).unwrap();
    let full = Faults {
        room: Some(2),
        ..Faults::default()
    };
    disk.set_faults(full);
    assert_eq!(file.append(b"abc").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs.read(&path("a")).unwrap(), b"ab");
    assert!(fs.create_new(&path("b")).is_err());
    file.truncate(0).unwrap();
    fs.rename(&path("a"), &path("c")).unwrap();
    let read_only = Faults {
        read_only: true,
        unreadable: Some("log/c".to_owned()),
        ..Faults::default()
    };
    disk.set_faults(read_only);
    let error = fs.remove_file(&path("c")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
    assert!(fs.read(&path("c")).is_err());
    disk.set_faults(Faults::default());
    assert_eq!(fs.read(&path("c")).unwrap(), b"");
}

#[test]
fn an_open_file_stays_readable_and_links_share_bytes() {
    let (_disk, fs) = disk(5);
    let mut file = fs.create_new(&path("a")).unwrap();
    file.append(b"abc").unwrap();
    fs.link(&path("a"), &path("b")).unwrap();
    assert!(fs.link(&path("a"), &path("b")).is_err());
    let open = fs.open_read(&path("a")).unwrap();
    fs.remove_dir_all(Path::new(FOLDER)).unwrap();
    let mut bytes = [0; 2];
    open.read_exact_at(&mut bytes, 1).unwrap();
    assert_eq!((open.size().unwrap(), &bytes), (3, b"bc"));
    assert!(open.read_exact_at(&mut bytes, 2).is_err());
    assert!(!fs.is_dir(Path::new(FOLDER)));
}

#[test]
fn the_hook_comes_before_each_write() {
    let (disk, fs) = disk(6);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inner, also) = (seen.clone(), fs.clone());
    disk.before_each_write(Some(Box::new(move |doing, path| {
        inner.lock().push((doing, path.to_path_buf()));
        let _ = also.create_dir(Path::new("/data/by-hook"));
    })));
    fs.create_new(&path("a")).unwrap();
    fs.remove_file(&path("a")).unwrap();
    assert_eq!(*seen.lock(), [("create", path("a")), ("remove", path("a"))]);
    assert!(fs.is_dir(Path::new("/data/by-hook")));
}
