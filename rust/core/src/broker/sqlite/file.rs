//! Which file a URL means, and whether SQLite can be trusted with it.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The absolute path of a database, so that two spellings of it meet in one connection.
pub(super) fn resolve(path: &str) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(|error| Error::BadUrl {
        detail: format!("sqlite:///{path}: {error}"),
    })?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::BadUrl {
            detail: format!("sqlite:///{} names no file", path.display()),
        });
    };
    Ok(folder
        .canonicalize()
        .map_or_else(|_| path.clone(), |folder| folder.join(name)))
}

/// Creates the file, readable by its owner only, unless it is there.
///
/// # Errors
/// [`Error::BadUrl`] when it lies on a network file system: locks and shared memory do not reach
/// other machines, so the database would be damaged.
pub(super) fn prepare(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    if let Some(kind) = network_file_system(folder) {
        return Err(Error::BadUrl {
            detail: format!(
                "{} is on a network file system ({kind}), where SQLite loses data; use a local disk, or Redis",
                path.display()
            ),
        });
    }
    create_private(path).map_err(|error| Error::Storage {
        path: path.display().to_string(),
        cause: format!("cannot create the file: {error}"),
        passing: false,
    })
}

fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn network_file_system(folder: &Path) -> Option<String> {
    let magic = rustix::fs::statfs(folder).ok()?.f_type;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    name_of_network(u64::try_from(magic).ok()?, || fuse_type(&mounts, folder))
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(folder: &Path) -> Option<String> {
    // Elsewhere a share announces itself by its path only.
    let text = folder.to_string_lossy();
    (text.starts_with(r"\\") && !text.starts_with(r"\\?\")).then(|| "share".to_owned())
}

/// Source: `linux/magic.h`, and the file systems' own headers.
#[cfg(target_os = "linux")]
fn name_of_network(magic: u64, fuse_type: impl Fn() -> Option<String>) -> Option<String> {
    let name = match magic & 0xffff_ffff {
        0x6969 => "nfs",
        0x517b => "smb",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb2",
        0x5346_414f | 0x6b41_4653 => "afs",
        0x7375_7245 => "coda",
        0x00c3_6400 => "ceph",
        0x0bd0_0bd0 => "lustre",
        0x564c => "ncp",
        // FUSE: a disk in user space (`fuseblk`) is local, the others are mostly servers.
        0x6573_5546 => return fuse_type().filter(|kind| kind != "fuseblk"),
        _ => return None,
    };
    Some(name.to_owned())
}

/// The type of the mount that holds `folder` (`fuse.sshfs`): the longest mount point above it.
#[cfg(target_os = "linux")]
fn fuse_type(mounts: &str, folder: &Path) -> Option<String> {
    let mounted = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.replace("\\040", " ");
        let kind = right.split(' ').next()?;
        folder.starts_with(&point).then(|| (point.len(), kind.to_owned()))
    });
    mounted.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

/// The file and its log as the file system numbers them: two that are equal are the same files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footing([Option<(u64, u64)>; 2]);

impl Footing {
    /// Of what is under these names now.
    pub(super) fn of(path: &Path) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Self([numbers(path), numbers(Path::new(&log))])
    }
}

#[cfg(unix)]
fn numbers(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Elsewhere nobody can delete what is open.
#[cfg(not(unix))]
fn numbers(_path: &Path) -> Option<(u64, u64)> {
    None
}

/// The folder of the wake-up sockets, created with the database.
pub(super) fn create_wake_folder(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".wake");
    let folder = path.with_file_name(name);
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has modes"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(folder),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_magic_numbers() {
        let none = || None;
        assert_eq!(name_of_network(0x6969, none).as_deref(), Some("nfs"));
        assert_eq!(
            name_of_network(0xffff_ffff_ff53_4d42, none).as_deref(),
            Some("cifs")
        );
        assert_eq!(name_of_network(0xef53, none), None);
    }

    #[test]
    fn a_disk_in_user_space_is_local_and_a_server_is_not() {
        let mounts = "1 2 0:1 / / rw - ext4 /dev/a rw\n\
                      3 4 0:2 / /mnt/my\\040disk rw - fuseblk /dev/b rw\n\
                      5 6 0:3 / /mnt/far rw shared:1 - fuse.sshfs host: rw\n";
        let kind = |folder: &str| name_of_network(0x6573_5546, || fuse_type(mounts, Path::new(folder)));
        assert_eq!(kind("/mnt/far/jobs").as_deref(), Some("fuse.sshfs"));
        assert_eq!(kind("/mnt/my disk/jobs"), None);
    }

    #[test]
    fn a_new_file_is_its_owners_alone_and_an_old_one_is_left_as_it_is() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        prepare(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "kept").unwrap();
        prepare(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"kept");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = prepare(Path::new("/no/such/folder/queue.db")).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder/queue.db"), "{error}");
    }
}
