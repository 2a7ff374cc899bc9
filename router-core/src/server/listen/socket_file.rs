//! A socket file to listen at: what a dead process has left is replaced, and nothing is left behind.
//!
//! - [`listen`]: takes a path. [`SocketFile`]: the file, for as long as it is ours.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// A socket file of ours. Dropping it removes it, unless somebody else has put another one in its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| now.ino() == self.inode) {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`, without blocking, with these permissions. The file gets its name only when it has them, so nobody
/// slips in before.
///
/// # Errors
/// `AlreadyExists` when something else is there, `AddrInUse` when somebody listens there, others of the system.
pub fn listen(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    make_way(path)?;
    let mut unnamed = path.as_os_str().to_owned();
    unnamed.push(format!(".{}", std::process::id()));
    let unnamed = PathBuf::from(unnamed);
    let _left_over = fs::remove_file(&unnamed);
    let listener = UnixListener::bind(&unnamed)?;
    let named = fs::set_permissions(&unnamed, fs::Permissions::from_mode(mode))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| rustix::net::listen(&listener, super::BACKLOG.into()).map_err(io::Error::from))
        .and_then(|()| fs::rename(&unnamed, path))
        .and_then(|()| fs::symlink_metadata(path));
    match named {
        Ok(now) => Ok((listener, SocketFile { path: path.to_owned(), inode: now.ino() })),
        Err(error) => {
            let _cleaned = fs::remove_file(&unnamed);
            Err(error)
        }
    }
}

/// Removes the socket file of a process that is gone.
fn make_way(path: &Path) -> io::Result<()> {
    let Ok(now) = fs::symlink_metadata(path) else { return Ok(()) };
    if !now.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Its queue is full: somebody lives there.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("busbar-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_dead_sockets_file_is_replaced_a_live_ones_and_another_file_are_not() {
        let directory = directory("socket-file");
        let path = directory.join("http.sock");
        drop(UnixListener::bind(&path).unwrap()); // the file stays, nobody listens
        let (_listener, file) = listen(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(listen(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path.exists());
        fs::write(&path, "mine").unwrap();
        assert_eq!(listen(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_that_somebody_else_has_put_there_is_not_removed() {
        let directory = directory("socket-file-2");
        let path = directory.join("http.sock");
        let (_listener, file) = listen(&path, 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        // Only a different inode tells them apart; the first one is still held open by its listener.
        drop(file);
        assert!(path.exists());
        fs::remove_dir_all(directory).unwrap();
    }
}
