use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use dyno_runtime::{
    LogLine, OneOff, Replacement, RuntimeError, ScaleChange, Speaker, Started, Tail, formation::Amount,
    logs::Logs,
};

use super::{
    api::{ProcessGroup, RestartRequest, Restarted, RouteRow, ScaleRequest, Scaled, State},
    socket::SocketError,
    *,
};
use crate::{
    admin_client::{AdminClient, CallError},
    config::address::Endpoint,
    dynos::Target,
};

/// Dynos of nobody: one web dyno, and a worker that cannot be scaled.
#[derive(Default)]
struct FakeDynos {
    logs: Logs,
}

impl FakeDynos {
    fn say(&self, dyno: &str, text: &str) {
        self.logs.push(LogLine::heroku(Speaker::Dyno(dyno.parse().unwrap()), text));
    }
}

#[async_trait::async_trait]
impl Dynos for FakeDynos {
    async fn ps(&self) -> Result<Vec<ProcessGroup>, RuntimeError> {
        let group = |process_type: &str| ProcessGroup {
            app: "shop".into(),
            process_type: process_type.into(),
            command: None,
            size: None,
            quantity: 1,
            dynos: Vec::new(),
        };
        Ok(vec![group("web"), group("worker")])
    }
    async fn scale(&self, changes: Vec<ScaleChange>) -> Result<Vec<Scaled>, RuntimeError> {
        match changes.as_slice() {
            [ScaleChange { process_type, amount: Amount::Set(quantity), .. }] if process_type.is_web() => {
                Ok(vec![Scaled { process_type: process_type.clone(), quantity: *quantity, size: None }])
            }
            _ => Err(RuntimeError::Stopping("shop".parse().unwrap())),
        }
    }
    async fn run(&self, _: OneOff) -> Result<Started, RuntimeError> {
        Err(RuntimeError::TooManyOneOffs("shop".parse().unwrap()))
    }
    async fn hang_up(&self, _: busbar_registry::DynoName) {}
    async fn restart(&self, target: Target, _: Option<Replacement>) -> Result<Restarted, RuntimeError> {
        let app = "shop".parse().unwrap();
        match target {
            Target::All => Ok(Restarted { app: "shop".into() }),
            other => Err(RuntimeError::NoSuchDyno { app, which: other.into() }),
        }
    }
    fn logs(&self, most: usize) -> Option<(Vec<LogLine>, Tail)> {
        Some(self.logs.last(most))
    }
}

struct NothingKnown;

#[async_trait::async_trait]
impl Known for NothingKnown {
    async fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}

fn admin() -> Admin {
    Admin {
        stop: watch::Sender::new(false).subscribe(),
        began: Instant::now(),
        role: "up",
        readiness: Readiness::default(),
        known: Some(Arc::new(NothingKnown)),
        meter: None,
        certificates: None,
        renewals: None,
        uploads: None,
        dynos: Some(Arc::new(FakeDynos::default())),
        reloads: None,
    }
}

/// An admin API that is served, and its end.
struct Served {
    client: AdminClient,
    path: PathBuf,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Served {
    async fn start(admin: Admin) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let socket = bind(&path).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(Arc::new(Admin { stop: stopped, ..admin }), socket));
        Self { client: AdminClient::new(Some(Endpoint::Unix(path.clone()))), path, stop, task, _dir: dir }
    }
}

async fn bind(path: &Path) -> Result<AdminSocket, SocketError> {
    AdminSocket::bind(Some(&Endpoint::Unix(path.to_owned()))).await
}

