//! Session tickets: what lets a client come back without the costly part of a handshake, kept by the client itself.
//!
//! - [`Tickets`]: their keys, of this process alone or from a file that several routers share.
//! - [`TicketKeys`]: the keys of such a file: the first makes tickets, all of them open tickets.
//!
//! A ticket is `name of its key (16) | salt (16) | what it hides | tag (16)`. Each is encrypted by AES-256-GCM under a key of
//! its own, HMAC-SHA256 of the salt, so no number of tickets wears a key out. What a ticket was made for is authenticated:
//! one that a listener without client certificates made opens nothing at a listener that wants them.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rustls::server::ProducesTickets;

use super::{
    arithmetic::{
        aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
        hmac,
    },
    provider,
    terminator::TlsError,
};

/// How long a process makes tickets with one key of its own. Those are good for as long again.
const PERIOD: Duration = Duration::from_secs(6 * 3600);
/// How long clients are told to keep a ticket.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Bytes of a key.
const KEY: usize = 32;
const NAME: usize = 16;
const SALT: usize = 16;
const TAG: usize = 16;
/// More keys than this are a slip.
const MOST_KEYS: usize = 16;
/// A file larger than this holds no keys.
const LARGEST_FILE: u64 = 64 * 1024;

/// Why a file with keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TicketKeysError {
    /// It cannot be read.
    #[error("the ticket keys in {} cannot be read: {source}; check the path and permissions", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it: whoever has the keys reads what clients said.
    #[error("the ticket keys in {} can be read by others; chmod 600 it, and make new keys", .0.display())]
    OpenToOthers(PathBuf),
    /// A line is no key.
    #[error("line {line} of the ticket keys in {} is no key; write 64 hexadecimal digits, as `openssl rand -hex 32` does", .file.display())]
    NoKey {
        /// Which file.
        file: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// There are none, or too many.
    #[error("{} has {count} ticket keys; write 1 to {MOST_KEYS}, one a line, the one that makes tickets first", .file.display())]
    Count {
        /// Which file.
        file: PathBuf,
        /// How many.
        count: usize,
    },
}

/// Keys that several routers share: the first makes tickets, all of them open tickets. Nothing shows them.
#[derive(Clone)]
pub struct TicketKeys(Arc<[Key]>);

impl TicketKeys {
    /// Reads them: one a line, 64 hexadecimal digits each; empty lines and those that begin with `#` do not count.
    ///
    /// # Errors
    /// [`TicketKeysError`], also when others than its owner may read the file.
    pub fn load(file: &Path) -> Result<Self, TicketKeysError> {
        let unreadable = |source| TicketKeysError::Unreadable { file: file.to_owned(), source };
        let data = fs::metadata(file).map_err(unreadable)?;
        if data.permissions().mode() & 0o077 != 0 {
            return Err(TicketKeysError::OpenToOthers(file.to_owned()));
        }
        if data.len() > LARGEST_FILE {
            return Err(TicketKeysError::Count { file: file.to_owned(), count: usize::MAX });
        }
        Self::from_text(file, &fs::read_to_string(file).map_err(unreadable)?)
    }

    /// The same from a text; `file` stands for it in errors.
    ///
    /// # Errors
    /// [`TicketKeysError`].
    pub fn from_text(file: &Path, text: &str) -> Result<Self, TicketKeysError> {
        let mut keys = Vec::new();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let no_key = || TicketKeysError::NoKey { file: file.to_owned(), line: number };
            keys.push(Key::new(&bytes(line).ok_or_else(no_key)?));
        }
        if !(1..=MOST_KEYS).contains(&keys.len()) {
            return Err(TicketKeysError::Count { file: file.to_owned(), count: keys.len() });
        }
        Ok(Self(keys.into()))
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys({})", self.0.len())
    }
}

/// 64 hexadecimal digits.
fn bytes(digits: &str) -> Option<[u8; KEY]> {
    if digits.len() != 2 * KEY || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; KEY];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// One key and its name, which says nothing about it.
struct Key {
    name: [u8; NAME],
    secret: hmac::Key,
}

impl Key {
    fn new(bytes: &[u8; KEY]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let mut name = [0; NAME];
        let tag = hmac::sign(&secret, b"busbar: the name of this ticket key");
        name.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        Self { name, secret }
    }

