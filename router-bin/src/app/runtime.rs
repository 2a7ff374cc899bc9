//! `busbar runtime`, in the order in which it starts.

use std::{sync::Arc, time::Instant};

use busbar_registry::{Client, Registry};
use tokio::sync::watch;

use super::{
    local::{Local, kill},
    router::{admin_socket, finished},
    signals::Signals,
    systemd,
};
use crate::{
    admin::{self, Admin, Readiness},
    cli::Runtime,
    config::address::Endpoint,
    failure::Failure,
    key_file, out,
};

/// Runs the app of a directory, behind routers elsewhere, until it is told to stop.
///
/// # Errors
/// [`Failure`]: it did not start, or was told to stop at once.
pub(crate) fn runtime(flags: Runtime) -> Result<(), Failure> {
    super::run(run(flags))
}

async fn run(flags: Runtime) -> Result<(), Failure> {
    let Runtime { app, registry: at, token_file, admin, life } = flags;
    let conditions = app.conditions();
    let (mut definition, slug) = app.definition()?;
    life.apply(&mut definition);
    let app = definition.name.clone();
    let token = key_file::token(&token_file)?;
    let client = match &at {
        Endpoint::Unix(path) => Client::unix(path, token),
        Endpoint::Tcp(address) => Client::tcp(address.to_string(), token),
    };
    let mut signals = Signals::listen()?;
    let socket = admin_socket(admin.as_ref()).await?;
    let registry: Arc<dyn Registry> = Arc::new(client);
    let started = Local::start(definition, slug, conditions, registry, None, &mut signals).await?;
    let Some(local) = started else { return Ok(()) };

    let (stop, stopped) = watch::channel(false);
    let readiness = Readiness::default();
    let admin = socket.map(|socket| {
        let admin = Admin {
            began: Instant::now(),
            role: "runtime",
            readiness: readiness.clone(),
            known: None,
            meter: None,
            certificates: None,
            renewals: None,
            uploads: None,
            dynos: Some(local.app.clone()),
            reloads: None,
            stop: stopped,
        };
        tokio::spawn(admin::serve(Arc::new(admin), socket))
    });
    readiness.ready();
    systemd::ready();
    out::note(format_args!("the dynos of {app} register at {at} (Ctrl-C to stop)"));

    signals.next().await; // any: a terminal that is closed hangs up

    readiness.draining();
    systemd::stopping();
    out::note("stopping; Ctrl-C again to stop at once");
    let dynos = local.process_groups().await;
    let ending = async {
        local.stop().await;
        stop.send_replace(true);
        finished(admin, None).await;
        out::note("stopped");
    };
    tokio::select! {
        () = ending => Ok(()),
        () = signals.stop() => {
            kill(dynos);
            Err(Failure::Interrupted)
        }
    }
}