#[tokio::test]
async fn what_is_asked_is_answered() {
    let served = Served::start(admin()).await;
    let client = &served.client;
    let groups: Vec<ProcessGroup> = client.get("/v1/ps").await.unwrap();
    assert_eq!(groups.len(), 2);
    let scaled: Vec<Scaled> =
        client.post("/v1/scale", &ScaleRequest { changes: vec!["web=3".into()] }).await.unwrap();
    assert_eq!(scaled[0].quantity, 3);
    let restarted: Restarted =
        client.post("/v1/restart", &RestartRequest { target: None, how: None }).await.unwrap();
    assert_eq!(restarted.app, "shop");
    let rows: Vec<RouteRow> = client.get("/v1/routes").await.unwrap();
    assert!(rows.is_empty());
    let state: State = client.get("/v1/state").await.unwrap();
    assert_eq!((state.role.as_str(), state.readiness.as_str()), ("up", "starting"));
}

#[tokio::test]
async fn a_refusal_is_told_in_its_own_words() {
    let served = Served::start(admin()).await;
    let refused = |error: CallError| match error {
        CallError::Refused { message } => message,
        other => panic!("{other:?}"),
    };
    let scale = ScaleRequest { changes: vec!["worker=2".into()] };
    assert_eq!(
        refused(served.client.post::<Vec<Scaled>>("/v1/scale", &scale).await.unwrap_err()),
        "app shop is being stopped; deploy it again when it is gone"
    );
    let restart = RestartRequest { target: Some("web.1".into()), how: None };
    assert_eq!(
        refused(served.client.post::<Restarted>("/v1/restart", &restart).await.unwrap_err()),
        "app shop has no dyno web.1; see what it has with ps"
    );
    let reload = served.client.post::<api::Reloaded>("/v1/reload", &()).await.unwrap_err();
    assert!(
        refused(reload).contains("this busbar up has no configuration file"),
        "a process says what it has not"
    );
}

#[tokio::test]
async fn a_draining_process_lives_but_is_not_ready() {
    let readiness = Readiness::default();
    let status =
        |admin: Admin| async move { health::ready(axum::extract::State(Arc::new(admin))).await.0.as_u16() };
    assert_eq!(
        status(Admin { readiness: readiness.clone(), ..admin() }).await,
        503,
        "not ready before it is"
    );
    readiness.ready();
    assert_eq!(status(Admin { readiness: readiness.clone(), ..admin() }).await, 200);
    readiness.draining();
    readiness.ready();
    assert_eq!(status(Admin { readiness: readiness.clone(), ..admin() }).await, 503, "draining is for good");
}

#[tokio::test]
async fn logs_are_followed_until_the_process_stops() {
    let dynos = Arc::new(FakeDynos::default());
    let served = Served::start(Admin { dynos: Some(dynos.clone()), ..admin() }).await;
    for (dyno, text) in [("web.1", "long before"), ("web.1", "before"), ("worker.1", "not asked for")] {
        dynos.say(dyno, text);
    }
    let mut lines = served.client.lines("/v1/logs?n=1&tail=true&dyno=web.1").await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().text, "before");
    dynos.say("worker.1", "not asked for");
    dynos.say("web.1", "a \"quoted\" ü");
    assert_eq!(lines.next().await.unwrap().unwrap().text, "a \"quoted\" ü");
    served.stop.send(true).unwrap();
    assert_eq!(lines.next().await.unwrap(), None);
    served.task.await.unwrap();
    assert!(!served.path.exists(), "the socket file goes with its process");
}

#[tokio::test]
async fn a_socket_file_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let socket = bind(&path).await.unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    drop(socket);
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn a_dead_processs_socket_file_is_replaced_and_a_live_ones_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // the file stays, nobody listens
    let first = bind(&path).await.unwrap();
    assert!(matches!(bind(&path).await, Err(SocketError::Live { .. })));
    drop(first);
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(bind(&path).await, Err(SocketError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn nobody_there_is_told_with_the_place() {
    let at = Endpoint::Unix("/nonexistent/admin.sock".into());
    let error = AdminClient::new(Some(at)).get::<State>("/v1/state").await.unwrap_err();
    assert!(error.is_unreachable());
    assert!(error.to_string().contains("unix:/nonexistent/admin.sock: no such file"), "{error}");
}