    fn random() -> Option<Self> {
        let mut bytes = [0; KEY];
        provider().secure_random.fill(&mut bytes).ok()?;
        Some(Self::new(&bytes))
    }

    /// The key of the one ticket that has this salt. It encrypts once, so its nonce is no secret and never repeats.
    fn of_ticket(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(b"busbar: the key of one ticket");
        context.update(salt);
        UnboundKey::new(&AES_256_GCM, context.sign().as_ref()).ok().map(LessSafeKey::new)
    }
}

/// Keys in force: the first makes tickets.
struct Ring {
    keys: Arc<[Key]>,
    /// When the process makes a new one of its own. `None`: they are from a file.
    until: Option<Instant>,
}

/// The keys of session tickets. Clones share them.
#[derive(Clone)]
pub struct Tickets(Arc<ArcSwap<Ring>>);

impl Tickets {
    /// Keys of this process alone: a new one every six hours, and tickets of the one before it are good, too.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, TlsError> {
        let key = Key::random().ok_or(rustls::Error::FailedToGetRandomBytes)?;
        let ring = Ring { keys: [key].into(), until: Some(Instant::now() + PERIOD) };
        Ok(Self(Arc::new(ArcSwap::from_pointee(ring))))
    }

    /// Keys that other routers have, too, so that a client may come back to any of them.
    pub fn shared(keys: TicketKeys) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Ring { keys: keys.0, until: None })))
    }

    /// These are in force from now on, for all who have a clone.
    pub fn replace(&self, keys: TicketKeys) {
        self.0.store(Arc::new(Ring { keys: keys.0, until: None }));
    }

    /// Makes and opens tickets for a listener. Only those with the same `purpose` open each other's.
    pub(super) fn for_purpose(&self, purpose: [u8; 32]) -> Arc<dyn ProducesTickets> {
        Arc::new(Purpose { tickets: self.clone(), purpose })
    }

    /// Those in force at `now`.
    fn ring(&self, now: Instant) -> Arc<Ring> {
        let ring = self.0.load_full();
        let Some(next) = ring.until.filter(|until| now >= *until).and_then(|until| next(&ring, until, now))
        else {
            return ring;
        };
        // When somebody else was first, that one is in force.
        let next = Arc::new(next);
        let before = self.0.compare_and_swap(&ring, Arc::clone(&next));
        if Arc::ptr_eq(&before, &ring) { next } else { arc_swap::Guard::into_inner(before) }
    }
}

/// The ring of a process whose key's time was over at `until`.
fn next(ring: &Ring, until: Instant, now: Instant) -> Option<Ring> {
    let new = Key::random()?;
    let last = ring.keys.first().filter(|_| now < until + PERIOD);
    let last = last.map(|key| Key { name: key.name, secret: key.secret.clone() });
    Some(Ring { keys: [Some(new), last].into_iter().flatten().collect(), until: Some(now + PERIOD) })
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

#[derive(Debug)]
struct Purpose {
    tickets: Tickets,
    purpose: [u8; 32],
}

impl ProducesTickets for Purpose {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        seal(self.tickets.ring(Instant::now()).keys.first()?, &self.purpose, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        open(&self.tickets.ring(Instant::now()).keys, &self.purpose, ticket)
    }
}

/// It never repeats: a ticket's key encrypts once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn seal(key: &Key, purpose: &[u8; 32], plain: &[u8]) -> Option<Vec<u8>> {
    let mut salt = [0; SALT];
    provider().secure_random.fill(&mut salt).ok()?;
    let mut ticket = Vec::with_capacity(NAME + SALT + plain.len() + TAG);
    ticket.extend_from_slice(&key.name);
    ticket.extend_from_slice(&salt);
    ticket.extend_from_slice(plain);
    let hidden = ticket.get_mut(NAME + SALT..)?;
    let tag = key.of_ticket(&salt)?.seal_in_place_separate_tag(nonce(), Aad::from(purpose), hidden).ok()?;
    ticket.extend_from_slice(tag.as_ref());
    Some(ticket)
}

