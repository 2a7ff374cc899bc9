//! The registry's messages are refused or understood: what is understood is written as it was meant, shows no secret, and is
//! nothing the registry's state could stumble over.

use std::{fmt::Debug, time::Duration};

use busbar_registry::{
    AppRecord, Bounds, Event, Lease, LeaseId, Refusal, Registration, Snapshot, WebFormation,
    ledger::Ledger,
    wire::{Done, Line},
};
use serde::{Serialize, de::DeserializeOwned};

/// See the page.
pub fn claim(message: &[u8]) {
    let app = understood::<AppRecord>(message);
    let asked = understood::<Registration>(message);
    let lease = understood::<Lease>(message);
    understood::<WebFormation>(message);
    understood::<Done>(message);
    understood::<Event>(message);
    understood::<Snapshot>(message);
    understood::<Refusal>(message);
    if let Some(Line::Lease(lease)) = understood::<Line>(message).or(lease.map(Line::Lease)) {
        let (shown, id) = (format!("{lease:?}"), &lease.id.0);
        assert!(id.len() < 16 || !shown.contains(id.as_str()), "a lease's id is shown: {shown}");
    }
    if let Some(app) = app {
        the_ledger_takes(app);
    }
    if let Some(asked) = asked {
        the_ledger_registers(asked);
    }
}

/// What `message` says as a `T`; it must survive being written and read again.
fn understood<T: DeserializeOwned + Serialize + PartialEq + Debug>(message: &[u8]) -> Option<T> {
    let meant: T = serde_json::from_slice(message).ok()?;
    let written = serde_json::to_vec(&meant).expect("whatever was read can be written");
    let again: T = serde_json::from_slice(&written).expect("and read again");
    assert_eq!(again, meant);
    Some(meant)
}

fn the_ledger_takes(app: AppRecord) {
    let mut ledger = Ledger::new(Bounds::default(), 0);
    if ledger.put_app(Duration::ZERO, app.clone(), None).answer.is_ok() {
        let kept = ledger.snapshot(Duration::ZERO).answer.expect("it never refuses");
        assert_eq!(kept.apps, [app]);
    }
}

fn the_ledger_registers(asked: Registration) {
    let mut ledger = Ledger::new(Bounds::default(), 0);
    assert!(asked.address.tcp().is_some(), "a socket file from far away");
    let id = LeaseId::new(&asked.app, [7; 16]);
    assert!(ledger.register(Duration::ZERO, asked.clone(), id.clone()).answer.is_err(), "without an app");
    let app = AppRecord::new(asked.app.clone(), []);
    ledger.put_app(Duration::ZERO, app, None).answer.expect("nobody else is there");
    let Ok(lease) = ledger.register(Duration::ZERO, asked, id.clone()).answer else { return };
    let end = ledger.next_expiry().expect("every lease ends");
    assert_eq!(end, lease.ttl_ms.duration());
    ledger.expire(end);
    assert!(ledger.renew(end, &id).answer.is_err(), "it has ended");
}
