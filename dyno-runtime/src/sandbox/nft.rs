//! Rules of the kernel's packet filter (nf_tables), as far as dynos need them.
//!
//! - [`Table`]: a table of IPv4 rules under construction, which takes the place of one of the same name in one step.
//! - [`Expr`]: what a rule looks at and decides.

use std::{io, net::Ipv4Addr};

use super::netlink::{APPEND, CREATE, EXCL, Message, Netlink};

const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const TABLES: u16 = 10;
const NEW_TABLE: u16 = TABLES << 8;
const DELETE_TABLE: u16 = TABLES << 8 | 2;
const NEW_CHAIN: u16 = TABLES << 8 | 3;
const NEW_RULE: u16 = TABLES << 8 | 6;

/// Register 1, where what is looked at is put.
const REGISTER: [u8; 4] = 1u32.to_be_bytes();
const EQUAL: u32 = 0;
const UNEQUAL: u32 = 1;

/// Where a chain is hooked in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hook {
    /// What comes to this machine itself.
    Input = 1,
    /// What passes through.
    Forward = 2,
    /// What this machine, or this namespace, sends.
    Output = 3,
    /// What leaves, after it was decided where to.
    Leave = 4,
}

/// One part of a rule; what follows counts only for packets that it fits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expr {
    /// It came from an interface whose name begins so, or does not.
    FromInterface(&'static str, bool),
    /// It goes to an interface whose name begins so, or does not.
    ToInterface(&'static str, bool),
    /// It is for a network: address and length of the prefix.
    For(Ipv4Addr, u8),
    /// It comes from a network.
    From(Ipv4Addr, u8),
    /// It is TCP, or is not.
    Tcp(bool),
    /// It asks for a new TCP connection.
    Opens,
    /// It is for this port.
    ToPort(u16),
    /// It belongs to a connection that was opened the other way.
    Answers,
    /// It goes no further.
    Drop,
    /// It has passed this chain.
    Accept,
    /// It gets the address of the interface that it leaves by.
    Masquerade,
}

/// A table of rules under construction.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    batch: Message,
}

impl Table {
    /// An empty table where there is none of this name yet. Nothing is removed, so that the kernel has nothing to wait
    /// for: whoever removes a table waits, at the end, until no packet can be in it any more.
    pub(super) fn first(name: &str) -> Self {
        Self::batch(name, &[(NEW_TABLE, CREATE | EXCL)])
    }

    /// An empty table, in place of one that is there.
    pub(super) fn new(name: &str) -> Self {
        Self::batch(name, &[(NEW_TABLE, CREATE), (DELETE_TABLE, 0), (NEW_TABLE, CREATE)])
    }

    /// Only the removal of a table, which has to be there.
    pub(super) fn removal(name: &str) -> Self {
        Self::batch(name, &[(DELETE_TABLE, 0)])
    }

    fn batch(name: &str, deeds: &[(u16, u16)]) -> Self {
        let mut batch = Message::new(BATCH_BEGIN, 0);
        batch.push(&[0, 0, 0, 10]);
        let mut table = Self { name: name.to_owned(), batch };
        for (kind, flags) in deeds {
            table.begin(*kind, *flags);
            table.name_it();
        }
        table
    }

    fn begin(&mut self, kind: u16, flags: u16) {
        self.batch.next(kind, flags);
        self.batch.push(&[libc::AF_INET as u8, 0, 0, 0]);
    }

    fn name_it(&mut self) {
        let name = [self.name.as_bytes(), b"\0"].concat();
        self.batch.put(1, &name);
    }

    /// Adds a chain of this kind (`filter`, `nat`) with its rules; what no rule decides is accepted.
    pub(super) fn chain(mut self, kind: &str, hook: Hook, priority: i32, rules: &[&[Expr]]) -> Self {
        let name = format!("{hook:?}\0").to_lowercase();
        self.begin(NEW_CHAIN, CREATE);
        self.name_it();
        let batch = std::mem::take(&mut self.batch);
        self.batch = batch
            .with(3, name.as_bytes())
            .nest(4, |m| m.with(1, &(hook as u32).to_be_bytes()).with(2, &priority.to_be_bytes()))
            .with(5, &1u32.to_be_bytes())
            .with(7, format!("{kind}\0").as_bytes());
        for rule in rules {
            self.begin(NEW_RULE, CREATE | APPEND);
            self.name_it();
            let batch = std::mem::take(&mut self.batch);
            self.batch = batch
                .with(2, name.as_bytes())
                .nest(4, |message| rule.iter().fold(message, |message, expr| expr.write(message)));
        }
        self
    }