fn open(keys: &[Key], purpose: &[u8; 32], ticket: &[u8]) -> Option<Vec<u8>> {
    let (name, rest) = ticket.split_at_checked(NAME)?;
    let (salt, hidden) = rest.split_at_checked(SALT)?;
    // The name is no secret.
    let key = keys.iter().find(|key| key.name == name)?;
    let mut plain = hidden.to_vec();
    let length = key.of_ticket(salt)?.open_in_place(nonce(), Aad::from(purpose), &mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn keys(text: &str) -> TicketKeys {
        TicketKeys::from_text(Path::new("keys"), text).unwrap()
    }

    fn ticketer(text: &str) -> Arc<dyn ProducesTickets> {
        Tickets::shared(keys(text)).for_purpose([0; 32])
    }

    #[test]
    fn the_first_key_makes_tickets_and_all_of_them_open_tickets() {
        let (old, rotated, other) = (ticketer(A), ticketer(&format!("# new\n{B}\n\n{A}\n")), ticketer(B));
        let ticket = old.encrypt(b"a session").unwrap();
        assert_eq!(rotated.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(other.decrypt(&ticket), None);
        let ticket = rotated.encrypt(b"").unwrap();
        assert_eq!((other.decrypt(&ticket), old.decrypt(&ticket)), (Some(vec![]), None));
    }

    #[test]
    fn replaced_keys_are_in_force_at_once() {
        let tickets = Tickets::shared(keys(A));
        let ticketer = tickets.for_purpose([0; 32]);
        let ticket = ticketer.encrypt(b"a session").unwrap();
        tickets.replace(keys(B));
        assert_eq!(ticketer.decrypt(&ticket), None);
    }

    #[test]
    fn a_ticket_opens_nothing_that_it_was_not_made_for() {
        let tickets = Tickets::new().unwrap();
        let ticket = tickets.for_purpose([1; 32]).encrypt(b"a session").unwrap();
        assert_eq!(tickets.for_purpose([2; 32]).decrypt(&ticket), None);
        assert!(tickets.for_purpose([1; 32]).decrypt(&ticket).is_some());
    }

    #[test]
    fn a_ticket_that_was_changed_anywhere_or_cut_is_none() {
        let ticketer = ticketer(A);
        let ticket = ticketer.encrypt(b"a session").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(ticketer.decrypt(&changed), None, "byte {at}");
            assert_eq!(ticketer.decrypt(&ticket[..at]), None, "cut at {at}");
        }
        assert_ne!(ticketer.encrypt(b"a session"), Some(ticket), "no two are alike");
    }

    #[test]
    fn a_process_changes_its_key_every_six_hours_and_opens_tickets_of_the_one_before() {
        let tickets = Tickets::new().unwrap();
        let start = Instant::now();
        let first = tickets.ring(start);
        let made = seal(first.keys.first().unwrap(), &[0; 32], b"a session").unwrap();
        assert!(Arc::ptr_eq(&tickets.ring(start + PERIOD / 2), &first));
        let later = start + PERIOD + Duration::from_secs(1);
        let second = tickets.ring(later);
        assert_ne!(second.keys[0].name, first.keys[0].name);
        assert!(open(&second.keys, &[0; 32], &made).is_some());
        let third = tickets.ring(later + PERIOD);
        assert_eq!(open(&third.keys, &[0; 32], &made), None);
        // After a long silence nothing old is opened.
        assert_eq!(tickets.ring(later + 10 * PERIOD).keys.len(), 1);
    }

    #[test]
    fn what_is_wrong_with_the_keys_is_told_with_file_and_line_and_without_the_key() {
        let read = |text: &str| TicketKeys::from_text(Path::new("keys"), text).unwrap_err().to_string();
        let short = read(&format!("{A}\n{}\n", B.replacen('b', "", 1)));
        assert!(short.contains("line 2 of the ticket keys in keys") && !short.contains("bbb"), "{short}");
        assert!(read("# none\n").contains("has 0 ticket keys"));
        assert!(read(&format!("{A}\n").repeat(17)).contains("has 17 ticket keys"));
        assert!(read(&"é".repeat(32)).contains("line 1"));
        assert_eq!(format!("{:?}", keys(A)), "TicketKeys(1)");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        fs::write(&file, A).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(TicketKeys::load(&file), Err(TicketKeysError::OpenToOthers(_))));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(TicketKeys::load(&file).is_ok());
    }
}