    /// Has the kernel carry it out, whole or not at all.
    ///
    /// # Errors
    /// What the kernel says; "not supported" when it has no such filter.
    pub(super) fn install(mut self) -> io::Result<()> {
        self.batch.acknowledged();
        self.batch.next(BATCH_END, 0);
        self.batch.push(&[0, 0, 0, 10]);
        Netlink::netfilter()?.ask(&self.batch)
    }
}

impl Expr {
    fn write(self, message: Message) -> Message {
        let verdict = |message: Message, code: u32| {
            element(message, "immediate", |m| {
                m.with(1, &0u32.to_be_bytes()).nest(2, |m| m.nest(2, |m| m.with(1, &code.to_be_bytes())))
            })
        };
        match self {
            Self::FromInterface(prefix, is) => compare(meta(message, 6), is, prefix.as_bytes()),
            Self::ToInterface(prefix, is) => compare(meta(message, 7), is, prefix.as_bytes()),
            Self::For(network, length) => network_is(payload(message, 1, 16, 4), network, length),
            Self::From(network, length) => network_is(payload(message, 1, 12, 4), network, length),
            Self::Tcp(is) => compare(meta(message, 16), is, &[6]),
            // SYN (2) without ACK (16), in the flags of the TCP header.
            Self::Opens => compare(masked(payload(message, 2, 13, 1), &[0x12]), true, &[0x02]),
            Self::ToPort(port) => compare(payload(message, 2, 2, 2), true, &port.to_be_bytes()),
            Self::Answers => {
                // Established (2) or related (4); the state is a number of this machine's.
                let state = element(message, "ct", |m| m.with(1, &REGISTER).with(2, &0u32.to_be_bytes()));
                compare(masked(state, &6u32.to_ne_bytes()), false, &[0; 4])
            }
            Self::Drop => verdict(message, 0),
            Self::Accept => verdict(message, 1),
            Self::Masquerade => element(message, "masq", |m| m),
        }
    }
}

fn element(message: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    message.nest(1, |m| m.with(1, format!("{name}\0").as_bytes()).nest(2, data))
}

fn meta(message: Message, key: u32) -> Message {
    element(message, "meta", |m| m.with(1, &REGISTER).with(2, &key.to_be_bytes()))
}

/// `length` bytes from `offset` of the network's (1) or transport's (2) header.
fn payload(message: Message, base: u32, offset: u32, length: u32) -> Message {
    element(message, "payload", |m| {
        m.with(1, &REGISTER)
            .with(2, &base.to_be_bytes())
            .with(3, &offset.to_be_bytes())
            .with(4, &length.to_be_bytes())
    })
}

fn compare(message: Message, is: bool, with: &[u8]) -> Message {
    let operator = if is { EQUAL } else { UNEQUAL };
    element(message, "cmp", |m| {
        m.with(1, &REGISTER).with(2, &operator.to_be_bytes()).nest(3, |m| m.with(1, with))
    })
}

fn masked(message: Message, mask: &[u8]) -> Message {
    let length = u32::try_from(mask.len()).unwrap_or(0);
    element(message, "bitwise", |m| {
        m.with(1, &REGISTER)
            .with(2, &REGISTER)
            .with(3, &length.to_be_bytes())
            .nest(4, |m| m.with(1, mask))
            .nest(5, |m| m.with(1, &vec![0; mask.len()]))
    })
}

fn network_is(message: Message, network: Ipv4Addr, length: u8) -> Message {
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    let network = network.to_bits() & mask;
    compare(masked(message, &mask.to_be_bytes()), true, &network.to_be_bytes())
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
mod tests {
    use super::*;

    /// In a network namespace of its own.
    fn apart(check: impl FnOnce() + Send + 'static) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root has a packet filter");
            return;
        }
        let within = move || {
            #[expect(unsafe_code, reason = "a namespace for this thread alone")]
            // SAFETY: the thread shares no descriptor with anybody that would mean something else in another network.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
            check();
        };
        std::thread::spawn(within).join().unwrap();
    }

    #[test]
    fn rules_of_which_the_last_one_fails_are_not_taken_for_installed() {
        apart(|| {
            let good: &[&[Expr]] = &[&[Expr::Tcp(true), Expr::Drop], &[Expr::Accept]];
            let half = Table::first("half").chain("filter", Hook::Output, 0, good);
            let refused = half.chain("no such kind", Hook::Output, 0, good).install();
            assert!(refused.unwrap_err().raw_os_error().is_some());
            assert!(Table::removal("half").install().is_err(), "nothing of it is there");
            Table::first("whole").chain("filter", Hook::Output, 0, good).install().unwrap();
            Table::removal("whole").install().unwrap();
        });
    }
}
